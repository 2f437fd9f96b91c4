/** A worker of `simulate-crew.test.ts`: it dies of the range that begins with 21, by a signal, and of that with 41. */
import type { RangeResult, SeedRange } from './simulate-worker.js';

process.on('message', ({ from, count }: SeedRange) => {
  if (from === 21) process.kill(process.pid, 'SIGKILL');
  else if (from === 41) process.exit(7);
  else process.send?.({ from, count, failures: [], planned: {}, happened: {} } satisfies RangeResult);
});
process.on('disconnect', () => process.exit(0));
