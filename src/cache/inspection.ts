/** A look at a cache that nobody has open: how it is kept, and whether every page of it is whole. */
import { cachePath, openFile } from './cache-file.js';
import { readDurability } from './durability.js';
import type { Durability } from './store.js';

/** What a connection opened anew has; of another one it says nothing. */
export interface CacheInspection extends Durability {
  sqliteVersion: string;
  /** What SQLite's own check of all pages and indexes found; empty when the file is whole. */
  problems: readonly string[];
}

const PROBLEMS_MAX = 10;

/** Opens the file exactly as the store does. The caller holds the lock of the data directory. */
export function inspectCache(folder: string): CacheInspection {
  const db = openFile(cachePath(folder));
  try {
    const rows = db.pragma(`integrity_check(${PROBLEMS_MAX})`) as { integrity_check: string }[];
    return {
      ...readDurability(db),
      sqliteVersion: String(db.prepare('SELECT sqlite_version()').pluck().get()),
      problems: rows.map((row) => row.integrity_check).filter((line) => line !== 'ok'),
    };
  } finally {
    db.close();
  }
}
