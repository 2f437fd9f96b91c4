/** Power cuts on the real database: the log of a recorded run ends anywhere, and the world goes on from what is left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { QoS } from '../../src/core/message.js';
import { appendOf, calmPlan, type PlannedAppend, type WorldPlan } from './plan.js';
import { Random } from './random.js';
import { Aftermath, FRAME_BYTES, recordRun, WAL_HEADER_BYTES } from './recorded-run.js';

/** Cuts at random bytes in all runs together. */
const RANDOM_CUTS = 1000;
const RUNS: readonly (readonly [qos: QoS, protocolVersion: 4 | 5, deliversAt: 'publish' | 'pubrel'])[] = [
  [0, 5, 'publish'],
  [1, 4, 'publish'],
  [2, 5, 'publish'],
  [2, 4, 'pubrel'],
];

const APPENDS: readonly ((qos: QoS, atMs: number) => PlannedAppend)[] = [
  (qos, atMs) => ({ ...appendOf('telemetry', 5, qos, atMs), isKeyed: true }),
  (qos, atMs) => ({ ...appendOf('command', 2, qos, atMs), content: 'time-values', unmappedCount: 1 }),
  (qos, atMs) => ({ ...appendOf('telemetry', 3, qos, atMs), isKeyed: true }),
  (qos, atMs) => appendOf('alert', 1, qos, atMs),
];

/** Three lanes, keys, a transformer, a quarantine, and connections that are lost in the middle. */
function planFor(qos: QoS, protocolVersion: 4 | 5, deliversAt: 'publish' | 'pubrel'): WorldPlan {
  return calmPlan(11, {
    protocolVersion,
    inflightMax: 6,
    saveDelayMs: [1, 4],
    broker: { deliversAt, ackDelayMs: [0, 8] },
    appends: Array.from({ length: 16 }, (_, i) => APPENDS[i % APPENDS.length]!(qos, i * 13)),
    faults: [
      { kind: 'cut', connection: 0, to: 'broker', afterSizeBytes: 420, clientNoticeMs: 10, brokerNoticeMs: 5 },
      { kind: 'cut', connection: 1, to: 'client', afterSizeBytes: 40, clientNoticeMs: 0, brokerNoticeMs: 50 },
    ],
  });
}

for (const [qos, protocolVersion, deliversAt] of RUNS) {
  test(`a log that ends anywhere opens to what was promised, and nothing is lost or repeated (QoS ${qos}, version ${protocolVersion}, at ${deliversAt})`, async (t) => {
    const run = await recordRun(planFor(qos, protocolVersion, deliversAt));
    const { wal, commits } = run;
    const aftermath = new Aftermath(run);
    const frames = (wal.length - WAL_HEADER_BYTES) / FRAME_BYTES;
    assert.ok(Number.isInteger(frames) && frames > 50, `${frames} frames`);
    let cuts = 0;
    for (let frame = 0; frame <= frames; frame++) {
      const cut = WAL_HEADER_BYTES + frame * FRAME_BYTES;
      const commit = aftermath.lastCommit(cut);
      const log = wal.subarray(0, cut);
      const place = `after ${frame} of ${frames} frames`;
      assert.deepEqual(await aftermath.problems(log, commit.late), [], place);
      cuts++;
      if (commit.walBytes !== cut) continue;
      assert.deepEqual(await aftermath.problems(log, commit.early), [], `${place}, at once`);
      cuts++;
    }
    const random = new Random(qos + protocolVersion);
    for (let i = 0; i < RANDOM_CUTS / RUNS.length; i++) {
      const cut = random.between(0, wal.length);
      const commit = aftermath.lastCommit(cut);
      const garbage = Buffer.alloc(random.chance(0.5) ? random.between(1, 10_000) : 0, random.between(0, 255));
      const log = Buffer.concat([wal.subarray(0, cut), garbage]);
      const moment = random.chance(0.5) ? commit.late : commit.early;
      assert.deepEqual(await aftermath.problems(log, moment), [], `cut at byte ${cut}, ${garbage.length} bytes behind`);
      cuts++;
    }
    t.diagnostic(`${cuts} cuts, ${frames} frames, ${commits.length} transactions`);
  });
}
