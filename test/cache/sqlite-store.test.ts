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
