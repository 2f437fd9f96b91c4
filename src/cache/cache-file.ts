/**
 * Opens the one file of a cache, whatever state it was left in.
 *
 *     cache.db             the cache, with cache.db-wal and cache.db-shm beside it while it is open or after a crash
 *     cache.db.new         a salvaged cache that is being written; it counts only when cache.db is gone
 *     cache.db.damaged-1   a damaged cache that was moved aside, with its log, or its log alone; never deleted by us
 *     cache.reserve        room for the moment when the disk is full
 *
 * Opening reads a few pages, whatever the backlog. Nothing is ever deleted but the write-ahead log that SQLite has
 * carried over, and an unfinished `cache.db.new`.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { NorthError } from '../core/error.js';
import { LaneTable, writeNewLanes } from './lane-table.js';
import { inspectLog, keepLog, mendLog, writeFromLog } from './log-check.js';
import { createSchema, inspectSchema, migrateSchema, PAGE_SIZE_BYTES } from './schema.js';
import { receivedText, SessionTable } from './session-table.js';
import type { CacheFinding } from './store.js';
import { isDamage } from './store-error.js';

/** How long to wait for another process that looks into the file with a tool of its own. */
const BUSY_TIMEOUT_MS = 5000;
const PAGE_CACHE_KIB = 8192;
const WAL_SUFFIX = '-wal';
const SHM_SUFFIX = '-shm';

export function cachePath(folder: string): string {
  return join(folder, 'cache.db');
}

/** See reserve-file.ts. */
export function reservePath(folder: string): string {
  return join(folder, 'cache.reserve');
}

export function salvagePath(folder: string): string {
  return join(folder, 'cache.db.new');
}

/** What the first look at the files says. */
export interface FileState {
  kind: 'ready' | 'new' | 'damaged';
  /** The last commits are gone with a part of the log: what the cursors say was true once, and is not any more. */
  isBehind: boolean;
}

/**
 * Puts the folder in order after a crash and looks at the file without changing it. Throws CACHE_NEWER for a file of a
 * newer version.
 */
export function inspectFile(folder: string, findings: CacheFinding[], atMs: number): FileState {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = cachePath(folder);
  if (!isPresent(path)) {
    const isSalvaged = isPresent(salvagePath(folder));
    if (isPresent(path + WAL_SUFFIX)) {
      // SQLite would take the log for a left-over of another file and delete it.
      const aside = moveAside(folder);
      if (!isSalvaged) return restoreFromLog(folder, aside, findings, atMs);
      findings.push(
        damage(atMs, `cache.db is missing, but its log is there; the log is kept as ${aside}${WAL_SUFFIX}.`),
      );
    }
    if (!isSalvaged) {
      if (wasUsed(folder)) findings.push(damage(atMs, 'cache.db is missing; what waited in it is gone with it.'));
      rmSync(path + SHM_SUFFIX, { force: true });
      return { kind: 'new', isBehind: false };
    }
    rmSync(path, { force: true });
    renameSync(salvagePath(folder), path);
    syncFolder(folder);
  }
  removeUnfinished(folder);
  // Opening the file would make the index of the log anew, and what it says is wanted.
  const logDamage = inspectLog(path);
  const kind = inspectDatabase(path);
  if (logDamage === undefined) return { kind, isBehind: false };
  const aside = freeName(folder);
  keepLog(path + WAL_SUFFIX, join(folder, aside + WAL_SUFFIX));
  if (logDamage.mendedTo > 0) mendLog(path, logDamage.mendedTo);
  rmSync(path + SHM_SUFFIX, { force: true });
  syncFolder(folder);
  const kept = existsSync(join(folder, aside + WAL_SUFFIX)) ? `; the log is kept as ${aside}${WAL_SUFFIX}` : '';
  findings.push(damage(atMs, `cache.db: ${logDamage.text}${kept}.`));
  return { kind: logDamage.mendedTo > 0 ? inspectDatabase(path) : kind, isBehind: logDamage.isLossy };
}

