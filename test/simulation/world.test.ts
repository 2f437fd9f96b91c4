import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appendOf, calmPlan, type WorldPlan } from './plan.js';
import { planOf } from './random-plan.js';
import { World } from './world.js';

async function digestOf(plan: WorldPlan): Promise<number> {
  const world = new World(plan, { isTraced: true });
  assert.deepEqual(await world.run(), []);
  world.dispose();
  return world.digest;
}

test('a plan runs the same way every time, and another one another way', async () => {
  const digests = new Set<number>();
  for (let seed = 1; seed <= 60; seed++) {
    const digest = await digestOf(planOf(seed));
    assert.equal(await digestOf(planOf(seed)), digest, `seed ${seed}`);
    digests.add(digest);
  }
  assert.equal(digests.size, 60);
});

test('the session holds a few megabytes of a large backlog, whatever the broker does', async () => {
  const count = 240;
  const sizeBytes = 100_000;
  const messages = Array.from({ length: 10 }, () => ({ qos: 1, sizeBytes, expirySeconds: 0, retain: false }) as const);
  // The broker takes nothing for a while, and then one message at a time.
  const plan = calmPlan(3, {
    broker: { receiveMaximum: 1 },
    appends: Array.from({ length: count / 10 }, (_, i) => ({ atMs: i * 10, lane: 'telemetry' as const, messages })),
    faults: [{ kind: 'stall', atMs: 300, durationMs: 3000 }],
  });
  const world = new World(plan);
  assert.deepEqual(await world.run(), []);
  world.dispose();
  assert.equal(world.reception.deliveredCount.size, count);
  const { sizeMaxBytes } = world.process.loaded;
  // Twice 4 MiB, and one request of ten messages.
  assert.ok(
    sizeMaxBytes > 8 * 1024 * 1024 && sizeMaxBytes < 8 * 1024 * 1024 + 1_002_000,
    `${sizeMaxBytes} bytes were loaded`,
  );
});

test('a receipt is counted once, and its key stays known over a crash', async () => {
  const append = { ...appendOf('telemetry', 3, 2), isKeyed: true };
  // The transaction is durable, and the producer hears nothing of it.
  const plan = calmPlan(5, { appends: [append], faults: [{ kind: 'crashAtCommit', commit: 0, when: 'after' }] });
  const world = new World(plan);
  assert.deepEqual(await world.run(), []);
  world.dispose();
  assert.equal(world.crashCount, 1);
  assert.deepEqual(
    world.workforce.producers.map(({ outcome }) => outcome),
    ['accepted'],
  );
  assert.deepEqual([...world.reception.deliveredCount.values()], [1, 1, 1]);
  assert.equal(world.finalStatus?.counts.telemetry.accepted, 0);
});
