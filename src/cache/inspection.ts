/** A look at a cache that nobody has open: how it is kept, and whether every page of it is whole. */
import { cachePath, openFile } from './cache-file.js';

export interface CacheInspection {
  /** `wal`: a commit is one sync, and a crash leaves the last commit. */
  journalMode: string;
  /** `full`: a commit returns only when it is on the disk. */
  synchronous: string;
  sqliteVersion: string;
  /** What SQLite's own check of all pages and indexes found; empty when the file is whole. */
  problems: readonly string[];
}

const SYNCHRONOUS = ['off', 'normal', 'full', 'extra'] as const;
const PROBLEMS_MAX = 10;

/** Opens the file exactly as the store does. The caller holds the lock of the data directory. */
export function inspectCache(folder: string): CacheInspection {
  const db = openFile(cachePath(folder));
  try {
    const text = (pragma: string): string => String(db.pragma(pragma, { simple: true }));
    const rows = db.pragma(`integrity_check(${PROBLEMS_MAX})`) as { integrity_check: string }[];
    return {
      journalMode: text('journal_mode'),
      synchronous: SYNCHRONOUS[Number(text('synchronous'))] ?? text('synchronous'),
      sqliteVersion: String(db.prepare('SELECT sqlite_version()').pluck().get()),
      problems: rows.map((row) => row.integrity_check).filter((line) => line !== 'ok'),
    };
  } finally {
    db.close();
  }
}
