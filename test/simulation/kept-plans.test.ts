/**
 * Plans that once failed, as the shrinker left them. Each is named for what it found: in the product, or in what the world
 * holds to be right or wrong, where it accused a product that kept its promises.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appendOf, appendOfEach, calmPlan, type WorldPlan } from './plan.js';
import { problemsOf } from './shrink.js';

const PRODUCT: Readonly<Record<string, WorldPlan>> = {
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
  'messages that were in flight when the broker came to take only QoS 1 kept their identifiers for ever': calmPlan(
    656840,
    {
      latencyMs: 200,
      broker: { receiveMaximum: 10, pubrecsMax: 5, grants: [{ maximumQos: 1 }, {}] },
      appends: [appendOf('telemetry', 5, 2), appendOf('alert', 14, 2), appendOf('command', 42, 2)],
      faults: [
        { kind: 'stall', atMs: 762, durationMs: 8000 },
        { kind: 'kick', atMs: 1356, reasonCode: 0x8b },
        { kind: 'reconfigure', atMs: 3985, inflightMax: 1 },
      ],
    },
  ),
  'QoS 1 that overtook QoS 2 at a slow broker made innocent messages look like poison': calmPlan(668628, {
    isPersistent: false,
    inflightMax: 20,
    latencyMs: 200,
    saveDelayMs: [0, 5],
    broker: { ackDelayMs: [1, 60], pubrecsMax: 1 },
    appends: [
      appendOf('telemetry', 9, 2),
      appendOf('alert', 3, 2),
      appendOf('alert', 3, 2, 1508),
      appendOfEach('alert', '222222222222212222102210', 1568),
      appendOfEach('telemetry', '221111', 1845),
    ],
  }),
  'a message that the broker had refused was sent again and again, and kept a session from being given up': calmPlan(
    1201302,
    {
      firstOffset: 172_002,
      broker: { refusalShare: 0.5, poisonPubrel: ['c172005'] },
      appends: [appendOf('command', 7, 2)],
    },
  ),
  'a broker that answered nothing of QoS 2 any more was waited for as long as it answered QoS 1': calmPlan(809803, {
    protocolVersion: 4,
    broker: { ignored: ['t0', 'a3'] },
    appends: [
      appendOf('telemetry', 1, 2),
      appendOf('alert', 4, 2),
      ...[0, 121, 124, 139, 142, 145, 196, 199, 202].map((atSeconds) => appendOf('telemetry', 1, 1, atSeconds * 1000)),
    ],
  }),
  'what was set aside while the broker held it did not count against what the broker takes at a time': calmPlan(
    4202449,
    {
      broker: { receiveMaximum: 1, grants: [{ maximumPacketSizeBytes: 300 }] },
      appends: [
        {
          ...appendOf('alert', 0, 2),
          messages: [1000, 0].map((sizeBytes) => ({ qos: 2, sizeBytes, expirySeconds: 0, retain: false })),
        },
      ],
      faults: [{ kind: 'ack', ack: 0, how: 'wrongType', delayMs: 1000 }],
    },
  ),
  'what was released a moment ago went to quarantine with what the broker never answers, as if it were no better':
    calmPlan(5008618, {
      protocolVersion: 4,
      inflightMax: 100,
      firstOffset: 172_002,
      latencyMs: 200,
      saveDelayMs: [0, 1],
      broker: { ackDelayMs: [1, 60], heldMax: 20, ignoredPubrel: ['c172041', 't172069'] },
      appends: [
        ...[53, 6, 9].map((count) => appendOf('telemetry', count, 2)),
        appendOf('telemetry', 58, 2, 326),
        appendOf('alert', 5, 2, 559),
        appendOf('telemetry', 37, 2, 1929),
        appendOf('alert', 6, 2, 1968),
        appendOf('command', 60, 2, 2385),
        ...[22_000, 25_000, 28_000].map((atMs) => appendOf('telemetry', 1, 1, atMs)),
      ],
      faults: [
        { kind: 'cut', connection: 0, to: 'broker', afterSizeBytes: 7, brokerNoticeMs: 1416 },
        { kind: 'crashAtCommit', commit: 30, when: 'before' },
      ],
    }),
};

const WORLD: Readonly<Record<string, WorldPlan>> = {
  'what went to quarantine in the middle of its exchange was to arrive in its order': calmPlan(618538, {
    broker: { deliversAt: 'pubrel', grants: [{ maximumPacketSizeBytes: 20_000 }] },
    appends: [
      {
        ...appendOf('telemetry', 0, 2, 2329),
        messages: [
          { qos: 2, sizeBytes: 0, expirySeconds: 0, retain: false },
          { qos: 2, sizeBytes: 44_302, expirySeconds: 0, retain: true },
        ],
      },
    ],
    faults: [{ kind: 'halfOpen', atMs: 2147, to: 'client' }],
  }),
  'the broker completed an exchange that was being repeated, and that no client can tell from its own': calmPlan(
    624797,
    {
      protocolVersion: 4,
      latencyMs: 200,
      broker: { deliversAt: 'pubrel', pubrecsMax: 3 },
      appends: [appendOf('command', 2, 2), appendOf('alert', 2, 2), appendOf('command', 1, 2, 2762)],
      faults: [
        { kind: 'brokerCrash', atMs: 0, keepsSessions: true, downMs: 2041 },
        { kind: 'brokerCrash', atMs: 3088, keepsSessions: true, downMs: 668 },
        { kind: 'ack', ack: 9, how: 'earlyPubcomp', delayMs: 20 },
      ],
    },
  ),
  'a lower lane was not to go on although the higher one waited for a slow disk': calmPlan(904818, {
    protocolVersion: 4,
    inflightMax: 5,
    latencyMs: 50,
    broker: { ackDelayMs: [0, 5], downgrades: true },
    appends: [
      appendOf('alert', 2, 2, 1180),
      appendOf('telemetry', 3, 2, 1762),
      appendOf('command', 1, 2, 2703),
      appendOf('alert', 1, 2, 2710),
    ],
    faults: [
      { kind: 'halfOpen', atMs: 1155, to: 'broker' },
      { kind: 'brokerCrash', atMs: 2543, keepsSessions: true, downMs: 613 },
      { kind: 'slowCommits', atMs: 3025, durationMs: 1000, delayMs: 577 },
    ],
  }),
  'nothing was to arrive twice although a broker that came to take only QoS 1 had its session given up': calmPlan(
    802441,
    {
      saveDelayMs: [0, 1],
      broker: {
        ackDelayMs: [0, 5],
        refusalShare: 0.05,
        maximumPacketSizeBytes: 300,
        grants: [{ maximumQos: 1 }, {}],
      },
      appends: [
        {
          ...appendOf('telemetry', 0, 2),
          messages: [25_705, 0, 0, 0, 0, 0, 0].map((sizeBytes) => ({
            qos: 2,
            sizeBytes,
            expirySeconds: 0,
            retain: false,
          })),
        },
        appendOf('alert', 13, 2, 984),
      ],
      faults: [{ kind: 'crashAtCommit', commit: 15, when: 'after' }],
    },
  ),
  'a new process was to know that the one before it had wiped out the session that it went on with': calmPlan(2106916, {
    protocolVersion: 4,
    latencyMs: 50,
    fallsBack: true,
    reconnectPeriodMs: 1000,
    hasSpare: true,
    broker: { ackDelayMs: [0, 5] },
    appends: [appendOf('alert', 6, 2), appendOf('telemetry', 1, 2, 1564), appendOf('telemetry', 1, 2, 2725)],
    faults: [
      { kind: 'brokerCrash', atMs: 862, keepsSessions: true, downMs: 491 },
      { kind: 'crashAtCommit', commit: 9, when: 'after' },
      { kind: 'cutAt', atMs: 1632 },
      { kind: 'limits', atMs: 1654, quarantineRetentionMs: 0 },
      { kind: 'crashAt', atMs: 2174, arrivingSizeBytes: 1_000_000 },
      { kind: 'brokerCrash', atMs: 3155, keepsSessions: true, downMs: 822 },
    ],
  }),
  'a world was taken for idle while a save that had failed was still to be repeated': calmPlan(2137082, {
    isPersistent: false,
    latencyMs: 200,
    broker: { grants: [{ maximumQos: 1 }] },
    appends: [appendOf('telemetry', 3, 2), appendOf('alert', 2, 2, 430), appendOf('telemetry', 1, 2, 541)],
    faults: [
      { kind: 'commitsFail', from: 13, count: 2 },
      { kind: 'ack', ack: 1, how: 'wrongType', delayMs: 7000 },
      { kind: 'dial', dial: 2, outcome: 'slow' },
      { kind: 'latency', atMs: 916, durationMs: 50, latencyMs: 0 },
      { kind: 'crashAt', atMs: 2880, arrivingSizeBytes: 1_000_000 },
      { kind: 'kick', atMs: 3996, reasonCode: 0x98 },
    ],
  }),
};

for (const [name, plan] of Object.entries({ ...PRODUCT, ...WORLD })) {
  test(`not any more: ${name}`, async () => {
    assert.deepEqual(await problemsOf(plan), []);
  });
}