/** A cache leaves traces beside its file: the index of its log after a crash, and the room that it keeps. */
function wasUsed(folder: string): boolean {
  return existsSync(cachePath(folder) + SHM_SUFFIX) || existsSync(reservePath(folder));
}

/** A small cache may be in its log as a whole; of a larger one, the newest pages are. */
function restoreFromLog(folder: string, aside: string, findings: CacheFinding[], atMs: number): FileState {
  const path = cachePath(folder);
  const isComplete = writeFromLog(join(folder, aside + WAL_SUFFIX), path);
  syncFolder(folder);
  const restored = isComplete ? ', in which everything was, and it was made again from it' : '';
  const text = `cache.db is missing, but its log is there${restored}; the log is kept as ${aside}${WAL_SUFFIX}.`;
  findings.push(damage(atMs, text));
  if (!isPresent(path)) return { kind: 'new', isBehind: false };
  return { kind: isComplete ? inspectDatabase(path) : 'damaged', isBehind: false };
}

/** Looks at the first page without changing anything. Throws CACHE_NEWER. */
function inspectDatabase(path: string): FileState['kind'] {
  let db: Database.Database | undefined;
  try {
    // Read-only, so that the file of a newer version is left as it is, its log included.
    db = new Database(path, { readonly: true, timeout: BUSY_TIMEOUT_MS });
    const state = inspectSchema(db);
    if (state === 'newer') {
      throw new NorthError('CACHE_NEWER', 'The cache has a format that this version does not know.', { place: path });
    }
    if (state === 'foreign') throw new NorthError('CACHE_DAMAGED', 'The file is a database, but no cache.');
    return state === 'empty' ? 'new' : 'ready';
  } catch (error) {
    if (!isDamage(error)) throw error;
    return 'damaged';
  } finally {
    db?.close();
  }
}

/** Opens the file for reading and writing, with every commit synced. */
export function openFile(path: string): Database.Database {
  const db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    db.pragma(`page_size = ${PAGE_SIZE_BYTES}`);
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    // On macOS an ordinary sync ends in the cache of the disk; elsewhere this changes nothing.
    db.pragma('fullfsync = ON');
    db.pragma(`cache_size = -${PAGE_CACHE_KIB}`);
    db.pragma('temp_store = MEMORY');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Makes an empty cache of the file when it is new, and brings an older one to this version. */
export function prepareFile(db: Database.Database): void {
  if (inspectSchema(db) === 'empty') {
    db.transaction(() => {
      createSchema(db, newCacheId());
      writeNewLanes(new LaneTable(db));
      new SessionTable(db).write(undefined, receivedText([]));
    }).immediate();
  } else migrateSchema(db);
}

/** 8 lower-case hexadecimal digits. */
export function newCacheId(): string {
  return randomBytes(4).toString('hex');
}

export function damage(atMs: number, message: string): CacheFinding {
  return { atMs, code: 'CACHE_DAMAGED', message };
}

/** Moves cache.db and what belongs to it to the next free name, which is given. */
export function moveAside(folder: string): string {
  const path = cachePath(folder);
  const name = freeName(folder);
  const aside = join(folder, name);
  for (const suffix of ['', WAL_SUFFIX]) if (isPresent(path + suffix)) renameSync(path + suffix, aside + suffix);
  // The index of the log is made anew from the log.
  for (const suffix of ['', WAL_SUFFIX, SHM_SUFFIX]) rmSync(path + suffix, { force: true });
  syncFolder(folder);
  return name;
}

function freeName(folder: string): string {
  const path = cachePath(folder);
  let number = 1;
  while (['', WAL_SUFFIX].some((suffix) => existsSync(`${path}.damaged-${number}${suffix}`))) number++;
  return `cache.db.damaged-${number}`;
}

export function removeUnfinished(folder: string): void {
  for (const suffix of ['', WAL_SUFFIX, SHM_SUFFIX, '-journal']) rmSync(salvagePath(folder) + suffix, { force: true });
}

/** Makes new names in a folder survive a power cut. Where a folder cannot be opened (Windows), the system does it. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** An empty file is as good as none: SQLite makes it before it writes the first page. */
function isPresent(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}
