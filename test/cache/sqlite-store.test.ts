import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openFile } from '../../src/cache/cache-file.js';
import type { SqliteStore } from '../../src/cache/sqlite-store.js';
import type { Store } from '../../src/cache/store.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { testStoreConformance } from './conformance.js';
import { copyCrashed, openIn } from './sqlite-subject.js';

const folders = new WeakMap<Store, string>();

function opened(folder: string, store: SqliteStore): Store {
  folders.set(store, folder);
  return store;
}

testStoreConformance('the store on SQLite', {
  open: (limits) => {
    const folder = temporaryFolder('store');
    return opened(folder, openIn(folder, limits));
  },
  reopen: (store, limits) => {
    // Not closed first: the copy is what a SIGKILL would leave.
    const copy = copyCrashed(folders.get(store)!);
    store.close();
    return opened(copy, openIn(copy, limits));
  },
});

testStoreConformance('the store on SQLite, closed properly', {
  open: (limits) => {
    const folder = temporaryFolder('store');
    return opened(folder, openIn(folder, limits));
  },
  reopen: (store, limits) => {
    const folder = folders.get(store)!;
    store.close();
    return opened(folder, openIn(folder, limits));
  },
});

test('every commit is synced, because the file is opened so', () => {
  const db = openFile(join(temporaryFolder('store'), 'cache.db'));
  assert.equal(db.pragma('journal_mode', { simple: true }), 'wal');
  // 2 is FULL: in this mode, the log is synced with each commit.
  assert.equal(db.pragma('synchronous', { simple: true }), 2);
  db.close();
});
