/**
 * The store on SQLite: one file per connector, write-ahead log, every commit synced.
 *
 * - One call of `execute` is one transaction. Requests change cursors in memory and tables; at the end the cursors are
 *   written and everything is committed. On any error all of it is rolled back, the cursors included.
 * - What a crash leaves is the last commit: SQLite finds it in the log when the file is opened. No start-up work depends
 *   on the backlog.
 * - Memory does not depend on the backlog either: three lanes' cursors, the ranges within a session's window, and
 *   SQLite's page cache.
 * - Limits: rows of about 1 MiB (batch-table.ts), the files under `maxSize` (room.ts), 100 findings (finding-table.ts).
 * - Damage: a batch whose checksum fails is taken apart when it is read (damage.ts); a file that SQLite cannot read is
 *   rebuilt from what it can (salvage.ts). Both are reported, and nothing is deleted.
 */
import { NorthError, systemCode } from '../core/error.js';
import type { Lane } from '../core/lane.js';
import { appendMessages } from './append.js';
import { batchChecksum, NO_ROOM } from './batch-table.js';
import { BatchWriter } from './batch-writer.js';
import { cachePath, reservePath } from './cache-file.js';
import { describeOffsets, isolateDamage } from './damage.js';
import { finishSwitch } from './file-repair.js';
import { countCovered } from './hole-table.js';
import { type LaneState, laneStart } from './lane-table.js';
import { listMessages } from './listing.js';
import { damageText, openOrSalvage, openTables } from './open-tables.js';
import { removeQuarantined, retryQuarantined } from './quarantine-work.js';
import { ReserveFile } from './reserve-file.js';
import { isSweepDue, sweep } from './retention.js';
import { Room, reserveSizeBytes } from './room.js';
import { type KnownState, salvageFile } from './salvage.js';
import { PAGE_SIZE_BYTES } from './schema.js';
import { applySave } from './settlement.js';
import { readStatus } from './status.js';
import type {
  Batch,
  CacheFinding,
  ListPage,
  ListQuery,
  SessionIdentity,
  SessionProgress,
  Store,
  StoreLimits,
  StoreReply,
  StoreRequest,
  StoreStatus,
  SweptReply,
} from './store.js';
import { isDamage, isDiskFull, storeError } from './store-error.js';
import type { Tables } from './tables.js';

export interface SqliteStoreOptions {
  /** The connector's own folder; it is made when it is missing. */
  folder: string;
  limits: StoreLimits;
  /** For the time of findings, which are not made by a request. */
  wallMs?: () => number;
  /** Told of each finding when it is stored, those at opening included. */
  onFound?: (finding: CacheFinding) => void;
}

/** The log is carried over into the file at this part of the reserve, at the latest when a commit finds it so long. */
const WAL_PART_OF_RESERVE = 4;

/** Cursors, tree and free list: the pages that a commit writes besides those of the messages. */
const COMMIT_OVERHEAD_BYTES = 6 * PAGE_SIZE_BYTES;

const NOTHING_SWEPT: SweptReply = { kind: 'swept', archivedCount: 0, quarantinedCount: 0, isUnfinished: false };

const REBUILDS_MAX = 5;

/** An almost empty file that is larger gives its room back to the disk. */
const SHRUNK_ABOVE_BYTES = 64 * 1024 * 1024;
const SHRUNK_USED_MAX_BYTES = 8 * 1024 * 1024;

/** Opens or makes the cache in a folder. Throws CACHE_NEWER, CACHE_DISK_FULL, CACHE_FAILED. */
export function openSqliteStore(options: SqliteStoreOptions): SqliteStore {
  const reserve = new ReserveFile(reservePath(options.folder), 0);
  const findings: CacheFinding[] = [];
  try {
    try {
      return openStore(options, reserve, findings);
    } catch (error) {
      // SQLite makes a file or two to begin with, for which a full disk has no room.
      if (!isDiskFull(error) || !reserve.release()) throw error;
      return openStore(options, reserve, findings);
    }
  } catch (error) {
    throw storeError(error, cachePath(options.folder));
  }
}

