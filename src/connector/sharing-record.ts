/**
 * How many connections a connector's messages are shared out to, and where the parts are that have been.
 *
 *     <connector>/                 the cache of the first part, where a connector with one connection has its only one
 *     <connector>/connections.json how many connections are in effect, and were
 *     <connector>/connection-2/    the cache of the second part, and so on
 *
 * The number decides which part a topic belongs to. It is written when every part has its cache, and changed only when
 * nothing waits anywhere: until then the number before is in effect, so that no topic waits in two parts.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceSynced } from '../cache/durable-file.js';
import { storeError } from '../cache/store-error.js';
import { CONNECTIONS_MAX } from '../config/settings.js';
import { systemCode } from '../core/error.js';
import { FIRST_PART } from './sharing.js';

/** A sharing of topics among connections; each change makes one with a higher generation. */
export interface Sharing {
  connections: number;
  generation: number;
}

/** Of a connector whose messages have never been shared out. */
export const UNSHARED: Sharing = { connections: 1, generation: 0 };

export interface SharingRecord extends Sharing {
  /** The highest part whose cache must be there. */
  partsCount: number;
  /** What was in effect before, until when. Idempotency keys of then are looked for where they were put. */
  former: readonly FormerConnections[];
}

export interface FormerConnections {
  connections: number;
  untilMs: number;
}

export function partFolder(folder: string, part: number): string {
  return part === FIRST_PART ? folder : join(folder, `connection-${part}`);
}

/** The parts that have a folder, the first one always counted, ascending. */
export function findParts(folder: string): number[] {
  const parts = [FIRST_PART];
  for (let part = FIRST_PART + 1; part <= CONNECTIONS_MAX; part++) parts.push(part);
  const names = namesIn(folder);
  return parts.filter((part) => part === FIRST_PART || names.has(`connection-${part}`));
}

/** What was written; undefined where nothing was, or what is there cannot be read. */
export function readSharingRecord(folder: string): SharingRecord | undefined {
  let text: string;
  try {
    text = readFileSync(recordPath(folder), 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw storeError(error, recordPath(folder));
  }
  try {
    return recordOf(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The record is the new one or the one before when the process ends meanwhile. */
export function writeSharingRecord(folder: string, record: SharingRecord): void {
  try {
    replaceSynced(recordPath(folder), `${JSON.stringify(record)}\n`);
  } catch (error) {
    throw storeError(error, recordPath(folder));
  }
}

function recordPath(folder: string): string {
  return join(folder, 'connections.json');
}

function namesIn(folder: string): ReadonlySet<string> {
  try {
    return new Set(readdirSync(folder));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return new Set();
    throw storeError(error, folder);
  }
}

function recordOf(value: unknown): SharingRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { connections, generation, partsCount, former } = value as Record<string, unknown>;
  if (!isCount(connections) || !isCount(partsCount) || !Number.isSafeInteger(generation)) return undefined;
  return {
    connections,
    generation: generation as number,
    partsCount,
    former: Array.isArray(former) ? former.filter(isFormer) : [],
  };
}

function isFormer(value: unknown): value is FormerConnections {
  if (typeof value !== 'object' || value === null) return false;
  const { connections, untilMs } = value as Record<string, unknown>;
  return isCount(connections) && Number.isFinite(untilMs);
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= CONNECTIONS_MAX;
}
