/**
 * Holds the cache under its `maxSize`.
 *
 *     maxSize >= cache.db + reserve;  reserve = min(16 MiB, maxSize / 4)
 *     reserve  = write-ahead log (a quarter, and what one transaction adds) + reserve file (a quarter) + saves
 *
 * Appends go up to `maxSize - reserve`. Saves are never refused, so that a full cache can always be drained. What one
 * transaction appends stands in the log and in the file at the same time; what exceeds half of the reserve is therefore
 * counted twice.
 *
 * What gives way, in this order: archived batches, the longest settled first; then, with `drop-oldest`, the oldest
 * telemetry that was never read and lies above the bound of what may have been sent. Nothing is given up for an append
 * that would be refused all the same.
 */
import { formatSize } from '../config/units.js';
import { type BatchPlace, laneOf } from './batch-table.js';
import { laneStart } from './lane-table.js';
import { PAGE_SIZE_BYTES } from './schema.js';
import type { StoreLimits } from './store.js';
import type { Tables } from './tables.js';

const RESERVE_MAX_BYTES = 16 * 1024 * 1024;

/** Of a page, this much is left for the content of a row that spans several. */
const OVERFLOW_PAGE_BYTES = PAGE_SIZE_BYTES - 4;

/** A row's own columns and its place in the tree, without data and checksums. */
const ROW_OVERHEAD_BYTES = 64;

/** What is kept of `maxSize` for the write-ahead log and for saves. */
export function reserveSizeBytes(limits: StoreLimits): number {
  return Math.min(RESERVE_MAX_BYTES, Math.floor(limits.maxSizeBytes / 4));
}

/** What the keys of accepted requests may take: a quarter, so that they alone never leave no room for content. */
export function keysSizeMaxBytes(limits: StoreLimits): number {
  return Math.floor(limits.maxSizeBytes / 4);
}

/** At most so many bytes does a row of these records take in the file. */
export function rowSizeBytes(dataSizeBytes: number, count: number): number {
  const size = dataSizeBytes + 4 * count + ROW_OVERHEAD_BYTES;
  if (size < PAGE_SIZE_BYTES / 4) return size;
  return (Math.ceil(size / OVERFLOW_PAGE_BYTES) + 1) * PAGE_SIZE_BYTES;
}

interface Victim {
  place: BatchPlace;
  isArchived: boolean;
}

export class Room {
  /** Archived messages that gave way, since the store was opened. */
  evictedCount = 0;
  limits: StoreLimits;
  readonly #tables: Tables;
  /** Measured when the transaction began, plus what it has taken and given back so far. */
  #usedBytes = 0;
  #pendingBytes = 0;
  #evictedBefore = 0;

  constructor(tables: Tables, limits: StoreLimits, evictedCount: number) {
    this.#tables = tables;
    this.limits = limits;
    this.evictedCount = evictedCount;
  }

  /** What the transaction under way has taken so far. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  begin(): void {
    this.#usedBytes = this.#tables.usedSizeBytes();
    this.#pendingBytes = 0;
    this.#evictedBefore = this.evictedCount;
  }

  rolledBack(): void {
    this.evictedCount = this.#evictedBefore;
  }

  /**
   * Makes room for `neededBytes` more and counts them as taken. Gives how many waiting messages were dropped for it, or,
   * when there is no room to be made, why not; then nothing was given up.
   */
  take(neededBytes: number): number | string {
    if (neededBytes === 0) return 0;
    const pending = this.#pendingBytes + neededBytes;
    const reserve = reserveSizeBytes(this.limits);
    const total = this.#usedBytes + neededBytes + Math.max(reserve, pending + reserve / 2);
    let droppedCount = 0;
    if (total > this.limits.maxSizeBytes) {
      const victims = this.#findVictims(total - this.limits.maxSizeBytes);
      if (victims === undefined) {
        return `The cache uses ${formatSize(this.#usedBytes)} of ${formatSize(this.limits.maxSizeBytes)}, of which ${formatSize(
          reserveSizeBytes(this.limits),
        )} are its reserve; there is no room for ${formatSize(neededBytes)} more.`;
      }
      for (const victim of victims) {
        if (victim.isArchived) this.#evict(victim.place);
        else droppedCount += this.#drop(victim.place);
        this.#usedBytes -= freedBytes(victim.place);
      }
    }
    this.#pendingBytes = pending;
    this.#usedBytes += neededBytes;
    return droppedCount;
  }