/** @param findings what a first attempt has stored already, to which this one adds. */
function openStore(options: SqliteStoreOptions, reserve: ReserveFile, findings: CacheFinding[]): SqliteStore {
  const tables = openOrSalvage(options.folder, (options.wallMs ?? Date.now)(), findings);
  return new SqliteStore(tables, options, reserve, findings);
}

export class SqliteStore implements Store {
  #tables: Tables;
  #writer: BatchWriter;
  #room: Room;
  readonly #folder: string;
  readonly #wallMs: () => number;
  readonly #onFound: (finding: CacheFinding) => void;
  /** About how many bytes commits have put into the log since it was last carried over. */
  #walBytes = 0;
  #walLimitBytes = 0;
  readonly #reserve: ReserveFile;
  #isClosed = false;
  /** A disk that goes on decaying must not keep the process copying the cache for ever. */
  #rebuildsLeft = REBUILDS_MAX;

  /** @param findings are stored already, and told. */
  constructor(tables: Tables, options: SqliteStoreOptions, reserve: ReserveFile, findings: readonly CacheFinding[]) {
    const { folder, limits, wallMs = Date.now, onFound = () => undefined } = options;
    this.#tables = tables;
    this.#writer = new BatchWriter(tables);
    this.#room = new Room(tables, limits, 0);
    this.#folder = folder;
    this.#wallMs = wallMs;
    this.#onFound = onFound;
    this.#reserve = reserve;
    this.#applyLimits();
    this.#tell(findings);
  }

  get cacheId(): string {
    return this.#tables.cacheId;
  }

  execute(requests: readonly StoreRequest[]): StoreReply[] {
    try {
      return this.#execute(requests);
    } catch (error) {
      const isFreeing = requests.every((request) => request.kind !== 'append');
      if (!isDiskFull(error) || !isFreeing || !this.#reserve.release()) throw error;
      this.#guard(() => this.#tables.db.pragma('wal_checkpoint(PASSIVE)'));
      return this.#execute(requests);
    }
  }

  #execute(requests: readonly StoreRequest[]): StoreReply[] {
    return this.#guard(() => {
      const { limits } = this.#room;
      const isIdle = requests.every((one) => one.kind === 'sweep' && !isSweepDue(this.#tables, limits, one.atMs));
      const replies = isIdle
        ? requests.map(() => NOTHING_SWEPT)
        : this.#transact(() => requests.map((request) => this.#executeOne(request)));
      if (requests.some((one) => one.kind === 'sweep')) {
        this.#shrink();
        this.#reserve.fill();
      }
      return replies;
    });
  }

