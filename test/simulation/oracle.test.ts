/** The worlds can fail: one in which a promise is broken is found to be wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SqliteStore } from '../../src/cache/sqlite-store.js';
import type { StoreReply, StoreRequest } from '../../src/cache/store.js';
import { appendOf, calmPlan, type WorldPlan } from './plan.js';
import { SimulatedDisk, type SimulatedStore } from './simulated-disk.js';
import { verdictOf } from './verdict.js';
import { World } from './world.js';
import type { WorldOptions } from './world-options.js';

/** A disk that says that a transaction is durable, and has forgotten the last one when the power comes back. */
class LyingDisk extends SimulatedDisk {
  #imageBefore: Buffer | undefined;

  override execute(store: SqliteStore, requests: readonly StoreRequest[]): StoreReply[] {
    this.#imageBefore = this.image;
    return super.execute(store, requests);
  }

  override open(): SimulatedStore {
    if (this.#imageBefore !== undefined) this.restore(this.#imageBefore);
    return super.open();
  }
}

/** What is wrong with the world of a plan, in which something is done to it before it runs. */
async function problemsOf(
  plan: WorldPlan,
  options: WorldOptions = {},
  change: (world: World) => void = () => undefined,
): Promise<string[]> {
  const world = new World(plan, options);
  change(world);
  try {
    const problems = await world.run();
    return problems.length > 0 ? problems : verdictOf(world);
  } finally {
    world.dispose();
  }
}

test('a disk that takes back the last transaction that it has told is found out', async () => {
  // The receipt of the second request is given at once, and the process ends before it has sent anything of it.
  const plan = calmPlan(11, {
    latencyMs: 50,
    appends: [appendOf('telemetry', 2, 1), appendOf('telemetry', 2, 1, 400)],
    faults: [{ kind: 'crashAt', atMs: 410, arrivingSizeBytes: 0 }],
  });
  assert.deepEqual(await problemsOf(plan), []);
  const problems = await problemsOf(plan, { openDisk: (options) => new LyingDisk(options) });
  assert.match(problems.join('\n'), /of the store: .* was stored/);
});

test('a broker that acknowledges one message of QoS 1 and drops it is found out', async () => {
  const plan = calmPlan(12, { appends: [appendOf('telemetry', 5, 1)] });
  assert.deepEqual(await problemsOf(plan), []);
  const problems = await problemsOf(plan, {}, ({ reception }) => {
    const deliver = reception.deliver.bind(reception);
    reception.deliver = (delivery) => {
      if (delivery.key !== 't3') deliver(delivery);
    };
  });
  assert.match(problems.join('\n'), /\bt3\b/);
});

test('a broker that delivers a message of QoS 2 twice is found out', async () => {
  const plan = calmPlan(13, { appends: [appendOf('telemetry', 5, 2)] });
  const problems = await problemsOf(plan, {}, ({ reception }) => {
    const deliver = reception.deliver.bind(reception);
    reception.deliver = (delivery) => {
      deliver(delivery);
      if (delivery.key === 't3') deliver(delivery);
    };
  });
  assert.match(problems.join('\n'), /t3 was delivered twice/);
});

test('a 3.1.1 broker that drops what is too much for it is found out', async () => {
  const plan = calmPlan(14, {
    protocolVersion: 4,
    broker: { deliversAt: 'pubrel', heldMax: 3 },
    appends: [appendOf('telemetry', 8, 2)],
  });
  assert.match((await problemsOf(plan)).join('\n'), /\bt\d\b/);
});
