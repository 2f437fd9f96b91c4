/**
 * The lock of a data directory, and the file that says for people who has it.
 *
 * What `lock.db` contains does not matter, only who has locked it. When it is damaged it is emptied, and not replaced by
 * another file: of two processes that both found it damaged, each would hold a file of its own then.
 */
import { readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { NorthError, systemCode } from '../core/error.js';
import { isDamage, isDiskFull, storeError } from './store-error.js';

export interface LockHolder {
  pid: number;
  /** ISO 8601. */
  startedAt: string;
}

export interface TakenLock {
  lock: Database.Database;
  /** What was wrong and does not matter. */
  warnings: readonly NorthError[];
}

/** Throws CACHE_LOCKED, with the pid of the process that has it, CACHE_DISK_FULL or CACHE_FAILED. */
export function takeLock(folder: string, startedAtMs: number): TakenLock {
  const warnings: NorthError[] = [];
  let lock: Database.Database | undefined;
  try {
    lock = lockOrMend(join(folder, 'lock.db'), warnings);
    writeHolder(folder, { pid: process.pid, startedAt: new Date(startedAtMs).toISOString() }, warnings);
    return { lock, warnings };
  } catch (error) {
    lock?.close();
    if (systemCode(error)?.startsWith('SQLITE_BUSY') === true) throw lockedError(folder, error);
    throw storeError(error, folder);
  }
}

export function releaseLock(folder: string, lock: Database.Database): void {
  rmSync(holderPath(folder), { force: true });
  lock.close();
}

function lockOrMend(path: string, warnings: NorthError[]): Database.Database {
  try {
    return lockFile(path);
  } catch (error) {
    // SQLite looks for locks before it looks at the content: nobody holds a file of which it says this.
    if (!isDamage(error)) throw error;
    truncateSync(path);
    const text = 'The file of the lock is damaged. Nobody holds it, and it was made anew.';
    warnings.push(new NorthError('LOCK_DAMAGED', text, { place: path, cause: error }));
    return lockFile(path);
  }
}

function lockFile(path: string): Database.Database {
  const lock = new Database(path, { timeout: 0 });
  try {
    // A journal on disk would need room there, and nothing is ever committed.
    lock.pragma('journal_mode = MEMORY');
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    throw error;
  }
}

/** A disk that is full keeps nobody from delivering what waits. */
function writeHolder(folder: string, holder: LockHolder, warnings: NorthError[]): void {
  const path = holderPath(folder);
  const written = `${path}.new`;
  try {
    writeFileSync(written, `${JSON.stringify(holder)}\n`, { mode: 0o600 });
    renameSync(written, path);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    // Who held it before is not who holds it now.
    for (const file of [written, path]) rmSync(file, { force: true });
    const text = 'The disk is full: the file that says which process holds the data directory could not be written.';
    warnings.push(new NorthError('CACHE_DISK_FULL', text, { place: path, cause: error }));
  }
}

/** Who holds the directory, as far as `lock.json` says; undefined when it does not. */
export function readLockHolder(path: string): LockHolder | undefined {
  try {
    const holder: unknown = JSON.parse(readFileSync(holderPath(path), 'utf8'));
    if (typeof holder !== 'object' || holder === null || !('pid' in holder) || !('startedAt' in holder))
      return undefined;
    const { pid, startedAt } = holder;
    return typeof pid === 'number' && typeof startedAt === 'string' ? { pid, startedAt } : undefined;
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function lockedError(path: string, cause: unknown): NorthError {
  const holder = readLockHolder(path);
  // Between taking the lock and writing its name, the file still names the holder before, which is gone.
  const who =
    holder !== undefined && isRunning(holder.pid)
      ? `the process ${holder.pid}, since ${holder.startedAt}`
      : 'another process that has just started';
  return new NorthError('CACHE_LOCKED', `The data directory is held by ${who}.`, { place: path, cause });
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of another user cannot be signalled, but it is there.
    return systemCode(error) === 'EPERM';
  }
}

function holderPath(path: string): string {
  return join(path, 'lock.json');
}
