/**
 * Runs many random worlds over all cores: `npm run simulate -- --worlds N --seed S [--workers W]`.
 *
 * A plan that fails is shrunk and printed as it can be kept in `kept-plans.test.ts`. A worker that dies takes
 * the range of seeds with it that it had, which counts as a failure. The exit code is 1 when there is one.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { planOf } from './random-plan.js';
import { problemsOf, shrink } from './shrink.js';
import { runRanges } from './simulate-crew.js';
import type { RangeResult, SeedRange } from './simulate-worker.js';

const RANGE_COUNT = 50;
const SHRUNK_MAX = 3;
const PROGRESS_MS = process.stdout.isTTY ? 1000 : 30_000;

interface Tally {
  worlds: number;
  failures: RangeResult['failures'];
  /** Ranges whose worker died; each counts as one failure. */
  lost: SeedRange[];
  planned: Map<string, number>;
  happened: Map<string, number>;
}

function optionsOf(args: string[]): { worlds: number; seed: number; workers: number } {
  const { values } = parseArgs({
    args,
    options: {
      worlds: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
      workers: { type: 'string', default: String(availableParallelism()) },
    },
  });
  const numbers = { worlds: Number(values.worlds), seed: Number(values.seed), workers: Number(values.workers) };
  for (const [name, value] of Object.entries(numbers)) {
    if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`--${name} is a whole number from 1 on.`);
  }
  return numbers;
}

function addTo(tally: Map<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [kind, count] of Object.entries(counts)) tally.set(kind, (tally.get(kind) ?? 0) + count);
}

/** Adds what became of a range, and names the worlds that failed. */
function note(tally: Tally, result: RangeResult): void {
  tally.worlds += result.count;
  tally.failures.push(...result.failures);
  addTo(tally.planned, result.planned);
  addTo(tally.happened, result.happened);
  for (const { seed, problems } of result.failures) console.log(`seed ${seed}: ${problems.slice(0, 3).join(' | ')}`);
}

/** A world that ends the process that it runs in has failed, and those beside it have not been run. */
function noteLost(tally: Tally, { from, count }: SeedRange, how: string): void {
  tally.lost.push({ from, count });
  console.log(`seeds ${from} to ${from + count - 1}: their worker ended (${how})`);
}

async function tellFailure(seed: number): Promise<void> {
  const smallest = await shrink(planOf(seed));
  console.log(`\nThe smallest plan for seed ${seed}, to be kept in kept-plans.test.ts:`);
  console.log(JSON.stringify(smallest));
  for (const problem of (await problemsOf(smallest)).slice(0, 5)) console.log(`    ${problem}`);
  console.log(`Again: npm run simulate -- --worlds 1 --seed ${seed} --workers 1`);
}

const { worlds, seed, workers } = optionsOf(process.argv.slice(2));
const ranges: SeedRange[] = [];
for (let from = seed; from < seed + worlds; from += RANGE_COUNT) {
  ranges.push({ from, count: Math.min(RANGE_COUNT, seed + worlds - from) });
}
const tally: Tally = { worlds: 0, failures: [], lost: [], planned: new Map(), happened: new Map() };
const startMs = performance.now();
const secondsPassed = (): number => (performance.now() - startMs) / 1000;
const failedCount = (): number => tally.failures.length + tally.lost.length;
const line = (): string =>
  `${tally.worlds} of ${worlds} worlds, ${Math.round(tally.worlds / secondsPassed())} a second, ${failedCount()} failed`;
const progress = setInterval(() => {
  if (process.stdout.isTTY) process.stdout.write(`\r${line()}`);
  else console.log(line());
}, PROGRESS_MS);
await runRanges({
  ranges,
  workers: Math.min(workers, ranges.length),
  module: join(import.meta.dirname, 'simulate-worker.js'),
  finished: (result) => note(tally, result),
  lost: (range, how) => noteLost(tally, range, how),
});
clearInterval(progress);
if (process.stdout.isTTY) process.stdout.write('\n');

tally.failures.sort((a, b) => a.seed - b.seed);
for (const failure of tally.failures.slice(0, SHRUNK_MAX)) await tellFailure(failure.seed);
console.log('\nKinds of worlds, as planned and as they happened; one is of several:');
const kinds = new Set([...tally.happened.keys(), ...tally.planned.keys()]);
const happenedCount = (kind: string): number => tally.happened.get(kind) ?? 0;
for (const kind of [...kinds].sort((a, b) => happenedCount(b) - happenedCount(a))) {
  const counts = [tally.planned.get(kind), tally.happened.get(kind)].map((count) => String(count ?? '-').padStart(9));
  console.log(`${counts.join('')}  ${kind}`);
}
const seconds = secondsPassed();
console.log(
  `\n${tally.worlds} worlds, seeds ${seed} to ${seed + worlds - 1}, ${seconds.toFixed(0)} s, ` +
    `${Math.round(tally.worlds / seconds)} a second with ${workers} workers, ${failedCount()} failed`,
);
for (const { from, count } of tally.lost) {
  console.log(`Not run to the end: npm run simulate -- --worlds ${count} --seed ${from} --workers 1`);
}
process.exitCode = failedCount() > 0 ? 1 : 0;
