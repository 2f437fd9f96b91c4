/**
 * The tables of `cache.db`, for standard tools as much as for us.
 *
 *     meta         version of the format, the cache's own id; every version keeps it in this form
 *     lane         one row per lane: its cursors; every size and count is a difference of two of them
 *     session      one row: whose session the progress is, and the runs whose PUBREC has come
 *     batch        runs of messages; key = lane * 2^50 + first offset, data = records of core/record.ts
 *     hole         offsets that have no message of their own any more: dropped, quarantined, unreadable
 *     archive      batches that are settled and kept, with the time
 *     quarantine   messages set aside, with the reason
 *     idempotency  keys of accepted requests, with the answer that was given
 *     position     how far each input has come
 *     finding      what was found damaged, and what was done about it
 *
 * `start_bytes` of a batch counts the bytes of its lane before it, from the lane's first day on. `checksum` covers
 * a row's own values and data; `sums` holds one checksum per record, by which the good records of a damaged batch
 * are told from the bad ones.
 *
 * The version stands twice, in the header of the file and in `meta`: one flipped bit must not turn a cache into one of a
 * newer version, which nobody would touch any more.
 */
import type Database from 'better-sqlite3';
import { NorthError, systemCode } from '../core/error.js';
import { isDamage } from './store-error.js';

/** Raised with every change of the tables. A step in `MIGRATIONS` leads from each older version to the next. */
export const SCHEMA_VERSION = 2;

/** Marks the file as ours in the header, where `file` and SQLite's own tools show it: "MQNC". */
export const APPLICATION_ID = 0x4d514e43;

export const PAGE_SIZE_BYTES = 4096;

