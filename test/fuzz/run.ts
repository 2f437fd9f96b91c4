/** The command line of the fuzz targets: `npm run fuzz -- [--cases N] [--seed S] [--target NAME]`, several with commas. */
import { parseArgs } from 'node:util';
import { QUICK_TARGETS, TARGETS } from './targets.js';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    target: { type: 'string', multiple: true, default: [...QUICK_TARGETS] },
  },
});
const cases = Number(values.cases);
const seed = Number(values.seed);
const names = values.target.flatMap((name) => name.split(','));
const unknown = names.find((name) => TARGETS[name] === undefined);
if (!Number.isSafeInteger(cases) || cases < 1 || !Number.isSafeInteger(seed) || unknown !== undefined) {
  console.error(`npm run fuzz -- [--cases N] [--seed S] [--target ${Object.keys(TARGETS).join('|')}]`);
  process.exit(2);
}

/** A line about every so many cases. */
const PROGRESS_CASES = 10_000;

for (const name of names) {
  try {
    const report = await TARGETS[name]!.run({
      cases,
      seed,
      onBatch: (batchSeed, done) => {
        if (done % PROGRESS_CASES === 0 && done > 0) console.log(`${name}: ${done} cases, now at seed ${batchSeed}`);
      },
    });
    const seconds = (report.elapsedMs / 1000).toFixed(1);
    console.log(`${name}: ${report.cases} cases from seed ${seed} in ${seconds} s, no failure`);
    for (const [outcome, count] of Object.entries(report.outcomes).sort((a, b) => b[1] - a[1])) {
      console.log(`  ${String(count).padStart(9)} ${outcome}`);
    }
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
