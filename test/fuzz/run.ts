/** The command line of the fuzz targets: `npm run fuzz -- [--cases N] [--seed S] [--target NAME]`, several with commas. */
import { parseArgs } from 'node:util';
import { QUICK_TARGETS, TARGETS } from './targets.js';
import { runWatched } from './watched-target.js';

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

for (const name of names) {
  const isRight = await runWatched({
    name,
    cases,
    seed,
    // A batch that never ends has left its seed behind, whatever becomes of this process.
    onBatch: (batchSeed, casesDone) => console.error(`${name}: seed ${batchSeed}, ${casesDone} of ${cases} cases done`),
    print: (text, stream) => process[stream].write(text),
  });
  if (!isRight) process.exitCode = 1;
}
