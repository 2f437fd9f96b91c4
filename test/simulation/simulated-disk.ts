/**
 * The disk of a world: the store on SQLite as it is in the product, on a database in memory, with the faults of a disk. It
 * survives the processes that use it.
 *
 * A transaction is durable when `execute` of the store underneath has returned, and not before: SQLite's own work in
 * between, with a write-ahead log on a real file, is attacked in `recorded-run.test.ts`.
 */
import Database from 'better-sqlite3';
import { prepareFile } from '../../src/cache/cache-file.js';
import { PAGE_SIZE_BYTES } from '../../src/cache/schema.js';
import { SqliteStore } from '../../src/cache/sqlite-store.js';
import type {
  Batch,
  ListPage,
  ListQuery,
  SessionIdentity,
  SessionProgress,
  Store,
  StoreLimits,
  StoreReply,
  StoreRequest,
  StoreStatus,
} from '../../src/cache/store.js';
import { Tables } from '../../src/cache/tables.js';
import { NorthError } from '../../src/core/error.js';
import { LANES, type Lane, laneAt } from '../../src/core/lane.js';
import { placeKey, placeOfKey } from '../../src/core/record.js';
import { keyOf } from './key.js';
import type { Places } from './places.js';
import { QuarantineWatch } from './quarantine-watch.js';
import { SimulatedReserve } from './simulated-reserve.js';
import type { StoredProgress } from './stored-progress.js';

/** Of every cache of a world. */
export const CACHE_ID = '0badcafe';

/** Thrown through everything when the process ends in the middle of a call. It is no Error, so that nobody handles it. */
export class PowerCut {}

export interface CommitFate {
  /** The transaction fails, as it does on a full disk, and nothing of it is stored. */
  isFailing: boolean;
  /** The process ends before the transaction is durable, or right after, before anybody has heard of it. */
  crash: 'before' | 'after' | undefined;
}

export interface DiskOptions {
  limits: StoreLimits;
  firstOffset: number;
  stored: StoredProgress;
  places: Places;
  wallMs: () => number;
  /** Whether the disk may become full in the middle of a transaction. */
  mayFail: boolean;
  /** What becomes of the transaction with this number, counted from 0 over all processes. */
  fateOf: (commit: number) => CommitFate;
  /** Told of every save that has become durable; gives the number of the broker's session that it belongs to. */
  saved: (progress: SessionProgress, hasIdentity: boolean) => number;
  /** So many messages were put back from quarantine, per lane. */
  retried: (counts: Readonly<Record<Lane, number>>) => void;
  problems: string[];
}

/** What a reserve file gives back when the disk is full. */
const RESERVE_PAGES = 8;

/** A message has up to 8000 bytes where the cache is small. */
const PUT_BACK_PAGES = 4;

export class SimulatedDisk {
  commitCount = 0;
  /** Transactions that found no room on the disk. */
  fullCount = 0;
  /** Messages that were dropped to make room. */
  droppedCount = 0;
  readonly quarantine: QuarantineWatch;
  readonly #options: DiskOptions;
  /** As they were set last; a new process is given the same. */
  #limits: StoreLimits;
  #hasOtherLimits = false;
  #db: Database.Database;
  #pagesMax: number | undefined;
  #hasReserve = true;

  /** @param image of the database to begin with; a new one when left out. */
  constructor(options: DiskOptions, image = templateOf(options.firstOffset)) {
    this.#options = options;
    this.#limits = options.limits;
    this.quarantine = new QuarantineWatch(options.stored, options.places, options.problems);
    this.#db = openImage(image, this.#options.mayFail);
  }

  /** What a process opens when it starts. */
  open(): SimulatedStore {
    return new SimulatedStore(this.openStore(), this);
  }

  protected openStore(): SqliteStore {
    const { wallMs } = this.#options;
    const limits = this.#limits;
    const reserve = new SimulatedReserve(
      () => this.#releaseReserve(),
      () => {
        this.#hasReserve ||= this.#pagesMax === undefined;
      },
    );
    return new SqliteStore(new Tables(this.#db), { folder: '/nowhere', limits, wallMs }, reserve, []);
  }

  /** Nobody else leaves any room on the disk, or all of it again. */
  setFull(isFull: boolean): void {
    this.#pagesMax = isFull ? this.#pageCount() : undefined;
    this.#limitPages();
  }

  #releaseReserve(): boolean {
    if (!this.#hasReserve || this.#pagesMax === undefined) return false;
    this.#hasReserve = false;
    this.#pagesMax += RESERVE_PAGES;
    this.#limitPages();
    return true;
  }

  #limitPages(): void {
    this.#db.pragma(`max_page_count = ${this.#pagesMax ?? 4_294_967_294}`);
  }

  #pageCount(): number {
    // A pragma without a parameter gives one number.
    return this.#db.pragma('page_count', { simple: true }) as number;
  }

  /** The database closes in order; what was in it is what the next process finds. */
  closed(store: SqliteStore): void {
    const { image } = this;
    store.close();
    this.restore(image);
  }

  /** What is on the disk. */
  protected get image(): Buffer {
    return this.#db.serialize();
  }

