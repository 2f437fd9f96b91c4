import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { QoS } from '../../src/core/message.js';
import { appendOf, calmPlan, type PlannedFault, type WorldPlan } from './plan.js';
import { problemsOf } from './shrink.js';
import { World } from './world.js';

/** A few messages in two lanes, so that every kind of packet and of save occurs, and the window fills. */
function scenarioOf(qos: QoS, protocolVersion: 4 | 5, faults: readonly PlannedFault[] = []): WorldPlan {
  return calmPlan(7, {
    protocolVersion,
    inflightMax: 6,
    broker: { deliversAt: protocolVersion === 4 ? 'pubrel' : 'publish' },
    appends: [appendOf('telemetry', 6, qos), appendOf('command', 2, qos, 20), appendOf('telemetry', 2, qos, 40)],
    faults,
  });
}

function assertWell(plan: WorldPlan): void {
  const problems = problemsOf(plan);
  assert.deepEqual(problems, [], JSON.stringify(plan.faults));
}

for (const protocolVersion of [4, 5] as const) {
  for (const qos of [0, 1, 2] as const) {
    const name = `QoS ${qos}, version ${protocolVersion}`;

    test(`a connection that is cut after any byte in either direction breaks no guarantee (${name})`, () => {
      const calm = new World(scenarioOf(qos, protocolVersion));
      assert.deepEqual(calm.run(), []);
      const [link] = calm.links;
      assert.ok(link !== undefined);
      for (const to of ['broker', 'client'] as const) {
        const sizeBytes = link.arrivedAt(to);
        assert.ok(sizeBytes > 3);
        for (let afterSizeBytes = 0; afterSizeBytes <= sizeBytes; afterSizeBytes++) {
          const cut = { kind: 'cut', connection: 0, to, afterSizeBytes, brokerNoticeMs: 0 } as const;
          // The client notices at once, or never, so that it has to find out.
          assertWell(scenarioOf(qos, protocolVersion, [{ ...cut, clientNoticeMs: 0 }]));
          if (afterSizeBytes % 5 === 0) assertWell(scenarioOf(qos, protocolVersion, [cut]));
        }
      }
    });

    test(`a process that ends before or after any save, or when told of it, breaks no guarantee (${name})`, () => {
      const calm = new World(scenarioOf(qos, protocolVersion));
      assert.deepEqual(calm.run(), []);
      for (let save = 0; save <= calm.connector.saveCount; save++) {
        for (const when of ['before', 'after', 'told'] as const) {
          assertWell(scenarioOf(qos, protocolVersion, [{ kind: 'crashAtSave', save, when }]));
          // And once more while it recovers.
          for (let next = save + 1; next < save + 6; next++) {
            const again = { kind: 'crashAtSave', save: next, when } as const;
            assertWell(scenarioOf(qos, protocolVersion, [{ kind: 'crashAtSave', save, when }, again]));
          }
        }
      }
    });

    test(`a process that ends at any millisecond, whatever of its last bytes arrives, breaks no guarantee (${name})`, () => {
      for (let atMs = 0; atMs < 120; atMs++) {
        for (const arrivingSizeBytes of [0, 37, 1_000_000]) {
          assertWell(scenarioOf(qos, protocolVersion, [{ kind: 'crashAt', atMs, arrivingSizeBytes }]));
        }
      }
    });

    test(`two cuts in a row, wherever they are, break no guarantee (${name})`, () => {
      for (const to of ['broker', 'client'] as const) {
        for (let first = 0; first < 400; first += 11) {
          for (let second = 0; second < 200; second += 13) {
            const cut = { kind: 'cut', brokerNoticeMs: 0, clientNoticeMs: 0 } as const;
            assertWell(
              scenarioOf(qos, protocolVersion, [
                { ...cut, connection: 0, to, afterSizeBytes: first },
                { ...cut, connection: 1, to: to === 'broker' ? 'client' : 'broker', afterSizeBytes: second },
              ]),
            );
          }
        }
      }
    });
  }
}
