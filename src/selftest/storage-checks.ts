/** What the folder of the self-test says about the machine: room, lock, and how the cache is kept. */
import { statfsSync } from 'node:fs';
import { openDataDirectory } from '../cache/data-directory.js';
import type { CacheInspection } from '../cache/inspection.js';
import type { CacheFinding, Durability } from '../cache/store.js';
import { formatSize } from '../config/units.js';
import { NorthError } from '../core/error.js';
import { type Check, failed, passed, warned } from './check.js';
import type { DurabilityReport } from './receipt-timing.js';

/** The run itself stays far below this. */
export const ROOM_NEEDED_BYTES = 256 * 1024 * 1024;
const ROOM_WANTED_BYTES = 1024 ** 3;

export function freeSizeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

/** @param plannedBytes what the connectors of the configuration may store together; undefined without one. */
export function checkRoom(freeBytes: number, plannedBytes: number | undefined): Check {
  const name = 'room';
  const planned =
    plannedBytes === undefined ? '' : `; the caches of the configuration may take ${format(plannedBytes)}`;
  const found = `${format(freeBytes)} free${planned}`;
  if (plannedBytes !== undefined && plannedBytes > freeBytes) {
    return warned(
      name,
      found,
      'In a long outage the disk is full before the caches are: producers are refused then (507 CACHE_DISK_FULL), and ' +
        'everything else on this disk stops, too.',
      'Make room, or lower caching.maxSize.',
    );
  }
  if (freeBytes < ROOM_WANTED_BYTES) {
    return warned(
      name,
      found,
      'A short outage fills it; producers are refused then (507 CACHE_DISK_FULL).',
      'Make room, or put dataDir on a larger disk.',
    );
  }
  return passed(name, found, 'What is refused when it is full is told to the producer; nothing accepted is touched.');
}

/** Tries to become the second process on a data directory that another one holds. */
export function checkLock(dataDir: string, holderPid: number): Check {
  const name = 'lock';
  try {
    openDataDirectory(dataDir).close();
  } catch (error) {
    if (!(error instanceof NorthError) || error.code !== 'CACHE_LOCKED') throw error;
    return passed(name, error.message, 'A second service cannot get into the data of a running one.');
  }
  return failed(
    name,
    `the process ${holderPid} holds the directory, and a second one was let in`,
    'Two services on one data directory destroy its caches.',
    'Put dataDir on a local file system whose locks work; network file systems often have none.',
  );
}

/**
 * What decides is what the connections that write say of themselves: another connection to the same file may commit
 * otherwise, and the one of the inspection has written nothing.
 */
export function checkDatabase(inspection: CacheInspection, reports: readonly DurabilityReport[]): Check {
  const name = 'database';
  const found = `SQLite ${inspection.sqliteVersion}, ${shown(inspection)}`;
  const faults = [{ when: 'inspected', durability: inspection }, ...reports].filter(
    ({ durability }) => !isSynced(durability),
  );
  if (faults.length === 0 && reports.length > 0) {
    const moments = reports.map(({ when }) => when).join(', ');
    return passed(
      name,
      `${found}, as each connection that wrote says of itself: ${moments}`,
      'A receipt is given only after the sync of the transaction that holds the data.',
    );
  }
  const told = faults.map(({ when, durability }) => `${when}: ${shown(durability)}`).join('; ');
  return failed(
    name,
    `SQLite ${inspection.sqliteVersion}; ${told === '' ? 'no connection said how it commits' : told}; wanted are wal and full`,
    'A receipt does not mean that the data is on stable storage.',
    'If the file system does not carry the write-ahead log of SQLite (journal_mode is not wal), put dataDir on a local ' +
      'disk. Otherwise please report it.',
  );
}

function isSynced(durability: Durability | undefined): boolean {
  const { journalMode, synchronous } = durability ?? {};
  return journalMode === 'wal' && (synchronous === 'full' || synchronous === 'extra');
}

function shown(durability: Durability | undefined): string {
  if (durability === undefined) return 'unknown';
  return `journal_mode=${durability.journalMode}, synchronous=${durability.synchronous}`;
}

export interface CacheAfterRun {
  inspection: CacheInspection;
  findings: readonly CacheFinding[];
  waitingCount: number;
  quarantinedCount: number;
}

/** @param isDrained the last process said that nothing waits any more. */
export function checkCache(after: CacheAfterRun, isDrained: boolean): Check {
  const { inspection, findings, waitingCount, quarantinedCount } = after;
  const name = 'cache';
  const problems = [...inspection.problems, ...findings.map(({ message }) => message)];
  if (problems.length > 0) {
    return failed(
      name,
      problems.join(' '),
      'Kills have damaged the database, which they cannot do where a sync syncs and writes keep their order.',
      'Look at the kernel log for errors of the disk; check the file system; put dataDir on another disk.',
    );
  }
  const left = `${waitingCount} wait, ${quarantinedCount} are quarantined`;
  if (waitingCount > 0 && isDrained) {
    return failed(
      name,
      `whole, but not empty: ${left}`,
      'The process had said that everything is delivered.',
      'Please report it with the evidence.',
    );
  }
  if (waitingCount + quarantinedCount > 0) {
    return warned(
      name,
      `whole, and it keeps what the broker did not take: ${left}`,
      'The database came through all kills without damage.',
      'See the checks of the kills and of the broker.',
    );
  }
  return passed(name, `every page and index is whole; ${left}`, 'The database came through all kills without damage.');
}

function format(sizeBytes: number): string {
  return formatSize(Math.round(sizeBytes));
}
