import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTION_KINDS, Plan, type RoundPlan } from './plan.js';

function rounds(seed: number, count: number): RoundPlan[] {
  const plan = new Plan(seed, ACTION_KINDS);
  return Array.from({ length: count }, () => plan.next());
}

test('the same seed gives the same rounds, parameters included', () => {
  const describe = (list: RoundPlan[]) =>
    list.map(({ kinds, delaysMs, randoms, dropsFile }) => [kinds, delaysMs, randoms.map((r) => r.next()), dropsFile]);
  assert.deepEqual(describe(rounds(7, 50)), describe(rounds(7, 50)));
  assert.notDeepEqual(describe(rounds(7, 50)), describe(rounds(8, 50)));
});

test('two hundred rounds do each kind often', () => {
  const counts = new Map<string, number>();
  for (const { kinds } of rounds(1, 200)) for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  for (const kind of ACTION_KINDS) assert.ok((counts.get(kind) ?? 0) >= 15, `${kind}: ${counts.get(kind)}`);
});

test("a loss of the broker's state is the last of its round and happens once in it", () => {
  for (let seed = 0; seed < 20; seed++) {
    for (const { kinds, delaysMs, randoms } of rounds(seed, 100)) {
      const index = kinds.indexOf('broker killed, state lost');
      assert.ok(index === -1 || index === kinds.length - 1);
      assert.ok(delaysMs.length >= kinds.length && randoms.length >= kinds.length);
    }
  }
});
