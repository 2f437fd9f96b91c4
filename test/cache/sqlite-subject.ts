import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { openSqliteStore, type SqliteStore } from '../../src/cache/sqlite-store.js';
import type { StoreLimits } from '../../src/cache/store.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { LIMITS } from './requests.js';

/** A store in a folder of its own, which is removed when the process ends. */
export function openIn(folder: string, limits: StoreLimits = LIMITS): SqliteStore {
  return openSqliteStore({ folder, limits });
}

/**
 * Copies the files as a crash of the process would leave them: what is written is there, the log is not carried over,
 * and its index is made anew.
 */
export function copyCrashed(folder: string, name = 'crashed'): string {
  const copy = temporaryFolder(name);
  for (const file of ['cache.db', 'cache.db-wal']) {
    if (existsSync(join(folder, file))) cpSync(join(folder, file), join(copy, file));
  }
  return copy;
}
