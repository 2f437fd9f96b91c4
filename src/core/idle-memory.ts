/**
 * Gives back what the heap of this thread has grown by in busy times, when the process has become quiet again.
 *
 * V8 lets the space for young objects grow to 32 MB while modules are loaded or messages pass, and keeps it when nothing
 * happens any more. The one way to ask for it back is the collection that a debugger can order; it holds up the thread for
 * 30 to 100 ms and is therefore left for a quiet moment, once after each busy time.
 */
import { performance } from 'node:perf_hooks';

const CHECK_MS = 10_000;
/** Shares of the time since the last check in which this thread was at work. */
const BUSY_SHARE = 0.1;
const QUIET_SHARE = 0.03;

/** Looks after the heap of the thread that calls it, until the returned function is called; keeps no process alive. */
export function tendIdleMemory(checkMs: number = CHECK_MS): () => void {
  // Loading has been work, too.
  let hasGrown = true;
  let checked = performance.eventLoopUtilization();
  const timer = setInterval(() => {
    const { utilization } = performance.eventLoopUtilization(checked);
    checked = performance.eventLoopUtilization();
    if (utilization >= BUSY_SHARE) hasGrown = true;
    else if (hasGrown && utilization < QUIET_SHARE) {
      hasGrown = false;
      // Whose heap cannot be collected keeps what it has.
      giveBackMemory().catch(() => clearInterval(timer));
    }
  }, checkMs);
  timer.unref();
  return () => clearInterval(timer);
}

/** Collects all garbage of this thread and gives free pages back. Without an inspector in this Node.js, nothing happens. */
export async function giveBackMemory(): Promise<void> {
  const inspector = await import('node:inspector').catch(() => undefined);
  if (inspector === undefined) return;
  const session = new inspector.Session();
  session.connect();
  await new Promise<void>((resolve) => session.post('HeapProfiler.collectGarbage', () => resolve()));
  // The session is still in use while it tells of the end.
  await new Promise((resolve) => setImmediate(resolve));
  session.disconnect();
}
