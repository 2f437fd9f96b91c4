/** How busy this process and the whole machine were between two moments. */
import { cpus } from 'node:os';
import { type EventLoopUtilization, performance } from 'node:perf_hooks';

export interface Load {
  /**
   * Of the thread that parses, encodes and talks to the broker: the part of its time in which it had something to do, also
   * when it had to wait for a core; 1 is all of it.
   */
  mainThread: number;
  /** All threads of this process, in cores. */
  processCores: number;
  /** All cores with everything that runs on them: 1 is all of their time. Undefined where the system does not tell. */
  machine: number | undefined;
}

export interface LoadMark {
  timeMs: number;
  loop: EventLoopUtilization;
  cpuUs: number;
  coresBusyMs: number;
  coresTotalMs: number;
}

export function markLoad(): LoadMark {
  const { user, system } = process.cpuUsage();
  let coresBusyMs = 0;
  let coresTotalMs = 0;
  for (const { times } of cpus()) {
    const busyMs = times.user + times.nice + times.sys + times.irq;
    coresBusyMs += busyMs;
    coresTotalMs += busyMs + times.idle;
  }
  return {
    timeMs: performance.now(),
    loop: performance.eventLoopUtilization(),
    cpuUs: user + system,
    coresBusyMs,
    coresTotalMs,
  };
}

/** The system counts the time of its cores in steps of some 10 ms, so that the marks should lie further apart. */
export function loadBetween(from: LoadMark, to: LoadMark): Load {
  const passedMs = Math.max(0.001, to.timeMs - from.timeMs);
  const coresMs = to.coresTotalMs - from.coresTotalMs;
  return {
    mainThread: share(performance.eventLoopUtilization(to.loop, from.loop).utilization),
    processCores: Math.round((to.cpuUs - from.cpuUs) / passedMs / 10) / 100,
    machine: coresMs > 0 ? share((to.coresBusyMs - from.coresBusyMs) / coresMs) : undefined,
  };
}

function share(part: number): number {
  return Math.round(Math.min(1, Math.max(0, part)) * 100) / 100;
}
