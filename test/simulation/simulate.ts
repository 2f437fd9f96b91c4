/**
 * Runs many random worlds over all cores: `npm run simulate -- --worlds N --seed S [--workers W]`.
 *
 * A plan that fails is shrunk and printed as it can be kept in `kept-plans.test.ts`. The exit code is 1 when one failed.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { planOf } from './random-plan.js';
import { problemsOf, shrink } from './shrink.js';
import type { RangeResult, SeedRange } from './simulate-worker.js';

const RANGE_COUNT = 50;
const SHRUNK_MAX = 3;
const PROGRESS_MS = process.stdout.isTTY ? 1000 : 30_000;

interface Tally {
  worlds: number;
  failures: RangeResult['failures'];
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

/** Gives each worker one range after the other until none is left. */
function runAll(ranges: SeedRange[], workers: number, tally: Tally): Promise<void> {
  const workOn = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const child: ChildProcess = fork(join(import.meta.dirname, 'simulate-worker.js'), {
        // A world makes much garbage that lives for a few milliseconds.
        execArgv: ['--enable-source-maps', '--max-semi-space-size=64'],
      });
      let current: SeedRange | undefined;
      const next = (): void => {
        current = ranges.shift();
        if (current === undefined) child.disconnect();
        else child.send(current);
      };
      child.on('message', (result: RangeResult) => {
        tally.worlds += result.count;
        tally.failures.push(...result.failures);
        addTo(tally.planned, result.planned);
        addTo(tally.happened, result.happened);
        for (const { seed, problems } of result.failures) {
          console.log(`seed ${seed}: ${problems.slice(0, 3).join(' | ')}`);
        }
        next();
      });
      child.once('error', reject);
      child.once('exit', (code) => {
        if (current === undefined) resolve();
        else reject(new Error(`A worker ended with ${code} in the seeds from ${current.from}.`));
      });
      next();
    });
  return Promise.all(Array.from({ length: workers }, workOn)).then(() => undefined);
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
const tally: Tally = { worlds: 0, failures: [], planned: new Map(), happened: new Map() };
const startMs = performance.now();
const secondsPassed = (): number => (performance.now() - startMs) / 1000;
const line = (): string =>
  `${tally.worlds} of ${worlds} worlds, ${Math.round(tally.worlds / secondsPassed())} a second, ${tally.failures.length} failed`;
const progress = setInterval(() => {
  if (process.stdout.isTTY) process.stdout.write(`\r${line()}`);
  else console.log(line());
}, PROGRESS_MS);
await runAll(ranges, Math.min(workers, ranges.length), tally);
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
    `${Math.round(tally.worlds / seconds)} a second with ${workers} workers, ${tally.failures.length} failed`,
);
process.exitCode = tally.failures.length > 0 ? 1 : 0;
