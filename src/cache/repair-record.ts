/**
 * What was found wrong with the files of a cache, kept beside them until the cache itself tells it.
 *
 *     cache.repair    a checksum, and a `Repair` as JSON
 *
 * A repair destroys what shows the damage: the index of the log, the log as it was, the name of a file. A kill or a full
 * disk in the middle of it would leave a cache that looks whole and has lost something. So the record is on stable storage
 * before the first file is touched, each opening goes on where the last one was stopped, and the record is removed after
 * its findings are committed to the cache, together with its id, by which a second commit of them is told.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { systemCode } from '../core/error.js';
import { replaceSynced, syncFolder } from './durable-file.js';
import type { CacheFinding } from './store.js';

/** What is still to be done with the files; each step may be repeated from its beginning. */
export type FileStep =
  /** Keep the log under the name `aside`, and write it anew with so many of its frames; 0 leaves it as it is. */
  | { kind: 'log'; aside: string; mendedTo: number }
  /** The database is missing: write it anew from so many frames of the log, and move the log to `aside`. */
  | { kind: 'database'; aside: string; frameCount: number };

export interface Repair {
  id: string;
  /** When it began. Its findings are as old or younger. */
  atMs: number;
  findings: readonly CacheFinding[];
  /** The last commits are gone with a part of the log: what the cursors say was true once, and is not any more. */
  isBehind: boolean;
  /** Why the database is to be salvaged, whatever SQLite says of it; undefined when it need not be. */
  damageText?: string | undefined;
  files?: FileStep | undefined;
}

export function newRepair(atMs: number): Repair {
  return { id: randomBytes(4).toString('hex'), atMs: Math.trunc(atMs), findings: [], isBehind: false };
}

function repairPath(folder: string): string {
  return join(folder, 'cache.repair');
}

/** The repair that was not finished, or undefined. One that is damaged itself tells that something is lost. */
export function readRepair(folder: string, atMs: number): Repair | undefined {
  let text: string;
  try {
    text = readFileSync(repairPath(folder), 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const line = /^([0-9a-f]{1,8}) (\{.*\})\n$/.exec(text);
  // The checksum says that it is what was written, and so of this shape.
  if (line !== null && Number.parseInt(line[1]!, 16) === crc32(line[2]!)) return JSON.parse(line[2]!) as Repair;
  const message = 'cache.repair, the record of a repair that was not finished, is damaged; messages may be lost.';
  const finding: CacheFinding = { atMs: Math.trunc(atMs), code: 'CACHE_DAMAGED', message };
  return { ...newRepair(atMs), findings: [finding], isBehind: true };
}

/** On stable storage when this returns. */
export function writeRepair(folder: string, repair: Repair): void {
  const json = JSON.stringify(repair);
  replaceSynced(repairPath(folder), `${crc32(json).toString(16)} ${json}\n`);
}

/** To be called when its findings are committed. */
export function removeRepair(folder: string): void {
  if (!existsSync(repairPath(folder))) return;
  rmSync(repairPath(folder), { force: true });
  syncFolder(folder);
}
