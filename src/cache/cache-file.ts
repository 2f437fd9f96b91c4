/**
 * The files of a cache, and how its database is opened.
 *
 *     cache.db             the cache, with cache.db-wal and cache.db-shm beside it while it is open or after a crash
 *     cache.db.new         a cache that takes the place of cache.db; it counts only when cache.db is gone, and is whole then
 *     cache.db.damaged-1   a damaged cache that was moved aside, with its log, or its log alone; never deleted by us
 *     cache.id             the id of the cache, by which a cache that is gone is told from one that has never been
 *     cache.repair         what was found damaged, until the cache itself tells it
 *     cache.reserve        room for the moment when the disk is full
 *     *.part               what is being written; removed at the next start
 *
 * Nothing is ever deleted but the write-ahead log that SQLite has carried over, and what was not finished.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import Database from 'better-sqlite3';
import { systemCode } from '../core/error.js';
import { replaceSynced, syncFolder, UNFINISHED_SUFFIX } from './durable-file.js';
import { LaneTable, writeNewLanes } from './lane-table.js';
import { createSchema, inspectSchema, migrateSchema, PAGE_SIZE_BYTES } from './schema.js';
import { receivedText, SessionTable } from './session-table.js';
import { isDiskFull } from './store-error.js';

/** How long to wait for another process that looks into the file with a tool of its own. */
export const BUSY_TIMEOUT_MS = 5000;
const PAGE_CACHE_KIB = 8192;
export const WAL_SUFFIX = '-wal';
export const SHM_SUFFIX = '-shm';
const DATABASE_SUFFIXES = ['', WAL_SUFFIX, SHM_SUFFIX, '-journal'];

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

/** Where a database is written that is to become `cache.db.new`. */
export function unfinishedPath(folder: string): string {
  return join(folder, `cache.db${UNFINISHED_SUFFIX}`);
}

export function markerPath(folder: string): string {
  return join(folder, 'cache.id');
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

/**
 * Makes an empty cache of the file when it is new, and brings an older one to this version. A new one stays in its log
 * until that is carried over for the first time, so that a log alone is a whole cache for a while.
 */
export function prepareFile(db: Database.Database): void {
  if (inspectSchema(db) === 'empty') {
    db.transaction(() => {
      createSchema(db, newCacheId());
      writeNewLanes(new LaneTable(db));
      new SessionTable(db).write(undefined, receivedText([]));
    }).immediate();
  } else migrateSchema(db);
}

/** Lets `cache.db.new`, which is whole, take the place of a cache.db that is gone. */
export function switchToNew(folder: string): void {
  const path = cachePath(folder);
  if (isPresent(path) || !isPresent(salvagePath(folder))) return;
  // What it says belongs to the file that is gone, and so does an empty log.
  for (const suffix of [SHM_SUFFIX, WAL_SUFFIX]) rmSync(path + suffix, { force: true });
  syncFolder(folder);
  renameSync(salvagePath(folder), path);
  syncFolder(folder);
}

/** 8 lower-case hexadecimal digits. */
export function newCacheId(): string {
  return randomBytes(4).toString('hex');
}

/** Moves cache.db and what belongs to it to another name. The database goes first: without it, its log is kept, too. */
export function moveAside(folder: string, name: string): void {
  const path = cachePath(folder);
  const aside = join(folder, name);
  for (const suffix of ['', WAL_SUFFIX]) if (isPresent(path + suffix)) renameSync(path + suffix, aside + suffix);
  // The index of the log is made anew from the log.
  for (const suffix of DATABASE_SUFFIXES) rmSync(path + suffix, { force: true });
  syncFolder(folder);
}

/** The next name for what is moved aside. */
export function freeName(folder: string): string {
  const path = cachePath(folder);
  let number = 1;
  while (['', WAL_SUFFIX].some((suffix) => existsSync(`${path}.damaged-${number}${suffix}`))) number++;
  return `cache.db.damaged-${number}`;
}

/** The name under which the database was moved aside to which a log that is still there belongs; a free one if none. */
export function nameForLog(folder: string): string {
  const next = freeName(folder);
  const last = `cache.db.damaged-${Number(next.slice(next.lastIndexOf('-') + 1)) - 1}`;
  return existsSync(join(folder, last)) && !existsSync(join(folder, last + WAL_SUFFIX)) ? last : next;
}

/** Removes what an interrupted process has left half written. */
export function removeUnfinished(folder: string): void {
  const database = basename(unfinishedPath(folder));
  for (const name of readdirSync(folder)) {
    const isOurs = name.startsWith('cache.') && name.endsWith(UNFINISHED_SUFFIX);
    if (isOurs || name.startsWith(`${database}-`)) rmSync(join(folder, name), { force: true });
  }
}

/** Leaves the mark that there is a cache. On a full disk it is left when there is room again. */
export function leaveMarker(folder: string, cacheId: string): void {
  try {
    if (readMarker(folder) !== cacheId) writeMarker(folder, cacheId);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}

export function writeMarker(folder: string, cacheId: string): void {
  replaceSynced(markerPath(folder), `${cacheId}\n`);
}

function readMarker(folder: string): string | undefined {
  try {
    return readFileSync(markerPath(folder), 'utf8').trim();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** An empty file is as good as none. */
export function isPresent(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}