  /** From now on this is what is on the disk. */
  protected restore(image: Buffer): void {
    this.#db = openImage(image, this.#options.mayFail);
    this.#limitPages();
  }

  /** At the end of a world; the memory is outside of the collector's sight. */
  dispose(): void {
    this.#db.close();
  }

  execute(store: SqliteStore, requests: readonly StoreRequest[]): StoreReply[] {
    if (requests.every(({ kind }) => kind === 'sweep')) {
      const replies = store.execute(requests);
      this.quarantine.note(this.#db, requests, replies, this.#limits);
      return replies;
    }
    const fate = this.#options.fateOf(this.commitCount++);
    if (fate.crash === 'before') throw new PowerCut();
    if (fate.isFailing) throw new NorthError('CACHE_DISK_FULL', 'The disk of this world is full.');
    const replies = this.#executeNow(store, requests);
    this.#note(requests, replies);
    if (fate.crash === 'after') throw new PowerCut();
    return replies;
  }

  #executeNow(store: SqliteStore, requests: readonly StoreRequest[]): StoreReply[] {
    try {
      return store.execute(requests);
    } catch (error) {
      if (this.#pagesMax !== undefined) this.fullCount++;
      throw error;
    }
  }

  #note(requests: readonly StoreRequest[], replies: readonly StoreReply[]): void {
    const { stored, problems, places } = this.#options;
    const { boundOffset } = stored.progress.lanes.telemetry;
    let droppedCount = 0;
    let isAppended = false;
    for (const [i, request] of requests.entries()) {
      const reply = replies[i];
      if (request.kind === 'append' && reply?.kind === 'appended') {
        for (const { lane, from } of reply.ranges) {
          const batch = request.batches.find((one) => one.lane === lane);
          if (batch !== undefined) places.note(lane, from, batch.data);
        }
        this.quarantine.draftCount += reply.quarantinedIds.length;
        droppedCount += reply.droppedCount;
        isAppended ||= !reply.replayed;
      } else if (request.kind === 'save' && reply?.kind === 'saved') {
        const epoch = this.#options.saved(request.progress, request.identity !== undefined);
        problems.push(...stored.commit(request, epoch));
      }
    }
    this.#checkOffsets(replies);
    const retried = this.quarantine.note(this.#db, requests, replies, this.#limits);
    this.#options.retried(retried);
    // A bound that the same transaction has lowered holds for what is dropped in it.
    const { telemetry } = stored.progress.lanes;
    if (droppedCount > 0) this.#noteDropped(droppedCount, Math.min(boundOffset, telemetry.boundOffset));
    this.#checkSize(isAppended, requests.length);
  }

  /** What is appended and what is put back follow each other without a gap, in the order of the requests. */
  #checkOffsets(replies: readonly StoreReply[]): void {
    const { stored, problems } = this.#options;
    for (const reply of replies) {
      if (reply.kind !== 'appended' && reply.kind !== 'retried') continue;
      for (const { lane, from, to } of reply.ranges) {
        if (from !== stored.nextOffsets[lane]) problems.push(`What came to ${lane} got the offset ${from}.`);
        stored.nextOffsets[lane] = to;
      }
    }
  }

