/** What a connection to the database says of its own commits. */
import type Database from 'better-sqlite3';
import type { Durability } from './store.js';

const SYNCHRONOUS = ['off', 'normal', 'full', 'extra'] as const;

export function readDurability(db: Database.Database): Durability {
  const text = (pragma: string): string => String(db.pragma(pragma, { simple: true }));
  const synchronous = text('synchronous');
  return { journalMode: text('journal_mode'), synchronous: SYNCHRONOUS[Number(synchronous)] ?? synchronous };
}
