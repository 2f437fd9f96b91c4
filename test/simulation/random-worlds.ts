/** Runs random worlds and tells of those in which something is wrong, the first of them as small as it can be made. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { planOf } from './plan.js';
import { problemsOf, shrink } from './shrink.js';

const SHOWN_MAX = 20;
/** After so many worlds the event loop has its turn. */
const WORLDS_PER_TURN = 20;

/** The seeds from `first` on, every `step`-th one, `count` in all. */
export async function assertWorlds(first: number, step: number, count: number): Promise<void> {
  const failures: { seed: number; text: string }[] = [];
  for (let i = 0; i < count; i++) {
    const seed = first + i * step;
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

/** Worlds in each of the two test files; more by the environment: `WORLDS=50000 npm run test:one -- simulation/worlds`. */
export const WORLDS = Number(process.env.WORLDS ?? 10_000);
