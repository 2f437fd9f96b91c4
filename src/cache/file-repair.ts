/**
 * Puts the files of a cache in order, whatever state they were left in.
 *
 * First everything is only looked at. What is found goes into the record (repair-record.ts) before the first file is
 * touched, and each step may be done again from its beginning: so that a kill, a power cut or a full disk between any two
 * of them hides nothing and loses nothing more. Looking reads the log and a few pages, whatever the backlog.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { errorText, NorthError, systemCode } from '../core/error.js';
import {
  BUSY_TIMEOUT_MS,
  cachePath,
  freeName,
  isPresent,
  markerPath,
  nameForLog,
  removeUnfinished,
  reservePath,
  SHM_SUFFIX,
  salvagePath,
  switchToNew,
  unfinishedPath,
  WAL_SUFFIX,
} from './cache-file.js';
import { copySynced, syncFolder } from './durable-file.js';
import { inspectLog, inspectOrphan, mendLog, writeFromLog } from './log-check.js';
import { isWritableFormat } from './page-file.js';
import { damage } from './repair-outcome.js';
import { newRepair, type Repair, readRepair, writeRepair } from './repair-record.js';
import { inspectSchema } from './schema.js';
import type { CacheFinding } from './store.js';
import { isDamage, unlessDamaged } from './store-error.js';

/** The files are in order: cache.db is there, and its log is as SQLite wants it. */
export interface FileState {
  /** Why the database cannot be used as it is; undefined when it can, as far as a first look tells. */
  damageText: string | undefined;
  /** Whose outcome is not known to be in the cache. */
  repair: Repair | undefined;
}

/** Throws CACHE_NEWER for a cache of a newer version, whose database and log are left as they are. */
export function repairFiles(folder: string, atMs: number): FileState {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  removeUnfinished(folder);
  let repair = readRepair(folder, atMs);
  if (repair?.files !== undefined) repair = finishFiles(folder, repair);
  finishSwitch(folder);
  const found = lookAtFiles(folder, atMs);
  if (found !== undefined) {
    repair = mergeFound(repair, found);
    writeRepair(folder, repair);
    repair = finishFiles(folder, repair);
  }
  if (isPresent(cachePath(folder))) return { damageText: inspectDatabase(folder, repair), repair };
  // A new cache is made of it. What belonged to the former one would be taken for its own.
  for (const suffix of [SHM_SUFFIX, WAL_SUFFIX]) rmSync(cachePath(folder) + suffix, { force: true });
  return { damageText: undefined, repair };
}

/** With a new id, because the former one may stand in a commit that is lost. */
function mergeFound(former: Repair | undefined, found: Repair): Repair {
  const known = former?.findings ?? [];
  // What makes a new cache necessary is there until it is made, and is found again after a kill.
  const isKnown = ({ message }: CacheFinding): boolean => known.some((one) => one.message === message);
  return {
    ...found,
    atMs: former?.atMs ?? found.atMs,
    findings: [...known, ...found.findings.filter((one) => !isKnown(one))],
    isBehind: former?.isBehind === true || found.isBehind,
    damageText: former?.damageText ?? found.damageText,
  };
}

/** A rebuilt cache was whole when the old one was moved aside; what is left to be done is to give it its name. */
export function finishSwitch(folder: string): void {
  const path = cachePath(folder);
  if (!isPresent(path) && isPresent(salvagePath(folder)) && isPresent(path + WAL_SUFFIX)) {
    // SQLite would take the log for a left-over of another file and delete it.
    renameSync(path + WAL_SUFFIX, join(folder, nameForLog(folder) + WAL_SUFFIX));
    syncFolder(folder);
  }
  switchToNew(folder);
  // Beside a cache that is there, a new one is not needed any more.
  rmSync(salvagePath(folder), { force: true });
}

/** Changes nothing. Undefined: as far as the files tell, nothing is wrong with them. */
function lookAtFiles(folder: string, atMs: number): Repair | undefined {
  const path = cachePath(folder);
  const found = (text: string, more: Partial<Repair> = {}): Repair => ({
    ...newRepair(atMs),
    findings: [damage(atMs, text)],
    ...more,
  });
  if (isPresent(path)) {
    // Opening the file would make the index of the log anew, and what it says is wanted.
    const logDamage = inspectLog(path);
    if (logDamage === undefined) return undefined;
    const { text, isLossy, mendedTo } = logDamage;
    const aside = freeName(folder);
    const kept = isPresent(path + WAL_SUFFIX) ? `; the log is kept as ${aside}${WAL_SUFFIX}` : '';
    return found(`cache.db: ${text}${kept}.`, { isBehind: isLossy, files: { kind: 'log', aside, mendedTo } });
  }
  if (isPresent(path + WAL_SUFFIX)) return lookAtOrphan(folder, found);
  if (!wasUsed(folder)) return undefined;
  return found('cache.db is missing or empty; what waited in it is gone with it. Messages may be lost.');
}

