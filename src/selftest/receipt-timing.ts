/**
 * Does a receipt wait for its sync? A commit that is done sooner than the disk can sync promises nothing.
 *
 * A cache of its own, made as every cache is, commits one message at a time. In turn with each commit a page is added to a
 * file and synced, which is the least that a commit can cost on this disk. And the connection that writes is asked how it
 * commits at each moment at which that could change: as opened, with other limits, and after the file was rebuilt.
 */
import { closeSync, fdatasyncSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { cachePath } from '../cache/cache-file.js';
import { openSqliteStore } from '../cache/sqlite-store.js';
import type { Durability, Store, StoreLimits } from '../cache/store.js';
import { NorthError } from '../core/error.js';
import { BatchBuilder } from '../core/record.js';
import { type Check, failed, passed, warned } from './check.js';
import { duration, quantile, type SyncTiming } from './sync-timing.js';

const PAGE_SIZE_BYTES = 4096;
const ROUNDS_MAX = 100;
/** A slow disk is measured less often. */
const TIME_MAX_MS = 2500;
/** The first receipts make the files longer, and the code fast. */
const WARM_UP_ROUNDS = 5;
/** What is read at once, and far more than there is. */
const READ_SIZE_MAX_BYTES = 4 * 1024 * 1024;
/** More than one page holds, so that the pages of the batch are a chain that can be cut. */
const LONG_PAYLOAD_BYTES = 16 * PAGE_SIZE_BYTES;
/**
 * Of the time of a sync. Without one, a commit takes a tenth of it and less; what else the machine does makes two medians
 * of the same differ by some percent.
 */
const FAILS_BELOW_PART = 0.5;
const SUSPECT_BELOW_PART = 0.8;
const MARK = 'the middle of a long message';

/** What a connection said of itself. */
export interface DurabilityReport {
  when: string;
  /** Undefined when it said nothing. */
  durability: Durability | undefined;
}

export interface ReceiptTiming {
  rounds: number;
  /** Medians, in microseconds: from handing in one message to its commit, and a page written and synced. */
  receiptUs: number;
  fdatasyncUs: number;
  reports: readonly DurabilityReport[];
}

/** Works in a folder of its own below `folder`, and removes it. Throws what a cache cannot be opened for. */
export function measureReceipts(folder: string, limits: StoreLimits): ReceiptTiming {
  const own = join(folder, 'receipt-timing');
  mkdirSync(own, { mode: 0o700 });
  try {
    const reports: DurabilityReport[] = [];
    const times = timeReceipts(own, limits, reports);
    rebuild(own, limits, reports);
    return {
      rounds: times.receipt.length,
      receiptUs: quantile(times.receipt, 0.5),
      fdatasyncUs: quantile(times.fdatasync, 0.5),
      reports,
    };
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

function timeReceipts(
  folder: string,
  limits: StoreLimits,
  reports: DurabilityReport[],
): { receipt: number[]; fdatasync: number[] } {
  const times = { receipt: [] as number[], fdatasync: [] as number[] };
  const page = Buffer.alloc(PAGE_SIZE_BYTES, 0x5a);
  const descriptor = openSync(join(folder, 'page'), 'wx', 0o600);
  // Without the thread that it has otherwise: the way to another thread and back can take longer than a sync, and would
  // hide that there is none.
  const store = openSqliteStore({ folder, limits });
  try {
    reports.push(report(store, 'as opened'));
    append(store, MARK.padStart(LONG_PAYLOAD_BYTES / 2, '.').padEnd(LONG_PAYLOAD_BYTES, '.'));
    const endMs = performance.now() + TIME_MAX_MS;
    for (let round = -WARM_UP_ROUNDS; round < ROUNDS_MAX && (round < 5 || performance.now() < endMs); round++) {
      const startUs = nowUs();
      writeSync(descriptor, page);
      fdatasyncSync(descriptor);
      const syncedUs = nowUs();
      append(store, `${round}`);
      if (round < 0) continue;
      times.fdatasync.push(syncedUs - startUs);
      times.receipt.push(nowUs() - syncedUs);
    }
    store.setLimits({ ...limits, maxSizeBytes: limits.maxSizeBytes / 2 });
    append(store, 'with other limits');
    reports.push(report(store, 'with other limits'));
  } finally {
    store.close();
    closeSync(descriptor);
  }
  return times;
}

/** Cuts the chain of pages of the long message, which is found when it is read, and then only a rebuild helps. */
function rebuild(folder: string, limits: StoreLimits, reports: DurabilityReport[]): void {
  const path = cachePath(folder);
  const bytes = readFileSync(path);
  const at = bytes.indexOf(MARK);
  if (at < 0) {
    throw new NorthError('CACHE_FAILED', 'A message with a receipt is not in the file of the cache.', { place: path });
  }
  const start = at - (at % PAGE_SIZE_BYTES);
  bytes.fill(0xff, start, start + 4);
  writeFileSync(path, bytes);
  const store = openSqliteStore({ folder, limits });
  try {
    store.read('telemetry', 0, READ_SIZE_MAX_BYTES);
    append(store, 'after the rebuild');
    reports.push(report(store, store.status().findings.length > 0 ? 'after a rebuild' : 'opened again'));
  } finally {
    store.close();
  }
}

function append(store: Store, payload: string): void {
  const builder = new BatchBuilder();
  builder.push({
    topic: 'selftest',
    payload: Buffer.from(payload),
    qos: 1,
    retain: false,
    lane: 'telemetry',
    expirySeconds: 0,
  });
  const batches = [{ lane: 'telemetry' as const, count: 1, data: builder.finish() }];
  store.execute([{ kind: 'append', batches, quarantined: [], acceptedAtMs: Date.now() }]);
}

function report(store: Store, when: string): DurabilityReport {
  const { durability } = store.status();
  return { when, durability };
}

function nowUs(): number {
  return Number(process.hrtime.bigint()) / 1000;
}

/** @param sync what was measured before; the machine may have been less busy then. */
export function checkReceiptTime(timing: ReceiptTiming, sync: SyncTiming): Check {
  const name = 'receipt time';
  const { rounds, receiptUs, fdatasyncUs } = timing;
  const leastUs = Math.min(fdatasyncUs, sync.fdatasyncUs);
  const found =
    `one message is committed in ${duration(receiptUs)} (median of ${rounds}), a write with fdatasync alone takes ` +
    duration(leastUs);
  const meaning = 'A receipt that comes sooner than the disk can sync was given before the data was on it.';
  if (receiptUs < leastUs * FAILS_BELOW_PART)
    return failed(name, found, meaning, 'Please report it together with this report.');
  if (receiptUs < leastUs * SUSPECT_BELOW_PART) {
    return warned(
      name,
      found,
      meaning,
      'Repeat the self-test while the machine has little else to do; if it says the same again, please report it.',
    );
  }
  return passed(name, found, 'A receipt takes longer than a sync, as it must when it waits for one.');
}
