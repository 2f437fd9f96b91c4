/**
 * The directory with everything that a service keeps, and the lock that keeps a second process out of it.
 *
 *     lock.db              held by an exclusive SQLite lock, which the operating system drops when the process dies
 *     lock.json            whose lock it is, for people and for the error of the second process
 *     connectors/<id>/     what belongs to one connector, its cache above all
 *
 * A connector's folder is named after its id and nothing else, so that it is found again after every restart. It is never
 * removed here: a connector that is disabled or configured anew keeps what is queued.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { errorText, NorthError, systemCode } from '../core/error.js';
import { syncFolder } from './cache-file.js';
import { storeError } from './store-error.js';

export interface LockHolder {
  pid: number;
  /** ISO 8601. */
  startedAt: string;
}

/** Only its owner reads what is queued. */
const FOLDER_MODE = 0o700;

export class DataDirectory {
  /** Absolute. */
  readonly path: string;
  readonly #lock: Database.Database;

  constructor(path: string, lock: Database.Database) {
    this.path = path;
    this.#lock = lock;
  }

  /** The folder of a connector, made when it is missing. Throws CONFIG_INVALID for an id that could name another place. */
  connectorFolder(id: string): string {
    if (!/^[a-z0-9-]{1,100}$/.test(id)) {
      throw new NorthError('CONFIG_INVALID', `"${id}" cannot be the id of a connector: use a-z, 0-9 and dashes.`);
    }
    const folder = join(this.path, 'connectors', id);
    makeFolder(folder);
    return folder;
  }

  /** Gives the directory free. Idempotent. */
  close(): void {
    if (!this.#lock.open) return;
    rmSync(holderPath(this.path), { force: true });
    this.#lock.close();
  }
}

/**
 * Makes the directory when it is missing and takes its lock, which holds until `close` or the end of the process, however
 * that comes. Throws CACHE_LOCKED, with the pid of the process that has it, CACHE_DISK_FULL or CACHE_FAILED.
 */
export function openDataDirectory(path: string, now: () => number = Date.now): DataDirectory {
  const absolute = resolve(path);
  const lockPath = join(absolute, 'lock.db');
  let lock: Database.Database | undefined;
  try {
    makeFolder(absolute);
    lock = new Database(lockPath, { timeout: 0 });
    lock.exec('BEGIN EXCLUSIVE');
    const holder: LockHolder = { pid: process.pid, startedAt: new Date(now()).toISOString() };
    const written = `${holderPath(absolute)}.new`;
    writeFileSync(written, `${JSON.stringify(holder)}\n`, { mode: 0o600 });
    renameSync(written, holderPath(absolute));
    return new DataDirectory(absolute, lock);
  } catch (error) {
    lock?.close();
    if (systemCode(error)?.startsWith('SQLITE_BUSY') === true) throw lockedError(absolute, error);
    throw storeError(error, absolute);
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

/** Makes a folder and those above it, and sees to it that a power cut does not undo that. */
function makeFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
  if (first === undefined) return;
  try {
    for (let at = folder; ; at = dirname(at)) {
      syncFolder(dirname(at));
      if (at === first || at === dirname(at)) return;
    }
  } catch (error) {
    throw new NorthError('CACHE_FAILED', errorText(error), { place: folder, cause: error });
  }
}
