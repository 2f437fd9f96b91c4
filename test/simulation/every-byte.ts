/** Faults at every place of a small scenario where there can be one. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { QoS } from '../../src/core/message.js';
import { appendOf, calmPlan, type PlannedFault, type WorldPlan } from './plan.js';
import { ACK_FAULTS } from './random-faults.js';
import { problemsOf } from './shrink.js';
import { World } from './world.js';

/** A few messages in two lanes, so that every kind of packet, of content and of save occurs, and the window fills. */
function scenarioOf(qos: QoS, protocolVersion: 4 | 5, faults: readonly PlannedFault[] = []): WorldPlan {
  return calmPlan(7, {
    protocolVersion,
    inflightMax: 6,
    broker: { deliversAt: protocolVersion === 4 ? 'pubrel' : 'publish' },
    appends: [
      { ...appendOf('telemetry', 6, qos), isKeyed: true },
      { ...appendOf('command', 2, qos, 20), content: 'time-values', unmappedCount: 1 },
      { ...appendOf('telemetry', 2, qos, 40), invalidCount: 1 },
    ],
    faults,
  });
}

/** The handshake and what is sent again first. */
const SECOND_BEGINNING_BYTES = { broker: 120, client: 40 } as const;

/** Worlds with a fault that were run, so that the number can be told. */
let worldCount = 0;

async function assertWell(plan: WorldPlan): Promise<void> {
  worldCount++;
  const problems = await problemsOf(plan);
  assert.deepEqual(problems, [], JSON.stringify(plan.faults));
}

/** The world without a fault, at its end. */
async function runCalm(qos: QoS, protocolVersion: 4 | 5): Promise<World> {
  const calm = new World(scenarioOf(qos, protocolVersion));
  assert.deepEqual(await calm.run(), []);
  calm.dispose();
  return calm;
}

/** Registers the tests of one version of the protocol. */
export function testEveryByte(protocolVersion: 4 | 5): void {
  let countAll = 0;
  /** Registers a test that tells in how many worlds it has tried its faults. */
  const attack = (title: string, run: () => Promise<void>): void => {
    test(title, async (t) => {
      worldCount = 0;
      await run();
      assert.ok(worldCount > 0);
      countAll += worldCount;
      t.diagnostic(`${worldCount} worlds`);
    });
  };
  after(() => console.log(`version ${protocolVersion}: ${countAll} worlds in all`));
  for (const qos of [0, 1, 2] as const) {
    const name = `QoS ${qos}, version ${protocolVersion}`;

    attack(`a connection that is cut after any byte in either direction breaks no guarantee (${name})`, async () => {
      const calm = await runCalm(qos, protocolVersion);
      const [link] = calm.faults.links;
      assert.ok(link !== undefined);
      for (const to of ['broker', 'client'] as const) {
        const sizeBytes = link.arrivedAt(to);
        assert.ok(sizeBytes > 3);
        for (let afterSizeBytes = 0; afterSizeBytes <= sizeBytes; afterSizeBytes++) {
          const cut = { kind: 'cut', connection: 0, to, afterSizeBytes, brokerNoticeMs: 0 } as const;
          // The client notices at once, or never, so that it has to find out.
          await assertWell(scenarioOf(qos, protocolVersion, [{ ...cut, clientNoticeMs: 0 }]));
          if (afterSizeBytes % 5 === 0) await assertWell(scenarioOf(qos, protocolVersion, [cut]));
        }
      }
    });

    attack(
      `a process that ends before or after any transaction, or when told of it, breaks no guarantee (${name})`,
      async () => {
        const calm = await runCalm(qos, protocolVersion);
        for (let commit = 0; commit <= calm.disk.commitCount; commit++) {
          for (const when of ['before', 'after', 'told'] as const) {
            await assertWell(scenarioOf(qos, protocolVersion, [{ kind: 'crashAtCommit', commit, when }]));
            // And once more while it recovers.
            for (let next = commit + 1; next < commit + 6; next++) {
              const again = { kind: 'crashAtCommit', commit: next, when } as const;
              await assertWell(scenarioOf(qos, protocolVersion, [{ kind: 'crashAtCommit', commit, when }, again]));
            }
          }
        }
      },
    );

    attack(
      `a process that ends at any millisecond, whatever of its last bytes arrives, breaks no guarantee (${name})`,
      async () => {
        for (let atMs = 0; atMs < 120; atMs++) {
          for (const arrivingSizeBytes of [0, 37, 1_000_000]) {
            await assertWell(scenarioOf(qos, protocolVersion, [{ kind: 'crashAt', atMs, arrivingSizeBytes }]));
          }
        }
      },
    );

    attack(
      `a second connection that is cut after any byte of its beginning breaks no guarantee (${name})`,
      async () => {
        const calm = await runCalm(qos, protocolVersion);
        for (const firstTo of ['broker', 'client'] as const) {
          // In the middle of what the first connection brings, with messages in all their states.
          const middle = Math.floor((calm.faults.links[0]?.arrivedAt(firstTo) ?? 0) / 2);
          const cut = { kind: 'cut', brokerNoticeMs: 0, clientNoticeMs: 0 } as const;
          const first = { ...cut, connection: 0, to: firstTo, afterSizeBytes: middle } as const;
          const world = new World(scenarioOf(qos, protocolVersion, [first]));
          assert.deepEqual(await world.run(), []);
          world.dispose();
          const link = world.faults.links[1];
          // The middle of what the broker says at QoS 0 may be behind its CONNACK, and then it says no more.
          if (link === undefined && qos === 0) continue;
          assert.ok(link !== undefined);
          for (const to of ['broker', 'client'] as const) {
            const sizeBytes = Math.min(link.arrivedAt(to), SECOND_BEGINNING_BYTES[to]);
            for (let afterSizeBytes = 0; afterSizeBytes <= sizeBytes; afterSizeBytes++) {
              await assertWell(
                scenarioOf(qos, protocolVersion, [first, { ...cut, connection: 1, to, afterSizeBytes }]),
              );
            }
          }
        }
      },
    );

    attack(`two cuts in a row, wherever they are, break no guarantee (${name})`, async () => {
      for (const to of ['broker', 'client'] as const) {
        for (let first = 0; first < 400; first += 11) {
          for (let second = 0; second < 200; second += 13) {
            const cut = { kind: 'cut', brokerNoticeMs: 0, clientNoticeMs: 0 } as const;
            await assertWell(
              scenarioOf(qos, protocolVersion, [
                { ...cut, connection: 0, to, afterSizeBytes: first },
                { ...cut, connection: 1, to: to === 'broker' ? 'client' : 'broker', afterSizeBytes: second },
              ]),
            );
          }
        }
      }
    });

    // Nothing acknowledges QoS 0.
    if (qos === 0) continue;
    attack(
      `an acknowledgement that is late, never comes, comes twice or is a wrong one breaks no guarantee (${name})`,
      async () => {
        const calm = await runCalm(qos, protocolVersion);
        for (let ack = 0; ack < calm.reception.ackCount; ack++) {
          for (const how of ACK_FAULTS) {
            const fault = { kind: 'ack', ack, how, delayMs: 1000 } as const;
            await assertWell(scenarioOf(qos, protocolVersion, [fault]));
            // And once more what the broker sends after it.
            await assertWell(scenarioOf(qos, protocolVersion, [fault, { ...fault, ack: ack + 1 }]));
            await assertWell(
              scenarioOf(qos, protocolVersion, [fault, { kind: 'crashAtCommit', commit: 4, when: 'after' }]),
            );
          }
        }
      },
    );
  }
}
