import { setTimeout as delay } from 'node:timers/promises';
import { CpuShare } from '../cpu-share.js';
import { type CountedExtent, isTimed, readTask, type Task, type TimedExtent } from './task.js';

/** What a contender answers. */
export interface Measured {
  count: number;
  elapsedMs: number;
  /** Shares of one core in that time. */
  brokerCpuShare: number;
  ownCpuShare: number;
  /** The window that a contender had found by itself in the end. */
  foundWindow?: number;
}

/** A way of publishing that can be measured. */
export interface Publisher {
  /**
   * Publishes so many messages and resolves when the last one is acknowledged; at QoS 0, when it has arrived at a
   * subscriber. Infinity: goes on until the process ends.
   */
  publish(count: number): Promise<void>;
  /** Messages acknowledged since the start. */
  acknowledged(): number | Promise<number>;
  /** The size of the window now, where the contender finds it by itself. */
  window?(): number;
}

const POLL_MS = 5;

/** Runs the task of the command line and prints what was measured. `pids` is whose share is the contender's own. */
export async function measure(publisher: Publisher, pids: readonly number[] = [process.pid]): Promise<void> {
  const task = readTask();
  const { extent } = task;
  const measured = isTimed(extent)
    ? await measureTimed(publisher, task, extent, pids)
    : await measureCounted(publisher, task, extent, pids);
  const foundWindow = publisher.window?.();
  print({ ...measured, ...(foundWindow === undefined ? {} : { foundWindow }) });
}

export function print(measured: Measured): void {
  process.stdout.write(`${JSON.stringify(measured)}\n`);
}

async function measureCounted(
  publisher: Publisher,
  task: Task,
  { warmupCount, count }: CountedExtent,
  pids: readonly number[],
): Promise<Measured> {
  if (warmupCount > 0) await publisher.publish(warmupCount);
  const own = new CpuShare(...pids);
  const broker = new CpuShare(task.brokerPid);
  const startMs = performance.now();
  await publisher.publish(count);
  const elapsedMs = performance.now() - startMs;
  return { count, elapsedMs, brokerCpuShare: broker.share, ownCpuShare: own.share };
}

async function measureTimed(
  publisher: Publisher,
  task: Task,
  { warmupMs, durationMs }: TimedExtent,
  pids: readonly number[],
): Promise<Measured> {
  let fail: (reason: unknown) => void = () => undefined;
  const failure = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  publisher.publish(Number.POSITIVE_INFINITY).catch(fail);
  const run = async (): Promise<Measured> => {
    const first = await afterTime(publisher, warmupMs);
    const own = new CpuShare(...pids);
    const broker = new CpuShare(task.brokerPid);
    const last = await afterTime(publisher, durationMs);
    return {
      count: last.count - first.count,
      elapsedMs: last.atMs - first.atMs,
      brokerCpuShare: broker.share,
      ownCpuShare: own.share,
    };
  };
  return Promise.race([run(), failure]);
}

/**
 * Waits so long, and then until something is acknowledged: a time that begins and ends with an acknowledgement does not
 * hold one message more or less, which matters where there are ten a second.
 */
async function afterTime(publisher: Publisher, waitMs: number): Promise<{ atMs: number; count: number }> {
  await delay(waitMs);
  const before = await publisher.acknowledged();
  for (;;) {
    await delay(POLL_MS);
    const count = await publisher.acknowledged();
    if (count > before) return { atMs: performance.now(), count };
  }
}