/** A small cache may be in its log as a whole; of a larger one, the newest pages are. */
function lookAtOrphan(folder: string, found: (text: string, more: Partial<Repair>) => Repair): Repair {
  const { frameCount, isComplete, damage: logDamage } = inspectOrphan(cachePath(folder));
  const aside = freeName(folder);
  const made = isComplete
    ? ', in which everything was, and it was made again from it'
    : '; what the log holds was taken over, and what was in cache.db alone is lost';
  const doubt = logDamage === undefined ? '' : `; ${logDamage.text}`;
  return found(`cache.db is missing, but its log is there${made}${doubt}; the log is kept as ${aside}${WAL_SUFFIX}.`, {
    isBehind: logDamage?.isLossy === true,
    damageText: frameCount > 0 && !isComplete ? 'cache.db lacks pages.' : undefined,
    files: { kind: 'database', aside, frameCount },
  });
}

/** A cache leaves traces beside its file: its mark, the index of its log after a crash, and the room that it keeps. */
function wasUsed(folder: string): boolean {
  return [cachePath(folder) + SHM_SUFFIX, markerPath(folder), reservePath(folder)].some((one) => existsSync(one));
}

/** While a lost cache is being made anew, the mark of the former one is still there. */
function wasMade(folder: string, repair: Repair | undefined): boolean {
  return existsSync(markerPath(folder)) && repair === undefined;
}

/** Does what is left to be done with the files, and notes that it is done. */
function finishFiles(folder: string, repair: Repair): Repair {
  const path = cachePath(folder);
  const step = repair.files;
  // A newer version repairs its cache itself.
  if (isPresent(path)) inspectDatabase(folder, repair);
  if (step?.kind === 'log') {
    const kept = join(folder, step.aside + WAL_SUFFIX);
    if (isPresent(path + WAL_SUFFIX)) copySynced(path + WAL_SUFFIX, kept);
    if (step.mendedTo > 0) mendLog(kept, path + WAL_SUFFIX, step.mendedTo);
    rmSync(path + SHM_SUFFIX, { force: true });
  }
  if (step?.kind === 'database' && !isPresent(path)) restoreDatabase(folder, step.aside, step.frameCount);
  syncFolder(folder);
  const finished = { ...repair, files: undefined };
  // From here on, SQLite may write: none of the above may be done again.
  writeRepair(folder, finished);
  return finished;
}

function restoreDatabase(folder: string, aside: string, frameCount: number): void {
  const log = cachePath(folder) + WAL_SUFFIX;
  if (isPresent(log)) {
    if (frameCount > 0) {
      const written = unfinishedPath(folder);
      writeFromLog(log, written, frameCount);
      renameSync(written, salvagePath(folder));
      syncFolder(folder);
    }
    renameSync(log, join(folder, aside + WAL_SUFFIX));
    syncFolder(folder);
  }
  switchToNew(folder);
}

/** Looks at the database without changing it, and gives why it cannot be used. Throws CACHE_NEWER. */
function inspectDatabase(folder: string, repair: Repair | undefined): string | undefined {
  const path = cachePath(folder);
  let db: Database.Database | undefined;
  try {
    // Read-only, so that the file of a newer version is left as it is, its log included.
    const opened = new Database(path, { readonly: true, timeout: BUSY_TIMEOUT_MS });
    db = opened;
    const state = inspectSchema(opened);
    if (state === 'newer') {
      throw new NorthError('CACHE_NEWER', 'The cache has a format that this version does not know.', { place: path });
    }
    if (state === 'foreign') return 'cache.db is a database, but no cache.';
    // The process that made it was killed before the first commit, unless there had been one.
    if (state === 'empty') return wasMade(folder, repair) ? 'cache.db is a database without tables.' : undefined;
    if (!isWritableFormat(path, repair !== undefined)) return 'The header of cache.db is damaged.';
    const select = "SELECT value FROM meta WHERE key = 'repair'";
    const isDone = repair?.id === unlessDamaged(() => opened.prepare<[], string>(select).pluck().get());
    return isDone ? undefined : repair?.damageText;
  } catch (error) {
    // The statements are right: what SQLite cannot make sense of is the file.
    if (!isDamage(error) && systemCode(error) !== 'SQLITE_ERROR') throw error;
    return `cache.db cannot be read: ${errorText(error)}.`;
  } finally {
    db?.close();
  }
}
