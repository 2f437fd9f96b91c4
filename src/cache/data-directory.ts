/**
 * The directory with everything that a service keeps, and the lock that keeps a second process out of it.
 *
 *     lock.db              held by an exclusive SQLite lock, which the operating system drops when the process dies
 *     lock.json            whose lock it is, for people and for the error of the second process
 *     connectors/<id>/     what belongs to one connector, its cache above all
 *     connectors.json      which of these folders there are, so that one that is gone is missed
 *
 * A connector's folder is named after its id and nothing else, so that it is found again after every restart. It is
 * removed with its connector and in no other case: a connector that is disabled or configured anew keeps what is queued.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type Database from 'better-sqlite3';
import { NorthError, systemCode } from '../core/error.js';
import { writeMarker } from './cache-file.js';
import { releaseLock, type TakenLock, takeLock } from './directory-lock.js';
import { replaceSynced, syncFolder } from './durable-file.js';
import { isDiskFull, storeError } from './store-error.js';

/** Only its owner reads what is queued. */
const FOLDER_MODE = 0o700;

/** Stands where the id of a cache was that nobody knows any more. */
const NO_CACHE_ID = '--------';

export class DataDirectory {
  /** Absolute. */
  readonly path: string;
  /** What was wrong with the lock and does not matter. */
  readonly warnings: readonly NorthError[];
  readonly #lock: Database.Database;

  constructor(path: string, { lock, warnings }: TakenLock) {
    this.path = path;
    this.#lock = lock;
    this.warnings = warnings;
  }

  /**
   * The folder of a connector, made when it is missing; where there was one, its cache is found missing when it is opened.
   * Throws CONFIG_INVALID for an id that could name another place.
   */
  connectorFolder(id: string): string {
    const folder = this.#folderOf(id);
    const ids = readConnectorIds(this.path);
    if (!existsSync(folder) && ids.includes(id)) makeMissedFolder(folder);
    else makeFolder(folder);
    if (!ids.includes(id)) this.#writeIds([...ids, id]);
    return folder;
  }

  /** Removes the folder of a connector with everything that is queued in it. Nobody will miss it. */
  removeConnectorFolder(id: string): void {
    const folder = this.#folderOf(id);
    const forget = (): void => {
      const ids = readConnectorIds(this.path);
      if (ids.includes(id)) this.#writeIds(ids.filter((one) => one !== id));
    };
    forget();
    rmSync(folder, { recursive: true, force: true });
    // On a full disk, it is only now that there is room for it.
    forget();
  }

  /** Of connectors that are not configured any more, a folder that somebody has removed is not missed. */
  forgetAllBut(configuredIds: readonly string[]): void {
    const ids = readConnectorIds(this.path);
    const kept = ids.filter((id) => configuredIds.includes(id) || existsSync(join(this.path, 'connectors', id)));
    if (kept.length < ids.length) this.#writeIds(kept);
  }

  #folderOf(id: string): string {
    if (!/^[a-z0-9-]{1,100}$/.test(id)) {
      throw new NorthError('CONFIG_INVALID', `"${id}" cannot be the id of a connector: use a-z, 0-9 and dashes.`);
    }
    return join(this.path, 'connectors', id);
  }

  #writeIds(ids: readonly string[]): void {
    try {
      replaceSynced(idsPath(this.path), `${JSON.stringify(ids)}\n`);
    } catch (error) {
      // A full disk does not keep a connector from running; the next start adds it.
      if (!isDiskFull(error)) throw storeError(error, idsPath(this.path));
    }
  }

  /** Gives the directory free. Idempotent. */
  close(): void {
    if (!this.#lock.open) return;
    releaseLock(this.path, this.#lock);
  }
}

/**
 * Makes the directory when it is missing and takes its lock, which holds until `close` or the end of the process, however
 * that comes. Throws CACHE_LOCKED, with the pid of the process that has it, CACHE_DISK_FULL or CACHE_FAILED.
 */
export function openDataDirectory(path: string, now: () => number = Date.now): DataDirectory {
  const absolute = resolve(path);
  makeFolder(absolute);
  return new DataDirectory(absolute, takeLock(absolute, now()));
}

/**
 * Makes the folder of a further cache of a connector when it is missing; when there was one, its cache is found missing
 * when it is opened.
 */
export function makeCacheFolder(folder: string, isKnown: boolean): void {
  if (isKnown && !existsSync(folder)) makeMissedFolder(folder);
  else makeFolder(folder);
}

/** It is there with the mark of a cache or not at all, so that a kill hides nothing. */
function makeMissedFolder(folder: string): void {
  // No connector has such an id.
  const made = `${folder}.part`;
  try {
    makeFolder(made);
    writeMarker(made, NO_CACHE_ID);
    renameSync(made, folder);
    syncFolder(dirname(folder));
  } catch (error) {
    throw storeError(error, folder);
  }
}

/** The connectors that have, or had, a folder. A list that cannot be read is begun anew. */
function readConnectorIds(path: string): string[] {
  try {
    const ids: unknown = JSON.parse(readFileSync(idsPath(path), 'utf8'));
    return Array.isArray(ids) ? ids.filter((id) => typeof id === 'string') : [];
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError) return [];
    throw storeError(error, idsPath(path));
  }
}

function idsPath(path: string): string {
  return join(path, 'connectors.json');
}

/** Makes a folder and those above it, and sees to it that a power cut does not undo that. */
function makeFolder(folder: string): void {
  try {
    const first = mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
    if (first === undefined) return;
    for (let at = folder; ; at = dirname(at)) {
      syncFolder(dirname(at));
      if (at === first || at === dirname(at)) return;
    }
  } catch (error) {
    throw storeError(error, folder);
  }
}
