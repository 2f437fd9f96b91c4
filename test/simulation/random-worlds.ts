/** Runs random worlds and tells of those in which something is wrong, the first of them as small as it can be made. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { EXPECTED_KINDS } from './kinds.js';
import { planOf } from './random-plan.js';
import { problemsOf, runWorld, shrink } from './shrink.js';

const SHOWN_MAX = 20;
/** After so many worlds the event loop has its turn. */
const WORLDS_PER_TURN = 20;
/** The rarest of what must happen does so in one world of a hundred and twenty: among so many, it does not by chance fail to. */
const WORLDS_FOR_ALL_KINDS = 2000;

/** The seeds from `first` on, `count` in all. */
async function assertWorlds(first: number, count: number): Promise<void> {
  const failures: { seed: number; text: string }[] = [];
  const happened = new Set<string>();
  for (let i = 0; i < count; i++) {
    const seed = first + i;
    const { problems, kinds } = await runWorld(planOf(seed));
    for (const kind of kinds) happened.add(kind);
    if (problems.length > 0) failures.push({ seed, text: `seed ${seed}: ${problems.slice(0, 3).join(' | ')}` });
    if (i % WORLDS_PER_TURN === 0) await setImmediate();
  }
  const [worst] = failures;
  if (worst === undefined) {
    assertKinds(happened, count);
    return;
  }
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

/** A fault that never happens makes every guarantee hold: each of them must have found something to happen to. */
function assertKinds(happened: ReadonlySet<string>, worldCount: number): void {
  if (worldCount < WORLDS_FOR_ALL_KINDS) return;
  const missing = EXPECTED_KINDS.filter((kind) => !happened.has(kind));
  assert.deepEqual(missing, [], `None of these has happened in ${worldCount} worlds.`);
}

/** Worlds in each of the test files; more by the environment: `WORLDS=20000 npm run test:one -- simulation/worlds`. */
const WORLDS = Number(process.env.WORLDS ?? 5000);

/** The worlds of one of the test files, which run beside each other. */
export async function assertShare(t: TestContext, share: number): Promise<void> {
  const first = 1 + share * WORLDS;
  await assertWorlds(first, WORLDS);
  t.diagnostic(`${WORLDS} worlds, seeds ${first} to ${first + WORLDS - 1}`);
}
