/** From a folder to the open tables of its cache, through the repair of its files and the salvage of a damaged one. */
import type Database from 'better-sqlite3';
import { errorText, NorthError, systemCode } from '../core/error.js';
import { cachePath, leaveMarker, openFile, prepareFile } from './cache-file.js';
import { repairFiles } from './file-repair.js';
import { FindingTable } from './finding-table.js';
import { damage, storeOutcome } from './repair-outcome.js';
import { newRepair, removeRepair, writeRepair } from './repair-record.js';
import { salvageFile } from './salvage.js';
import { inspectSchema, mendLabel } from './schema.js';
import type { CacheFinding } from './store.js';
import { isDamage } from './store-error.js';
import { Tables } from './tables.js';

/**
 * Opens the cache or makes a new one. What was found damaged is stored in it when this returns, and added to `findings`;
 * what was stored before an error is in `findings`, too. Throws CACHE_NEWER.
 */
export function openOrSalvage(folder: string, atMs: number, findings: CacheFinding[]): Tables {
  const { damageText: text, repair } = repairFiles(folder, atMs);
  const open = (): Tables => {
    const tables = openTables(folder, atMs, findings);
    try {
      if (repair !== undefined) findings.push(...storeOutcome(tables, repair, atMs));
      return tables;
    } catch (error) {
      tables.db.close();
      throw error;
    }
  };
  const salvage = (cause: string): Tables => {
    // So that a kill does not leave it to chance whether the damage is seen again, and told.
    const noted = { ...(repair ?? newRepair(atMs)), damageText: cause };
    writeRepair(folder, noted);
    findings.push(...salvageFile(folder, atMs, cause, { repair: noted }));
    return openTables(folder, atMs, findings);
  };
  const tables = text === undefined ? unlessDamage(open, salvage) : salvage(text);
  removeRepair(folder);
  leaveMarker(folder, tables.cacheId);
  return tables;
}

function unlessDamage(open: () => Tables, salvage: (cause: string) => Tables): Tables {
  try {
    return open();
  } catch (error) {
    if (!isDamage(error)) throw error;
    return salvage(damageText(error));
  }
}

/** Opens a cache.db whose log is in order, or makes a new one. Throws CACHE_DAMAGED when what must be in it is not. */
export function openTables(folder: string, atMs: number, findings: CacheFinding[]): Tables {
  let db: Database.Database | undefined;
  try {
    db = openFile(cachePath(folder));
    if (inspectSchema(db) === 'mislabelled') findings.push(putRight(db, atMs));
    prepareFile(db);
    return new Tables(db);
  } catch (error) {
    db?.close();
    // The statements are right, so that a table or column that they do not find is one that the file has lost.
    if (systemCode(error) !== 'SQLITE_ERROR') throw error;
    throw new NorthError('CACHE_DAMAGED', errorText(error), { cause: error });
  }
}

function putRight(db: Database.Database, atMs: number): CacheFinding {
  return db
    .transaction(() => {
      const finding = damage(atMs, mendLabel(db));
      new FindingTable(db).add(finding);
      return finding;
    })
    .immediate();
}

export function damageText(error: unknown): string {
  return `cache.db is damaged: ${errorText(error)}.`;
}
