import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import type { Cache } from '../../src/cache/cache.js';
import type { SqliteStore } from '../../src/cache/sqlite-store.js';
import { openCache } from '../../src/cache/threaded-cache.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { makeDamagedTree } from './damaged-tree.js';
import { append, execute, LIMITS, readAll } from './requests.js';
import { openIn } from './sqlite-subject.js';

const SYNCED = { journalMode: 'wal', synchronous: 'full' };
const OTHER_LIMITS = { ...LIMITS, maxSizeBytes: LIMITS.maxSizeBytes / 4 };

test('the connection that writes syncs every commit: as opened, with other limits, and after a rebuild', () => {
  const folder = temporaryFolder('synced');
  makeDamagedTree(folder);
  const store = openIn(folder);
  const assertSynced = (when: string): void => {
    assert.deepEqual(store.status().durability, SYNCED, when);
    execute(store, append('telemetry', [when]));
    assert.deepEqual(store.status().durability, SYNCED, `${when}, after a commit`);
  };
  assertSynced('as opened');
  store.setLimits(OTHER_LIMITS);
  assertSynced('with other limits');
  assert.deepEqual(store.status().findings, []);
  readAll(store, 'telemetry');
  assert.ok(store.status().findings.length > 0, 'it was rebuilt');
  assertSynced('after a rebuild');
  store.setLimits(LIMITS);
  assertSynced('with other limits after a rebuild');
  store.close();
  const again: SqliteStore = openIn(folder);
  assert.deepEqual(again.status().durability, SYNCED, 'opened again');
  again.close();
});

test('the thread of a cache says of its own connection how it commits', async () => {
  const cache: Cache = await openCache({ folder: temporaryFolder('synced'), limits: LIMITS });
  assert.deepEqual((await cache.status()).durability, SYNCED);
  await cache.setLimits(OTHER_LIMITS);
  await cache.append(append('alert', ['one']));
  assert.deepEqual((await cache.status()).durability, SYNCED);
  await cache.close();
});

test('what a store says of its commits is its own connection, not the file or another connection', () => {
  const folder = temporaryFolder('synced');
  const store = openIn(folder);
  const other = new Database(join(folder, 'cache.db'));
  other.pragma('synchronous = OFF');
  assert.equal(other.pragma('synchronous', { simple: true }), 0);
  assert.deepEqual(store.status().durability, SYNCED);
  other.close();
  store.close();
});
