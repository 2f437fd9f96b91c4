/** The files as a power cut leaves them: the write-ahead log ends anywhere, or carrying it over has begun. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Store, StoreLimits, StoreRequest } from '../../src/cache/store.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { append, draft, durableStateOf, execute, LIMITS, numbered, START_MS, save } from './requests.js';
import { openIn } from './sqlite-subject.js';

const WAL_HEADER_BYTES = 32;
const FRAME_BYTES = 24 + 4096;
const ARCHIVING: StoreLimits = { ...LIMITS, archiveEnabled: true, archiveRetentionMs: 10_000 };

interface Commit {
  walBytes: number;
  state: unknown;
}

/** One request of each kind and size after the other; all that follow each other differ. */
const STEPS: ((store: Store, index: number) => StoreRequest)[] = [
  (_, index) => append('telemetry', numbered(`t${index}-`, 3)),
  (_, index) => append('alert', [`a${index}`.padEnd(9000, 'x')], { position: { source: 's', value: String(index) } }),
  (_, index) => ({ ...append('command', [`c${index}`]), quarantined: [draft('alert', `q${index}`, 'q/t')] }),
  (store, index) => {
    const { telemetry } = store.status().nextOffsets;
    const quarantine = [{ lane: 'telemetry' as const, offset: telemetry - 2, code: 'X', reason: 'x' }];
    const identity = { broker: 'b', clientId: `c${index}` };
    const request = save(
      store,
      { telemetry: { firstUnsettled: telemetry - 1, boundOffset: telemetry + 50 } },
      { quarantine, identity, atMs: START_MS + index },
    );
    return { ...request, progress: { ...request.progress, received: [{ lane: 'alert', from: 0, to: 1 }] } };
  },
  (_, index) =>
    append('telemetry', [`k${index}`], {
      idempotency: { key: `k${index}`, contentHash: 'h', answer: 'r', expiresAtMs: 1 },
    }),
  () => ({ kind: 'retry', which: { codes: ['X'] }, atMs: START_MS }),
  (store) => save(store, { alert: { firstUnsettled: store.status().nextOffsets.alert } }),
  () => ({ kind: 'remove', which: { all: true } }),
  (_, index) => ({ kind: 'sweep', atMs: START_MS + 10_000 + index * 7 }),
];

function record(folder: string): Commit[] {
  const wal = join(folder, 'cache.db-wal');
  const store = openIn(folder, ARCHIVING);
  const commits: Commit[] = [{ walBytes: 0, state: durableStateOf(store) }];
  copyFileSync(join(folder, 'cache.db'), join(folder, 'before.db'));
  const opened = statSync(wal).size;
  commits.push({ walBytes: opened, state: durableStateOf(store) });
  for (let index = 0; index < 45; index++) {
    execute(store, STEPS[index % STEPS.length]!(store, index));
    commits.push({ walBytes: statSync(wal).size, state: durableStateOf(store) });
  }
  copyFileSync(wal, join(folder, 'whole.wal'));
  assert.deepEqual(
    readFileSync(join(folder, 'before.db')),
    readFileSync(join(folder, 'cache.db')),
    'no checkpoint yet',
  );
  store.close();
  return commits;
}

function stateOf(db: Uint8Array, wal: Uint8Array): unknown {
  const folder = temporaryFolder('cut');
  writeFileSync(join(folder, 'cache.db'), db);
  if (wal.length > 0) writeFileSync(join(folder, 'cache.db-wal'), wal);
  const store = openIn(folder, ARCHIVING);
  const state = durableStateOf(store);
  store.close();
  return state;
}

describe('after a power cut', () => {
  const folder = temporaryFolder('power');
  const commits = record(folder);
  const db = readFileSync(join(folder, 'before.db'));
  const wal = readFileSync(join(folder, 'whole.wal'));
  const lastBefore = (bytes: number) => commits.findLast(({ walBytes }) => walBytes <= bytes)!.state;

  test('the cache holds what was confirmed until then, wherever between two frames the log ends', () => {
    const frames = (wal.length - WAL_HEADER_BYTES) / FRAME_BYTES;
    assert.ok(Number.isInteger(frames) && frames > 100, `${frames} frames`);
    // The tables were made in the first transaction; before that there is no cache, and nothing was confirmed.
    const first = commits[1]!.walBytes;
    for (let frame = 0; frame <= frames; frame++) {
      const cut = WAL_HEADER_BYTES + frame * FRAME_BYTES;
      if (cut < first) continue;
      assert.deepEqual(stateOf(db, wal.subarray(0, cut)), lastBefore(cut), `after ${frame} of ${frames} frames`);
    }
  });

  test('a frame that is written in part, or has something else behind it, does not count', () => {
    let seed = 11;
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return seed % below;
    };
    const first = commits[1]!.walBytes;
    for (let round = 0; round < 25; round++) {
      const cut = first + random(wal.length - first);
      const torn = Buffer.concat([wal.subarray(0, cut), Buffer.alloc(random(10_000), random(256))]);
      assert.deepEqual(stateOf(db, torn), lastBefore(cut), `cut at byte ${cut}`);
    }
  });

  test('a log that was carried over in part is carried over again', () => {
    const folderAfter = temporaryFolder('power');
    writeFileSync(join(folderAfter, 'cache.db'), db);
    writeFileSync(join(folderAfter, 'cache.db-wal'), wal);
    openIn(folderAfter, ARCHIVING).close();
    const after = readFileSync(join(folderAfter, 'cache.db'));
    const last = commits.at(-1)!.state;
    let seed = 5;
    for (let round = 0; round < 15; round++) {
      const mixed = Buffer.alloc(Math.max(db.length, after.length));
      db.copy(mixed);
      for (let at = 0; at < after.length; at += 4096) {
        seed = (seed * 1103515245 + 12345) % 2 ** 31;
        if (seed % 3 > 0) after.copy(mixed, at, at, at + 4096);
      }
      assert.deepEqual(stateOf(mixed, wal), last, `round ${round}`);
    }
  });
});