  read(lane: Lane, fromOffset: number, sizeBytesMax: number): Batch[] {
    return this.#guard(() => {
      const state = this.#tables.lanes.of(lane);
      const batches: Batch[] = [];
      let end = Math.max(fromOffset, state.firstUnsettled);
      let leftBytes = sizeBytesMax;
      for (;;) {
        const damagedKey = this.#readIntact(state, end, leftBytes, batches);
        const last = batches.at(-1);
        if (last !== undefined) end = last.firstOffset + last.count;
        if (damagedKey === undefined) break;
        this.#isolate(damagedKey);
        leftBytes = batches.reduce((left, batch) => left - batch.data.length, sizeBytesMax);
      }
      if (batches.length > 0) state.lentTo = Math.max(state.lentTo, end);
      return batches;
    });
  }

  progress(): SessionProgress {
    const [command, alert, telemetry] = this.#tables.lanes.states;
    const progressOf = ({ firstUnsettled, boundOffset, settled }: LaneState) => ({
      firstUnsettled,
      boundOffset,
      settled,
    });
    return {
      lanes: { command: progressOf(command), alert: progressOf(alert), telemetry: progressOf(telemetry) },
      received: this.#tables.session.received,
    };
  }

  identity(): SessionIdentity | undefined {
    return this.#tables.session.identity;
  }

  position(source: string): string | undefined {
    return this.#guard(() => this.#tables.position(source));
  }

  list(query: ListQuery): ListPage {
    return this.#guard(() => listMessages(this.#tables, this.#room.limits, query));
  }

  status(): StoreStatus {
    return this.#guard(() => readStatus(this.#tables, this.#room.limits, this.#room.evictedCount));
  }

  setLimits(limits: StoreLimits): void {
    this.#room.limits = limits;
    this.#guard(() => this.#applyLimits());
  }

  /** Carries the log over when it is half as long as it may get. Done while nobody waits, it spares a commit from it. */
  tend(): void {
    if (this.#walBytes < this.#walLimitBytes / 2) return;
    try {
      this.#guard(() => this.#tables.db.pragma('wal_checkpoint(PASSIVE)'));
    } catch (error) {
      // Nobody asked for it, and the log holds everything all the same. On a full disk it fails until there is room; what
      // stands in the way otherwise is told to the next who stores something.
      if (!(error instanceof NorthError)) throw error;
      return;
    }
    this.#walBytes = 0;
  }

  close(): void {
    this.#isClosed = true;
    // The last connection that closes carries the log over and removes it.
    if (this.#tables.db.open) this.#tables.db.close();
  }

  #executeOne(request: StoreRequest): StoreReply {
    switch (request.kind) {
      case 'append':
        return appendMessages(this.#tables, this.#writer, this.#room, request);
      case 'save':
        applySave(this.#tables, request, this.#room.limits.archiveEnabled);
        return { kind: 'saved' };
      case 'retry':
        return retryQuarantined(this.#tables, this.#writer, request);
      case 'remove':
        return removeQuarantined(this.#tables, request);
      case 'sweep':
        return sweep(this.#tables, this.#room.limits, request.atMs);
    }
  }

  #transact<T>(work: () => T): T {
    try {
      const result = this.#tables.transact(() => {
        this.#room.begin();
        const done = work();
        this.#writer.flush();
        return done;
      });
      this.#walBytes += this.#room.pendingBytes + COMMIT_OVERHEAD_BYTES;
      return result;
    } catch (error) {
      this.#writer.discard();
      this.#room.rolledBack();
      throw error;
    }
  }

  /** Adds to `batches` what can be read, up to a damaged row, whose key is given. */
  #readIntact(state: LaneState, fromOffset: number, sizeBytesMax: number, batches: Batch[]): number | undefined {
    const { lane, index } = state;
    const first = this.#tables.batches.holderOrNext(index, fromOffset);
    this.#checkGap(state, fromOffset, first?.offset ?? state.nextOffset);
    if (first === undefined) return undefined;
    const start = laneStart(index);
    // One batch is given whatever its size, or a large one would stop its lane.
    const forced = batches.length === 0 ? first.key : undefined;
    const rows = this.#tables.batches.read(first.key, first.startBytes + sizeBytesMax, forced);
    let end = first.offset;
    let isFirst = true;
    for (const [key, count, startBytes, acceptedAtMs, checksum, data] of rows) {
      if (data === NO_ROOM) return undefined;
      if (!Buffer.isBuffer(data) || checksum !== batchChecksum(key, count, startBytes, acceptedAtMs, data)) return key;
      const firstOffset = key - start;
      if (firstOffset !== end) {
        if (isFirst) throw new NorthError('CACHE_DAMAGED', 'the keys of the batches are out of order');
        // Looked into by the next read, because nothing else may be asked of the database while rows are coming.
        return undefined;
      }
      isFirst = false;
      batches.push({ lane, firstOffset, count, acceptedAtMs, data });
      end = firstOffset + count;
    }
    return undefined;
  }

  /** Offsets that no row holds must be known to be settled or a hole; otherwise the tree has lost a row. */
  #checkGap(state: LaneState, from: number, to: number): void {
    if (to <= from) return;
    const holes = this.#tables.holes.touching(state.index, from, to);
    if (countCovered(from, to, state.settled, holes) === to - from) return;
    throw new NorthError('CACHE_DAMAGED', `the batches with ${describeOffsets(from, to - from)} are missing`);
  }

  /** Puts the unreadable messages of a batch aside, so that the others can be read. */
  #isolate(key: number): void {
    const found = this.#transact((): CacheFinding => {
      const row = this.#tables.batches.load(key);
      if (row === undefined) throw new NorthError('CACHE_DAMAGED', 'A batch that was just read is gone.');
      const atMs = Math.trunc(this.#wallMs());
      const finding = { atMs, code: 'MESSAGE_UNREADABLE' as const, message: isolateDamage(this.#tables, row, atMs) };
      this.#tables.findings.add(finding);
      return finding;
    });
    this.#onFound(found);
  }

  #tell(findings: readonly CacheFinding[]): void {
    // An opening that was tried twice may have found the same twice.
    const told = new Set<string>();
    for (const finding of findings) {
      if (told.has(finding.message)) continue;
      told.add(finding.message);
      this.#onFound(finding);
    }
  }

  #applyLimits(): void {
    this.#walLimitBytes = Math.floor(reserveSizeBytes(this.#room.limits) / WAL_PART_OF_RESERVE);
    this.#reserve.sizeBytes = this.#walLimitBytes;
    const { db } = this.#tables;
    db.pragma(`wal_autocheckpoint = ${Math.max(1, Math.floor(this.#walLimitBytes / PAGE_SIZE_BYTES))}`);
    db.pragma(`journal_size_limit = ${this.#walLimitBytes}`);
  }

  #shrink(): void {
    const tables = this.#tables;
    if (tables.freeSizeBytes() < SHRUNK_ABOVE_BYTES || tables.usedSizeBytes() > SHRUNK_USED_MAX_BYTES) return;
    try {
      tables.db.exec('VACUUM');
      tables.db.pragma('wal_checkpoint(TRUNCATE)');
    } catch (error) {
      // It needs some room itself, and nobody else in the file; the next sweep tries again.
      if (!isDiskFull(error) && systemCode(error) !== 'SQLITE_BUSY') throw error;
    }
  }

  /** Rebuilds the file when SQLite finds it damaged, and tries once more; gives every other error its code. */
  #guard<T>(work: () => T): T {
    if (this.#isClosed) throw new NorthError('CACHE_CLOSED', 'The cache is closed.');
    try {
      try {
        // A rebuild that failed, on a full disk for example, leaves it closed.
        if (!this.#tables.db.open) this.#reopen([]);
        return work();
      } catch (error) {
        if (!isDamage(error)) throw error;
        this.#rebuild(error);
        return work();
      }
    } catch (error) {
      throw storeError(error, cachePath(this.#folder));
    }
  }

  #rebuild(cause: unknown): void {
    if (this.#rebuildsLeft === 0) throw cause;
    this.#rebuildsLeft--;
    const { cacheId, lanes, session, db } = this.#tables;
    db.close();
    const known: KnownState = { cacheId, lanes: lanes.snapshot(), session: session.snapshot() };
    this.#reopen(salvageFile(this.#folder, this.#wallMs(), damageText(cause), { known }));
  }

  #reopen(findings: CacheFinding[]): void {
    const lent = this.#tables.lanes.states.map((state) => state.lentTo);
    finishSwitch(this.#folder);
    this.#tables = openTables(this.#folder, this.#wallMs(), findings);
    for (const state of this.#tables.lanes.states) state.lentTo = lent[state.index]!;
    this.#writer = new BatchWriter(this.#tables);
    this.#room = new Room(this.#tables, this.#room.limits, this.#room.evictedCount);
    this.#applyLimits();
    this.#tell(findings);
  }
}