  /** Which messages gave way is found in the holes: offsets that are counted and have no message. */
  #noteDropped(droppedCount: number, boundOffset: number): void {
    const { stored, problems } = this.#options;
    let count = 0;
    const holes = this.#db
      .prepare<[number], { key: number; count: number }>('SELECT key, count FROM hole WHERE key >= ?')
      .all(placeKey(2, 0));
    const { firstUnsettled } = stored.progress.lanes.telemetry;
    for (const hole of holes) {
      const { lane, offset } = placeOfKey(hole.key);
      // A hole grows together with one that lies before it, and may be settled in part.
      for (let i = Math.max(0, firstUnsettled - offset); i < hole.count; i++) {
        const key = keyOf(laneAt(lane), offset + i);
        if (stored.quarantine.has(key) || stored.dropped.has(key)) continue;
        stored.dropped.add(key);
        count++;
        if (offset + i < boundOffset) problems.push(`${key} was dropped although it may have been sent.`);
      }
    }
    this.droppedCount += count;
    if (count !== droppedCount) problems.push(`${count} were dropped and ${droppedCount} counted.`);
  }

  /**
   * Appends leave the reserve alone, and saves may use it. A save is never refused: what it copies to quarantine stands
   * twice until the row that it came in is done with, and may go beyond the limit for so long.
   */
  #checkSize(isAppended: boolean, requestCount: number): void {
    const { maxSizeBytes } = this.#limits;
    if (maxSizeBytes > SIZE_CHECKED_MAX_BYTES) return;
    const free = this.#db.pragma('freelist_count', { simple: true }) as number;
    const size = (this.#pageCount() - free) * PAGE_SIZE_BYTES;
    const isAppendAlone = isAppended && requestCount === 1;
    const limit = isAppendAlone ? maxSizeBytes - Math.floor(maxSizeBytes / 4) + 2 * PAGE_SIZE_BYTES : maxSizeBytes;
    if (size <= limit) return;
    const copied = this.#db
      .prepare<[], number>(`SELECT total(length(record) + ${2 * PAGE_SIZE_BYTES}) FROM quarantine`)
      .pluck()
      .get()!;
    // What was put back is stored once more, and was let in before there was a limit to it.
    const putBack = this.quarantine.retriedCount * PUT_BACK_PAGES * PAGE_SIZE_BYTES;
    if (isAppendAlone || size > limit + copied + putBack) {
      this.#options.problems.push(`The cache takes ${size} bytes; ${limit} are allowed.`);
    }
  }

  get limits(): StoreLimits {
    return this.#limits;
  }

  /** The cache is told to keep to these from now on. */
  setLimits(store: SqliteStore, limits: StoreLimits): void {
    store.setLimits(limits);
    this.#limits = limits;
    this.#hasOtherLimits = true;
  }

  /** What the store would tell a new process, against what is known to be durable. */
  audit(store: Store): string[] {
    const { stored } = this.#options;
    const problems: string[] = [];
    const found = store.progress();
    const differs = (name: string, one: unknown, other: unknown): void => {
      const [oneText, otherText] = [JSON.stringify(one), JSON.stringify(other)];
      if (oneText !== otherText) problems.push(`${name} of the store: ${oneText}, and ${otherText} was stored.`);
    };
    for (const lane of LANES) differs(`The progress of ${lane}`, found.lanes[lane], stored.progress.lanes[lane]);
    differs('What is received', runs(found.received), runs(stored.progress.received));
    differs('The identity', store.identity(), stored.identity);
    const { nextOffsets, waitingCounts } = store.status();
    differs('The offsets', nextOffsets, stored.nextOffsets);
    for (const lane of LANES) differs(`What waits in ${lane}`, waitingCounts[lane], stored.waitingCount(lane));
    problems.push(...this.quarantine.auditQuarantine(store));
    return problems;
  }

  /** At the end of a world, when everything has its fate. */
  auditArchive(store: Store): string[] {
    const { archiveEnabled, maxSizeBytes, archiveRetentionMs } = this.#limits;
    if (!archiveEnabled) return [];
    const isWhole =
      maxSizeBytes > SIZE_CHECKED_MAX_BYTES && archiveRetentionMs >= LONG_RETENTION_MS && !this.#hasOtherLimits;
    return this.quarantine.auditArchive(store, isWhole, this.#options.firstOffset);
  }
}

/** Nothing that is kept for so long ages in a world, unless its clock jumps. */
const LONG_RETENTION_MS = 30 * 24 * 3_600_000;

function runs(received: SessionProgress['received']): unknown {
  return received.map(({ lane, from, to }) => [lane, from, to]);
}

/** Beyond this a cache is as good as unlimited in a world, and asking SQLite for its pages would only cost time. */
const SIZE_CHECKED_MAX_BYTES = 64 * 1024 * 1024;

/** One process's view of the disk. */
export class SimulatedStore implements Store {
  readonly #store: SqliteStore;
  readonly #disk: SimulatedDisk;

  constructor(store: SqliteStore, disk: SimulatedDisk) {
    this.#store = store;
    this.#disk = disk;
  }

  get cacheId(): string {
    return this.#store.cacheId;
  }

  execute(requests: readonly StoreRequest[]): StoreReply[] {
    return this.#disk.execute(this.#store, requests);
  }

  read(lane: Lane, fromOffset: number, sizeBytesMax: number): Batch[] {
    return this.#store.read(lane, fromOffset, sizeBytesMax);
  }

  progress(): SessionProgress {
    return this.#store.progress();
  }

  identity(): SessionIdentity | undefined {
    return this.#store.identity();
  }

  position(source: string): string | undefined {
    return this.#store.position(source);
  }

  list(query: ListQuery): ListPage {
    return this.#store.list(query);
  }

  status(): StoreStatus {
    return this.#store.status();
  }

  setLimits(limits: StoreLimits): void {
    this.#disk.setLimits(this.#store, limits);
  }

  close(): void {
    this.#disk.closed(this.#store);
  }
}

const templates = new Map<number, Buffer>();

/** The image of a new cache whose lanes begin at this offset. */
function templateOf(firstOffset: number): Buffer {
  const known = templates.get(firstOffset);
  if (known !== undefined) return known;
  const db = new Database(':memory:');
  db.pragma(`page_size = ${PAGE_SIZE_BYTES}`);
  prepareFile(db);
  db.prepare("UPDATE meta SET value = ? WHERE key = 'cacheId'").run(CACHE_ID);
  const { lanes } = new Tables(db);
  for (const state of lanes.states) {
    state.nextOffset = firstOffset;
    state.firstUnsettled = firstOffset;
    state.boundOffset = firstOffset;
    lanes.write(state);
  }
  const image = db.serialize();
  db.close();
  templates.set(firstOffset, image);
  return image;
}

/** @param mayFail whether transactions may have to be rolled back in the middle, for which a journal is kept. */
function openImage(image: Buffer, mayFail: boolean): Database.Database {
  const db = new Database(image);
  db.pragma(`journal_mode = ${mayFail ? 'MEMORY' : 'OFF'}`);
  return db;
}
