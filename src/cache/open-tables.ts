/** From a folder to the open tables of its cache, through the salvage of a damaged file where that is needed. */
import { errorText, NorthError, systemCode } from '../core/error.js';
import { cachePath, inspectFile, openFile, prepareFile } from './cache-file.js';
import { salvageFile } from './salvage.js';
import type { CacheFinding } from './store.js';
import { isDamage } from './store-error.js';
import { Tables } from './tables.js';

/** Opens the cache or makes a new one, and adds what was found damaged to `findings`. Throws CACHE_NEWER. */
export function openOrSalvage(folder: string, atMs: number, findings: CacheFinding[]): Tables {
  const state = inspectFile(folder, findings, atMs);
  if (state === 'damaged') findings.push(...salvageFile(folder, atMs, 'cache.db cannot be read.'));
  try {
    return openTables(folder);
  } catch (error) {
    if (!isDamage(error) || state !== 'ready') throw error;
    findings.push(...salvageFile(folder, atMs, damageText(error)));
    return openTables(folder);
  }
}

export function openTables(folder: string): Tables {
  const db = openFile(cachePath(folder));
  try {
    prepareFile(db);
    return new Tables(db);
  } catch (error) {
    db.close();
    // The statements are right, so that a table or column that they do not find is one that the file has lost.
    if (systemCode(error) !== 'SQLITE_ERROR') throw error;
    throw new NorthError('CACHE_DAMAGED', errorText(error), { cause: error });
  }
}

export function damageText(error: unknown): string {
  return `cache.db is damaged: ${errorText(error)}.`;
}
