import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { SqliteStore } from '../../src/cache/sqlite-store.js';
import type { StoreLimits } from '../../src/cache/store.js';
import type { Lane } from '../../src/core/lane.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import {
  append,
  appended,
  batch,
  draft,
  execute,
  LIMITS,
  listAll,
  listedPayloads,
  readAll,
  START_MS,
  save,
} from './requests.js';
import { openIn } from './sqlite-subject.js';

const MIB = 1024 * 1024;
const SMALL: StoreLimits = { ...LIMITS, maxSizeBytes: 2 * MIB };

function sizeOnDisk(folder: string): number {
  return readdirSync(folder)
    .filter((name) => name !== 'cache.db-shm')
    .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

/** A batch of one message with so many bytes, whose number can be read. */
function bulk(lane: Lane, number: number, sizeBytes: number) {
  return append(lane, [String(number).padStart(8, '0') + 'x'.repeat(sizeBytes)]);
}

/** Appends until the first refusal and gives how many were taken. */
function fill(store: SqliteStore, lane: Lane, sizeBytes: number, from = 0): number {
  for (let number = from; ; number++) {
    const reply = execute(store, bulk(lane, number, sizeBytes));
    if (reply.kind === 'refused') {
      assert.equal(reply.code, 'CACHE_FULL');
      return number - from;
    }
  }
}

function numbersOf(messages: readonly { payload: string }[]): number[] {
  return messages.map(({ payload }) => Number(payload.slice(0, 8)));
}

describe('a cache that is full', () => {
  test('refuses what has no room, keeps all that it accepted, and stays under its size with its log', () => {
    const folder = temporaryFolder('room');
    const store = openIn(folder, SMALL);
    const count = fill(store, 'telemetry', 10_000);
    assert.ok(count * 10_000 > MIB, `only ${count} messages of 10 kB fitted into 2 MiB`);
    assert.ok(sizeOnDisk(folder) <= SMALL.maxSizeBytes, `${sizeOnDisk(folder)} bytes on disk`);
    assert.equal(store.status().waitingCounts.telemetry, count);
    assert.ok(store.status().sizeBytes <= SMALL.maxSizeBytes);
    assert.equal(execute(store, bulk('alert', 0, 10_000)).kind, 'refused', 'alerts are refused as well');
    assert.equal(numbersOf(readAll(store, 'telemetry')).length, count);
    store.close();
  });

  test('tells accepted from refused exactly within one group', () => {
    const store = openIn(temporaryFolder('room'), SMALL);
    const replies = store.execute(Array.from({ length: 400 }, (_, number) => bulk('telemetry', number, 10_000)));
    const accepted = replies.flatMap((reply, number) => (reply.kind === 'appended' ? [number] : []));
    assert.ok(accepted.length > 50 && accepted.length < 400, `${accepted.length} of 400 were accepted`);
    assert.deepEqual(numbersOf(readAll(store, 'telemetry')), accepted);
    store.close();
  });

  test('takes a smaller one after a larger one was refused', () => {
    const store = openIn(temporaryFolder('room'), SMALL);
    fill(store, 'telemetry', 100_000);
    const replies = store.execute([bulk('telemetry', 0, 100_000), append('telemetry', ['small'])]);
    assert.deepEqual(
      replies.map(({ kind }) => kind),
      ['refused', 'appended'],
    );
    store.close();
  });

  test('still saves, quarantines, retries and removes, and takes new messages when old ones have gone', () => {
    const folder = temporaryFolder('room');
    const store = openIn(folder, SMALL);
    let count = fill(store, 'telemetry', 10_000);
    const quarantine = [3, 4, 5].map((offset) => ({ lane: 'telemetry' as const, offset, code: 'X', reason: 'x' }));
    execute(store, save(store, { telemetry: { firstUnsettled: 6 } }, { quarantine }));
    execute(store, { kind: 'retry', which: { ids: [1] }, atMs: START_MS });
    execute(store, { kind: 'remove', which: { ids: [2] } });
    assert.equal(store.status().quarantinedCount, 1);
    count += 1;
    for (let settled = 6; settled < count; settled += 7) {
      execute(store, save(store, { telemetry: { firstUnsettled: settled } }));
      assert.ok(sizeOnDisk(folder) <= SMALL.maxSizeBytes, `${sizeOnDisk(folder)} bytes on disk`);
    }
    execute(store, save(store, { telemetry: { firstUnsettled: count } }));
    assert.ok(fill(store, 'telemetry', 10_000) > count - 10, 'the room is there again');
    assert.ok(sizeOnDisk(folder) <= SMALL.maxSizeBytes, `${sizeOnDisk(folder)} bytes on disk`);
    store.close();
  });

  test('refuses content that goes straight to quarantine, too', () => {
    const store = openIn(temporaryFolder('room'), SMALL);
    fill(store, 'telemetry', 10_000);
    const request = { ...append('telemetry', []), batches: [], quarantined: [draft('telemetry', 'x'.repeat(20_000))] };
    assert.equal(execute(store, request).kind, 'refused');
    assert.equal(store.status().quarantinedCount, 0);
    store.close();
  });

  test('gives a known idempotency key its receipt, and stores nothing of a request that it refuses', () => {
    const store = openIn(temporaryFolder('room'), SMALL);
    const idempotency = { key: 'k', contentHash: 'h', expiresAtMs: START_MS + 1, answer: 'receipt' };
    execute(store, append('telemetry', ['first'], { idempotency }));
    fill(store, 'telemetry', 10_000);
    const known = execute(store, { ...bulk('telemetry', 1, 10_000), idempotency });
    assert.equal(appended(known).answer, 'receipt');
    const position = { source: 'files', value: '7' };
    const refused = { ...bulk('telemetry', 1, 10_000), idempotency: { ...idempotency, key: 'new' }, position };
    assert.equal(execute(store, refused).kind, 'refused');
    assert.equal(store.position('files'), undefined);
    execute(store, save(store, { telemetry: { firstUnsettled: store.status().nextOffsets.telemetry } }));
    assert.equal(appended(execute(store, refused)).replayed, false, 'the refused key was not kept');
    store.close();
  });

  test('counts a smaller maxSize from then on and removes nothing for it', () => {
    const store = openIn(temporaryFolder('room'), { ...SMALL, maxSizeBytes: 8 * MIB });
    for (let number = 0; number < 300; number++) execute(store, bulk('telemetry', number, 10_000));
    store.setLimits(SMALL);
    assert.equal(execute(store, bulk('telemetry', 0, 10_000)).kind, 'refused');
    assert.equal(readAll(store, 'telemetry').length, 300);
    store.setLimits({ ...SMALL, onFull: 'drop-oldest' });
    assert.equal(store.status().waitingCounts.telemetry, 300);
    store.close();
  });

  test('stays under its size while large appends and settlements come and go', () => {
    const folder = temporaryFolder('room');
    const limits = { ...LIMITS, maxSizeBytes: 6 * MIB };
    const store = openIn(folder, limits);
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return seed % below;
    };
    let most = 0;
    for (let round = 0; round < 150; round++) {
      const requests = Array.from({ length: 1 + random(4) }, () =>
        bulk('telemetry', round, random(5) === 0 ? 1_500_000 : 20_000),
      );
      store.execute(requests);
      const { firstUnsettled } = store.progress().lanes.telemetry;
      const next = store.status().nextOffsets.telemetry;
      execute(
        store,
        save(store, { telemetry: { firstUnsettled: firstUnsettled + random(next - firstUnsettled + 1) } }),
      );
      most = Math.max(most, sizeOnDisk(folder));
    }
    assert.ok(most <= limits.maxSizeBytes, `${most} bytes on disk`);
    store.close();
  });
});