const TABLES = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE lane (
  lane INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  next_offset INTEGER NOT NULL,
  next_bytes INTEGER NOT NULL,
  first_unsettled INTEGER NOT NULL,
  bound_offset INTEGER NOT NULL,
  settled TEXT NOT NULL,
  first_archived INTEGER NOT NULL,
  archived_to INTEGER NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  broker TEXT,
  client_id TEXT,
  received TEXT NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;

CREATE TABLE batch (
  key INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  start_bytes INTEGER NOT NULL,
  accepted_at_ms INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  sums BLOB NOT NULL,
  data BLOB NOT NULL
) STRICT;

CREATE TABLE hole (key INTEGER PRIMARY KEY, count INTEGER NOT NULL, size_bytes INTEGER NOT NULL) STRICT;

CREATE TABLE archive (key INTEGER PRIMARY KEY, settled_at_ms INTEGER NOT NULL) STRICT;

CREATE TABLE quarantine (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lane INTEGER NOT NULL,
  "offset" INTEGER,
  origin_key INTEGER,
  count INTEGER NOT NULL,
  accepted_at_ms INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  code TEXT NOT NULL,
  reason TEXT NOT NULL,
  record BLOB NOT NULL
) STRICT;
CREATE INDEX quarantine_code ON quarantine (code);
CREATE INDEX quarantine_at ON quarantine (at_ms);

CREATE TABLE idempotency (
  key TEXT PRIMARY KEY,
  content_hash TEXT NOT NULL,
  answer TEXT NOT NULL,
  expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_expiry ON idempotency (expires_at_ms);

CREATE TABLE position (source TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE finding (
  id INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL
) STRICT;
`;

/** `MIGRATIONS[n]` leads from version n + 1 to n + 2. */
const MIGRATIONS: readonly string[] = [
  // The tables are the same. Received runs may now lie where everything is settled: exchanges that are still open. A
  // program that knows version 1 only would take another message with that packet identifier for received.
  '',
];

/**
 * What a file that is about to be opened holds. `mislabelled`: a cache of ours whose header and `meta` contradict each
 * other, because one of them is damaged.
 */
export type SchemaState = 'empty' | 'ours' | 'mislabelled' | 'newer' | 'foreign';

interface Label {
  applicationId: number;
  headerVersion: number;
  /** As `meta` says; undefined when it says nothing that makes sense, or when there is no `meta` of a cache. */
  version: number | undefined;
  isCache: boolean;
}

/** Reads the first page and `meta`. Throws SQLite's error when the file is damaged or no database. */
export function inspectSchema(db: Database.Database): SchemaState {
  const label = readLabel(db);
  const { applicationId, headerVersion, version, isCache } = label;
  if (headerVersion === 0 && applicationId === 0 && !isCache) {
    const count = db.prepare<[], number>('SELECT count(*) FROM sqlite_schema').pluck().get();
    return count === 0 ? 'empty' : 'foreign';
  }
  if (version !== undefined && version > SCHEMA_VERSION && headerVersion > SCHEMA_VERSION) return 'newer';
  if (isCache) {
    if (applicationId === APPLICATION_ID && headerVersion === version) return 'ours';
    return knownVersion(label) === undefined ? 'foreign' : 'mislabelled';
  }
  // Without its own id it is damaged, which shows when its tables are opened.
  if (applicationId === APPLICATION_ID && knownVersion(label) !== undefined) return 'ours';
  return 'foreign';
}

function readLabel(db: Database.Database): Label {
  const headerVersion = db.pragma('user_version', { simple: true }) as number;
  const applicationId = db.pragma('application_id', { simple: true }) as number;
  const select = "SELECT key, value FROM meta WHERE key IN ('cacheId', 'version')";
  const meta = new Map<string, string>();
  try {
    for (const { key, value } of db.prepare<[], { key: string; value: string }>(select).iterate()) meta.set(key, value);
  } catch (error) {
    // A table that is gone is an SQLITE_ERROR. A file that is locked for the moment says nothing about its format.
    if (!isDamage(error) && systemCode(error) !== 'SQLITE_ERROR') throw error;
  }
  const isCache = meta.has('cacheId');
  // Version 1 had no such entry.
  const text = meta.get('version') ?? (isCache ? '1' : '');
  return { applicationId, headerVersion, version: /^[1-9]\d{0,5}$/.test(text) ? Number(text) : undefined, isCache };
}

/** The version that a mislabelled cache has: the one of the two that there can be. */
function knownVersion({ version, headerVersion }: Label): number | undefined {
  return [version, headerVersion].find((one) => one !== undefined && one >= 1 && one <= SCHEMA_VERSION);
}

/** Puts the label of a mislabelled cache right; inside a transaction. Gives what was wrong. */
export function mendLabel(db: Database.Database): string {
  const label = readLabel(db);
  const version = knownVersion(label) ?? SCHEMA_VERSION;
  writeVersion(db, version);
  db.pragma(`application_id = ${APPLICATION_ID}`);
  const mark = (label.applicationId >>> 0).toString(16);
  const isHeaderRight = label.headerVersion === version && label.applicationId === APPLICATION_ID;
  const what = isHeaderRight
    ? 'The table meta of cache.db was damaged: it named another format than the header.'
    : `The header of cache.db was damaged: it said format ${label.headerVersion} and the mark ${mark}.`;
  return `${what} The format is ${version}; that was put right, and nothing is lost.`;
}

/** Makes the tables of a new file; inside a transaction, with the first rows. */
export function createSchema(db: Database.Database, cacheId: string): void {
  db.exec(TABLES);
  db.prepare("INSERT INTO meta (key, value) VALUES ('cacheId', ?)").run(cacheId);
  db.pragma(`application_id = ${APPLICATION_ID}`);
  writeVersion(db, SCHEMA_VERSION);
}

/** Brings an older file to this version, each step in its own transaction. */
export function migrateSchema(db: Database.Database): void {
  for (;;) {
    const version = db.pragma('user_version', { simple: true }) as number;
    if (version === SCHEMA_VERSION) return;
    const step = MIGRATIONS[version - 1];
    if (step === undefined) throw new NorthError('CACHE_DAMAGED', `there is no format with the number ${version}`);
    db.transaction(() => {
      db.exec(step);
      writeVersion(db, version + 1);
    }).immediate();
  }
}

function writeVersion(db: Database.Database, version: number): void {
  db.pragma(`user_version = ${version}`);
  db.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('version', ?)").run(String(version));
}
