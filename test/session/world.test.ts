import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planOf } from './plan.js';
import { verdictOf } from './verdict.js';
import { World } from './world.js';

const WORLDS = Number(process.env.WORLDS ?? 300);
const FIRST_SEED = Number(process.env.SEED ?? 1);

test('random worlds keep every guarantee', () => {
  const failures: string[] = [];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + WORLDS; seed++) {
    const world = new World(planOf(seed));
    let problems: string[];
    try {
      problems = world.run();
      if (problems.length === 0) problems = verdictOf(world);
    } catch (error) {
      problems = [error instanceof Error ? (error.stack ?? error.message) : String(error)];
    }
    if (problems.length > 0) failures.push(`seed ${seed}: ${problems.slice(0, 3).join(' | ')}`);
  }
  assert.equal(failures.length, 0, `${failures.length} of ${WORLDS}:\n${failures.slice(0, 40).join('\n')}`);
});