describe('a full cache that drops the oldest', () => {
  const DROPPING: StoreLimits = { ...SMALL, onFull: 'drop-oldest' };

  test('takes everything, drops the oldest telemetry, and counts each message that it drops', () => {
    const folder = temporaryFolder('room');
    const store = openIn(folder, DROPPING);
    let dropped = 0;
    for (let number = 0; number < 500; number++) {
      dropped += appended(execute(store, bulk('telemetry', number, 10_000))).droppedCount;
    }
    const left = numbersOf(readAll(store, 'telemetry'));
    assert.equal(left.length + dropped, 500);
    assert.deepEqual(
      left,
      Array.from(left, (_, index) => 500 - left.length + index),
      'what is left is the newest',
    );
    assert.equal(store.status().waitingCounts.telemetry, left.length);
    assert.ok(store.status().waitingSizeBytes < SMALL.maxSizeBytes && store.status().waitingSizeBytes > MIB);
    assert.ok(sizeOnDisk(folder) <= SMALL.maxSizeBytes, `${sizeOnDisk(folder)} bytes on disk`);
    assert.equal(listedPayloads(store, 'waiting').length, left.length);
    store.close();
  });

  test('never drops what was read, nor what may have been sent, nor alerts and commands', () => {
    const store = openIn(temporaryFolder('room'), DROPPING);
    for (let number = 0; number < 10; number++) execute(store, bulk('command', number, 10_000));
    for (let number = 0; number < 10; number++) execute(store, bulk('alert', number, 10_000));
    for (let number = 0; number < 30; number++) execute(store, bulk('telemetry', number, 10_000));
    execute(store, save(store, { telemetry: { firstUnsettled: 0, boundOffset: 5 } }));
    const read = store.read('telemetry', 0, 100_000);
    const readTo = read.at(-1)!.firstOffset + 1;
    assert.ok(readTo >= 9 && readTo < 30);
    for (let number = 30; number < 500; number++) execute(store, bulk('telemetry', number, 10_000));
    const left = numbersOf(readAll(store, 'telemetry'));
    assert.deepEqual(
      left.slice(0, readTo),
      Array.from({ length: readTo }, (_, number) => number),
    );
    assert.ok(left[readTo]! > readTo, 'there is a gap, and what comes after it is read');
    assert.equal(readAll(store, 'command').length, 10);
    assert.equal(readAll(store, 'alert').length, 10);
    store.close();
  });

  test('never drops what the session takes from memory, which must follow what it has read', () => {
    const store = openIn(temporaryFolder('room'), DROPPING);
    const kept = (number: number) => {
      const request = bulk('telemetry', number, 10_000);
      return { ...request, batches: request.batches.map((one) => ({ ...one, isKept: true })) };
    };
    const isLent = (number: number) => appended(execute(store, kept(number))).ranges[0]!.isLent;
    assert.deepEqual([isLent(0), isLent(1)], [true, true]);
    assert.equal(appended(execute(store, bulk('telemetry', 2, 10_000))).ranges[0]!.isLent, undefined);
    assert.equal(isLent(3), undefined, 'the one before it is not in memory');
    store.read('telemetry', 2, 100_000);
    assert.equal(isLent(4), true);
    for (let number = 5; number < 500; number++) execute(store, bulk('telemetry', number, 10_000));
    const left = numbersOf(readAll(store, 'telemetry'));
    assert.deepEqual(left.slice(0, 5), [0, 1, 2, 3, 4]);
    assert.ok(left[5]! > 5, 'there is a gap, and what comes after it is read');
    store.close();
  });

  test('remembers after a restart what was dropped, and protects what may have been sent', () => {
    const folder = temporaryFolder('room');
    let store = openIn(folder, DROPPING);
    for (let number = 0; number < 50; number++) execute(store, bulk('telemetry', number, 10_000));
    execute(store, save(store, { telemetry: { firstUnsettled: 2, boundOffset: 20 } }));
    store.close();
    store = openIn(folder, DROPPING);
    for (let number = 50; number < 300; number++) execute(store, bulk('telemetry', number, 10_000));
    const waiting = store.status().waitingCounts.telemetry;
    store.close();
    store = openIn(folder, DROPPING);
    const left = numbersOf(readAll(store, 'telemetry'));
    assert.deepEqual(
      left.slice(0, 18),
      Array.from({ length: 18 }, (_, index) => index + 2),
    );
    assert.equal(left.length, waiting);
    execute(store, save(store, { telemetry: { firstUnsettled: 300 } }));
    assert.equal(store.status().waitingCounts.telemetry, 0);
    assert.equal(store.status().waitingSizeBytes, 0);
    store.close();
  });

  test('refuses when everything is protected, and drops nothing for an append that cannot fit', () => {
    const store = openIn(temporaryFolder('room'), DROPPING);
    fill(store, 'alert', 10_000);
    assert.equal(execute(store, bulk('telemetry', 0, 10_000)).kind, 'refused');
    const other = openIn(temporaryFolder('room'), DROPPING);
    for (let number = 0; number < 500; number++) execute(other, bulk('telemetry', number, 10_000));
    const before = other.status().waitingCounts;
    assert.equal(execute(other, bulk('telemetry', 0, 2 * MIB)).kind, 'refused');
    assert.deepEqual(other.status().waitingCounts, before);
    store.close();
    other.close();
  });

  test('drops telemetry for an alert', () => {
    const store = openIn(temporaryFolder('room'), DROPPING);
    for (let number = 0; number < 300; number++) execute(store, bulk('telemetry', number, 10_000));
    let dropped = 0;
    for (let number = 0; number < 50; number++)
      dropped += appended(execute(store, bulk('alert', number, 10_000))).droppedCount;
    assert.ok(dropped >= 45, `${dropped} were dropped`);
    assert.equal(readAll(store, 'alert').length, 50);
    store.close();
  });

  test('drops whole batches of many messages with the right count', () => {
    const store = openIn(temporaryFolder('room'), DROPPING);
    let dropped = 0;
    for (let number = 0; number < 100; number++) {
      const request = {
        ...append('telemetry', []),
        batches: [
          batch(
            'telemetry',
            Array.from({ length: 500 }, (_, i) => `${number}-${i}-${'x'.repeat(60)}`),
          ),
        ],
      };
      dropped += appended(execute(store, request)).droppedCount;
    }
    assert.ok(dropped > 0 && dropped % 500 === 0);
    assert.equal(store.status().waitingCounts.telemetry + dropped, 50_000);
    assert.equal(readAll(store, 'telemetry').length + dropped, 50_000);
    store.close();
  });
});