  /** The batches that must give way to free so much, or undefined when all that may are not enough. */
  #findVictims(bytes: number): Victim[] | undefined {
    const victims: Victim[] = [];
    let missing = bytes;
    const offer = (place: BatchPlace, isArchived: boolean): boolean => {
      victims.push({ place, isArchived });
      missing -= freedBytes(place);
      return missing <= 0;
    };
    for (const place of this.#archivedPlaces()) if (offer(place, true)) return victims;
    if (this.limits.onFull === 'drop-oldest') {
      for (const place of this.#droppablePlaces()) if (offer(place, false)) return victims;
    }
    return undefined;
  }

  /** Archived batches of all lanes, the longest settled first. */
  *#archivedPlaces(): Generator<BatchPlace> {
    const heads = this.#tables.lanes.states.map((state) => ({ index: state.index, from: 0 }));
    for (;;) {
      let oldest: { settledAtMs: number; place: BatchPlace; head: { from: number } } | undefined;
      for (const head of heads) {
        const archived = this.#tables.archive.next(head.index, head.from);
        if (archived === undefined || (oldest !== undefined && oldest.settledAtMs <= archived.settledAtMs)) continue;
        const place = this.#tables.batches.floor(head.index, archived.key - laneStart(head.index));
        if (place !== undefined) oldest = { settledAtMs: archived.settledAtMs, place, head };
      }
      if (oldest === undefined) return;
      oldest.head.from = oldest.place.offset + 1;
      yield oldest.place;
    }
  }

  /** Telemetry that was never lent and certainly not sent, oldest first; nothing of the transaction under way. */
  *#droppablePlaces(): Generator<BatchPlace> {
    const state = this.#tables.lanes.of('telemetry');
    let from = Math.max(state.lentTo, state.boundOffset, state.firstUnsettled);
    for (;;) {
      const place = this.#tables.batches.ceiling(state.index, from);
      if (place === undefined || place.offset + place.count > state.committedNext) return;
      yield place;
      from = place.offset + place.count;
    }
  }

  #evict(place: BatchPlace): void {
    this.evictedCount += removeArchived(this.#tables, place);
  }

  #drop(place: BatchPlace): number {
    const state = this.#tables.lanes.of('telemetry');
    this.#tables.batches.delete(place.key, place.key + 1);
    this.#tables.holes.add(state.index, place.offset, place.offset + place.count, place.sizeBytes, true);
    return place.count;
  }
}

/** Removes a lane's oldest archived batch, and gives how many messages it still had. */
export function removeArchived(tables: Tables, place: BatchPlace): number {
  const state = tables.lanes.states[laneOf(place.key)];
  const to = place.offset + place.count;
  const from = Math.max(place.offset, state.firstArchived);
  const count = to - from - tables.holes.count(state.index, from, to);
  tables.batches.delete(place.key, place.key + 1);
  tables.archive.delete(place.key, place.key + 1);
  state.firstArchived = Math.max(state.firstArchived, to);
  state.isChanged = true;
  tables.holes.forgetBelow(state.index, state.firstArchived);
  return count;
}

/** At least so many bytes come free with a row. */
function freedBytes(place: BatchPlace): number {
  const size = place.sizeBytes + 4 * place.count + ROW_OVERHEAD_BYTES;
  return size < PAGE_SIZE_BYTES ? size : Math.floor(size / PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES;
}
