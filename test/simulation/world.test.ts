import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planOf } from './plan.js';
import { problemsOf, shrink } from './shrink.js';

/** More worlds, or another beginning, by the environment: `WORLDS=20000 SEED=5 npm run test:one -- simulation/world`. */
const WORLDS = Number(process.env.WORLDS ?? 1000);
const FIRST_SEED = Number(process.env.SEED ?? 1);
const SHOWN_MAX = 20;

test('random worlds keep every guarantee', () => {
  const failures: string[] = [];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + WORLDS; seed++) {
    const problems = problemsOf(planOf(seed));
    if (problems.length > 0) failures.push(`seed ${seed}: ${problems.slice(0, 3).join(' | ')}`);
  }
  const [first] = failures;
  if (first === undefined) return;
  const seed = Number(/\d+/.exec(first)?.[0]);
  const smallest = shrink(planOf(seed), (plan) => problemsOf(plan).length > 0);
  assert.fail(
    [
      `${failures.length} of ${WORLDS} worlds:`,
      ...failures.slice(0, SHOWN_MAX),
      `The smallest plan for seed ${seed}: ${JSON.stringify(smallest)}`,
      ...problemsOf(smallest),
    ].join('\n'),
  );
});
