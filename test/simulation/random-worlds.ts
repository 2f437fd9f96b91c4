/** Runs random worlds and tells of those in which something is wrong, the first of them as small as it can be made. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { planOf } from './random-plan.js';
import { problemsOf, shrink } from './shrink.js';

const SHOWN_MAX = 20;
/** After so many worlds the event loop has its turn. */
const WORLDS_PER_TURN = 20;

/** The seeds from `first` on, `count` in all. */
async function assertWorlds(first: number, count: number): Promise<void> {
  const failures: { seed: number; text: string }[] = [];
  for (let i = 0; i < count; i++) {
    const seed = first + i;
    const problems = await problemsOf(planOf(seed));
    if (problems.length > 0) failures.push({ seed, text: `seed ${seed}: ${problems.slice(0, 3).join(' | ')}` });
    if (i % WORLDS_PER_TURN === 0) await setImmediate();
  }
  const [worst] = failures;
  if (worst === undefined) return;
  const smallest = await shrink(planOf(worst.seed));
  assert.fail(
    [
      `${failures.length} of ${count} worlds:`,
      ...failures.slice(0, SHOWN_MAX).map(({ text }) => text),
      `The smallest plan for seed ${worst.seed}: ${JSON.stringify(smallest)}`,
      ...(await problemsOf(smallest)),
      `Again: npm run simulate -- --worlds 1 --seed ${worst.seed} --workers 1`,
    ].join('\n'),
  );
}

/** Worlds in each of the test files; more by the environment: `WORLDS=20000 npm run test:one -- simulation/worlds`. */
const WORLDS = Number(process.env.WORLDS ?? 5000);

/** The worlds of one of the test files, which run beside each other. */
export async function assertShare(t: TestContext, share: number): Promise<void> {
  const first = 1 + share * WORLDS;
  await assertWorlds(first, WORLDS);
  t.diagnostic(`${WORLDS} worlds, seeds ${first} to ${first + WORLDS - 1}`);
}
