/** What no client can do, shown so that nobody promises it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appendOf, calmPlan } from './plan.js';
import { World } from './world.js';

test('when the broker loses its session and the CONNACK that says so is lost, too, what was released in between is lost', async () => {
  // The next CONNACK says that there is a session, because the lost one has made it, and a PUBCOMP for an identifier that
  // is unknown looks like one for an identifier that is complete. Only brokers that deliver at PUBREL lose by it.
  const planFor = (deliversAt: 'publish' | 'pubrel', isConnackLost: boolean) =>
    calmPlan(1, {
      latencyMs: 20,
      broker: { deliversAt },
      appends: [appendOf('telemetry', 5, 2, 200)],
      faults: [
        // The PUBLISHes arrive, and the first two PUBRELs.
        { kind: 'cut', connection: 0, to: 'broker', afterSizeBytes: 193, clientNoticeMs: 200, brokerNoticeMs: 0 },
        { kind: 'brokerCrash', atMs: 300, keepsSessions: false, downMs: 50 },
        ...(isConnackLost
          ? [
              {
                kind: 'cut',
                connection: 1,
                to: 'client',
                afterSizeBytes: 0,
                clientNoticeMs: 0,
                brokerNoticeMs: 0,
              } as const,
            ]
          : []),
      ],
    });
  const deliveredBy = async (deliversAt: 'publish' | 'pubrel', isConnackLost: boolean): Promise<string[]> => {
    const world = new World(planFor(deliversAt, isConnackLost));
    assert.deepEqual(await world.run(), []);
    world.dispose();
    return [...world.reception.deliveredCount.keys()].sort();
  };
  const all = ['t0', 't1', 't2', 't3', 't4'];
  assert.deepEqual(await deliveredBy('pubrel', false), all);
  assert.deepEqual(await deliveredBy('publish', true), all);
  assert.deepEqual(await deliveredBy('pubrel', true), ['t0', 't1']);
});
