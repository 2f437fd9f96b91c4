/** Plans that once failed, as the shrinker left them. Each is named for what it found. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appendOf, appendOfEach, calmPlan, type WorldPlan } from './plan.js';
import { problemsOf } from './shrink.js';

const KEPT: Readonly<Record<string, WorldPlan>> = {
  'a session that was stopped and started again stored the same bounds for ever and sent nothing new': calmPlan(24, {
    protocolVersion: 4,
    appends: [appendOf('telemetry', 1, 0, 2129)],
    faults: [{ kind: 'restart', atMs: 1474, isSameProcess: true }],
  }),
  'a rate limit left a remainder of rounding that nobody could wait for': calmPlan(38, {
    inflightMax: 100,
    messagesPerSecond: 29,
    bufferSizeMax: 1_000_000,
    saveDelayMs: [0, 40],
    broker: { maximumQos: 0 },
    appends: [appendOfEach('telemetry', '022022101')],
  }),
  'messages that had been delivered ended in quarantine because the broker said that it had them': calmPlan(156, {
    inflightMax: 2,
    latencyMs: 200,
    bufferSizeMax: 100,
    saveDelayMs: [0, 1],
    broker: { ackDelayMs: [1, 60], unknownPubrelCode: 0, saysInUse: true },
    appends: [appendOf('telemetry', 2, 2, 1007), appendOf('alert', 1, 2, 1502), appendOf('telemetry', 2, 2, 1789)],
    faults: [{ kind: 'cutAt', atMs: 3168 }],
  }),
  'a message that was refused, sent again and interrupted came without DUP': calmPlan(167, {
    inflightMax: 2,
    firstOffset: 172_002,
    latencyMs: 1,
    bufferSizeMax: 100,
    saveDelayMs: [0, 40],
    broker: { ackDelayMs: [1, 60], refusalShare: 0.5 },
    appends: [
      appendOfEach('telemetry', '10', 352),
      appendOfEach('telemetry', '1122221012010100022022201121210111', 2393),
    ],
    faults: [{ kind: 'cutAt', atMs: 3912 }],
  }),
  'a session that does not last counted what it repeated wrongly when the broker had refused some of it': calmPlan(37, {
    isPersistent: false,
    inflightMax: 5,
    firstOffset: 2042,
    latencyMs: 1,
    saveDelayMs: [0, 40],
    broker: { deliversAt: 'pubrel', unknownPubrelCode: 0, refusalShare: 0.5 },
    appends: [appendOf('alert', 1, 1, 529)],
    faults: [{ kind: 'brokerCrash', atMs: 1896, keepsSessions: true, downMs: 971 }],
  }),
  'one message that is never answered kept the window narrow and everything else waiting': calmPlan(119, {
    isPersistent: false,
    inflightMax: 20,
    firstOffset: 57_337,
    latencyMs: 1,
    saveDelayMs: [0, 1],
    broker: { deliversAt: 'pubrel', maximumQos: 1, ignored: ['t57361', 't57345'] },
    appends: [
      appendOf('telemetry', 26, 2),
      ...Array.from({ length: 30 }, (_, i) => appendOf('telemetry', 1, 1, 4000 + i * 1500)),
    ],
  }),
  'a new process never found the one message that a full broker was waiting for': calmPlan(2002086, {
    latencyMs: 20,
    broker: { receiveMaximum: 1, deliversAt: 'pubrel' },
    appends: [appendOf('telemetry', 1, 2), appendOf('command', 1, 2, 60)],
    faults: [{ kind: 'crashAt', atMs: 70, arrivingSizeBytes: 0 }],
  }),
  'a broker that answers three at a time waited for the PUBREL of one that had not been sent again': calmPlan(
    50014647,
    {
      inflightMax: 20,
      latencyMs: 200,
      bufferSizeMax: 100,
      saveDelayMs: [0, 1],
      broker: { deliversAt: 'pubrel', ackDelayMs: [1, 60], pubrecsMax: 3, receiveMaxima: [50, 1] },
      appends: [appendOf('telemetry', 12, 2, 1807), appendOf('command', 1, 2, 2354)],
      faults: [
        { kind: 'cutAt', atMs: 1081 },
        { kind: 'kick', atMs: 3007, reasonCode: 0x8e },
      ],
    },
  ),
};

for (const [name, plan] of Object.entries(KEPT)) {
  test(`not any more: ${name}`, async () => {
    assert.deepEqual(await problemsOf(plan), []);
  });
}
