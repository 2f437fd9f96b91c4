/** Worker processes beside each other: each is given one range of seeds after the other, until none is left. */
import { fork } from 'node:child_process';
import type { RangeResult, SeedRange } from './simulate-worker.js';

export interface CrewOptions {
  ranges: readonly SeedRange[];
  workers: number;
  /** What a worker runs. */
  module: string;
  finished: (result: RangeResult) => void;
  /** The worker that had this range died of something in it, so that nobody knows what became of its worlds. */
  lost: (range: SeedRange, how: string) => void;
}

/** Resolves when every range is finished or lost. A worker that dies is replaced by another one, which goes on behind it. */
export async function runRanges(options: CrewOptions): Promise<void> {
  const ranges = [...options.ranges];
  const workOn = async (): Promise<void> => {
    while (ranges.length > 0) await runWorker(ranges, options);
  };
  await Promise.all(Array.from({ length: options.workers }, workOn));
}

/** Resolves when nothing is left for the worker, or it is dead. */
function runWorker(ranges: SeedRange[], { module, finished, lost }: CrewOptions): Promise<void> {
  return new Promise((resolve) => {
    // A world makes much garbage that lives for a few milliseconds.
    const child = fork(module, { execArgv: ['--enable-source-maps', '--max-semi-space-size=64'] });
    let current: SeedRange | undefined;
    const ended = (how: string): void => {
      if (current !== undefined) lost(current, how);
      current = undefined;
      resolve();
    };
    const next = (): void => {
      current = ranges.shift();
      if (current === undefined) child.disconnect();
      else child.send(current, (error) => error !== null && child.kill('SIGKILL'));
    };
    child.on('message', (result: RangeResult) => {
      finished(result);
      next();
    });
    child.once('error', (error) => ended(String(error)));
    child.once('exit', (code, signal) => ended(signal ?? `exit code ${code}`));
    next();
  });
}