describe('the archive of a full cache', () => {
  const ARCHIVING: StoreLimits = { ...SMALL, archiveEnabled: true };

  test('gives way before anything is refused or dropped, the longest settled first, and is counted', () => {
    for (const onFull of ['reject', 'drop-oldest'] as const) {
      const folder = temporaryFolder('room');
      const store = openIn(folder, { ...ARCHIVING, onFull });
      for (let number = 0; number < 60; number++) {
        const lane = number % 2 === 0 ? 'telemetry' : 'alert';
        execute(store, bulk(lane, number, 10_000));
        const next = store.status().nextOffsets[lane];
        execute(store, save(store, { [lane]: { firstUnsettled: next } }, { atMs: START_MS + number }));
      }
      assert.equal(store.status().archivedCount, 60);
      let dropped = 0;
      for (let number = 60; number < 150; number++) {
        dropped += appended(execute(store, bulk('telemetry', number, 10_000))).droppedCount;
      }
      const { archivedCount, archiveEvictedCount } = store.status();
      assert.equal(dropped, 0);
      assert.ok(
        archiveEvictedCount > 0 && archivedCount > 0,
        `${archivedCount} archived, ${archiveEvictedCount} evicted`,
      );
      assert.equal(archivedCount + archiveEvictedCount, 60);
      const left = listAll(store, 'archived').map(({ atMs }) => atMs! - START_MS);
      assert.deepEqual(
        left.sort((a, b) => a - b),
        Array.from(left, (_, index) => 60 - left.length + index),
      );
      assert.equal(readAll(store, 'telemetry').length, 90);
      assert.ok(sizeOnDisk(folder) <= SMALL.maxSizeBytes);
      store.close();
    }
  });
});

test('a cache that was large and is almost empty gives its room back to the disk', () => {
  const folder = temporaryFolder('room');
  const store = openIn(folder, LIMITS);
  for (let number = 0; number < 80; number++) execute(store, bulk('telemetry', number, MIB));
  execute(store, append('alert', ['stays']));
  execute(store, save(store, { telemetry: { firstUnsettled: 80 } }));
  assert.ok(sizeOnDisk(folder) > 80 * MIB);
  execute(store, { kind: 'sweep', atMs: START_MS });
  assert.ok(sizeOnDisk(folder) < 10 * MIB, `${sizeOnDisk(folder)} bytes on disk`);
  assert.deepEqual(
    readAll(store, 'alert').map(({ payload }) => payload),
    ['stays'],
  );
  store.close();
});
