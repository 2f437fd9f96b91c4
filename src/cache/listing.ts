/**
 * Pages of messages for people. A page ends at the limit, or when it has looked at `LOOKED_AT_MAX_BYTES`, so that a rare
 * topic in a backlog of ten million messages holds up the session no longer than one batch does.
 *
 * A cursor is the place where the next page begins: `lane.offset`, or the id of the last row seen in quarantine.
 */
import { NorthError } from '../core/error.js';
import { LANES, type Lane, laneAt, laneIndex } from '../core/lane.js';
import { messageId } from '../core/message.js';
import { placeOfKey, readRecord, recordSizeAt, topicAt } from '../core/record.js';
import type { BatchRow } from './batch-table.js';
import { readableFragments } from './fragments.js';
import type { LaneState } from './lane-table.js';
import type { QuarantinedRow } from './quarantine-table.js';
import { RecordWalker } from './record-walker.js';
import type { ListPage, ListQuery, StoredMessage, StoreLimits } from './store.js';
import type { Tables } from './tables.js';
import { TopicPattern } from './topic-pattern.js';

const LOOKED_AT_MAX_BYTES = 2 * 1024 * 1024;
const LOOKED_AT_MAX_ROWS = 2000;
const LIMIT_MAX = 10_000;

export function listMessages(tables: Tables, limits: StoreLimits, query: ListQuery): ListPage {
  const page = new Page(tables, query);
  if (query.state === 'quarantined') return page.fillFromQuarantine();
  return query.state === 'waiting' ? page.fillFromWaiting() : page.fillFromArchive(limits.archiveEnabled);
}

class Page {
  readonly #tables: Tables;
  readonly #query: ListQuery;
  readonly #limit: number;
  readonly #pattern: TopicPattern | undefined;
  readonly #messages: StoredMessage[] = [];
  #leftBytes = LOOKED_AT_MAX_BYTES;
  #leftRows = LOOKED_AT_MAX_ROWS;

  constructor(tables: Tables, query: ListQuery) {
    this.#tables = tables;
    this.#query = query;
    this.#limit = Math.max(1, Math.min(LIMIT_MAX, Math.trunc(query.limit) || 1));
    this.#pattern = query.topic === undefined ? undefined : new TopicPattern(query.topic);
  }

  fillFromQuarantine(): ListPage {
    let id = this.#query.after === undefined ? 0 : readCursor(this.#query.after, /^(\d{1,15})$/)[0]!;
    for (;;) {
      const row = this.#tables.quarantine.next(id);
      if (row === undefined) return this.#end(undefined);
      id = row.id;
      this.#look(row.record.length);
      const lane = laneAt(row.lane);
      if ((this.#query.lane === undefined || this.#query.lane === lane) && this.#fitsQuarantined(row.record)) {
        this.#messages.push(quarantined(this.#tables.cacheId, lane, row));
      }
      if (this.#isFull) return this.#end(String(id));
    }
  }

  fillFromWaiting(): ListPage {
    return this.#fillFromLanes((state) => ({
      from: state.firstUnsettled,
      to: state.nextOffset,
      isListed: (offset) => !state.settled.some((range) => range.from <= offset && offset < range.to),
    }));
  }

  fillFromArchive(archiveEnabled: boolean): ListPage {
    return this.#fillFromLanes((state) => {
      const head = this.#tables.batches.holder(state.index, state.firstUnsettled);
      // What is published of the batch under way is shown, too, although the batch is not yet archived.
      const from = state.firstArchived < state.archivedTo || head === undefined ? state.firstArchived : head.offset;
      const to = archiveEnabled ? state.firstUnsettled : state.archivedTo;
      return {
        from,
        to,
        isListed: (offset) => offset < state.archivedTo || (head !== undefined && offset >= head.offset),
      };
    });
  }

  #fillFromLanes(
    extent: (state: LaneState) => { from: number; to: number; isListed: (offset: number) => boolean },
  ): ListPage {
    const { after, lane: only } = this.#query;
    const [firstLane, firstOffset] = after === undefined ? [0, 0] : readCursor(after, /^([0-2])\.(\d{1,16})$/);
    for (const lane of LANES) {
      if (laneIndex(lane) < firstLane! || (only !== undefined && only !== lane)) continue;
      const state = this.#tables.lanes.of(lane);
      const { from, to, isListed } = extent(state);
      let offset = Math.max(from, laneIndex(lane) === firstLane ? firstOffset! : 0);
      while (offset < to) {
        const place = this.#tables.batches.holderOrNext(state.index, offset);
        const row = place === undefined ? undefined : this.#tables.batches.load(place.key);
        if (row === undefined || row.offset >= to) break;
        this.#look(row.sizeBytes);
        offset = this.#fillFromBatch(state, row, Math.max(offset, row.offset), to, isListed);
        if (this.#isFull) return this.#end(`${state.index}.${offset}`);
      }
    }
    return this.#end(undefined);
  }

  /** Gives the offset to go on from. */
  #fillFromBatch(
    state: LaneState,
    row: BatchRow,
    from: number,
    to: number,
    isListed: (offset: number) => boolean,
  ): number {
    const rowEnd = row.offset + row.count;
    const holes = this.#tables.holes.touching(state.index, row.offset, rowEnd);
    const settledAtMs = this.#query.state === 'archived' ? this.#tables.archive.settledAtMs(row.key) : undefined;
    for (const fragment of readableFragments(row)) {
      const first = row.offset + fragment.firstIndex;
      const last = Math.min(first + fragment.count, to);
      const walker = new RecordWalker(row.data.subarray(fragment.from, fragment.to));
      for (let offset = Math.max(from, first); offset < last; offset++) {
        walker.seek(offset - first);
        if (!isListed(offset) || holes.some((hole) => hole.from <= offset && offset < hole.to)) continue;
        if (this.#pattern !== undefined && !this.#pattern.matches(topicAt(walker.data, walker.at))) continue;
        this.#messages.push(this.#stored(state.lane, offset, row.acceptedAtMs, settledAtMs, walker.record));
        if (this.#isFull) return offset + 1;
      }
    }
    return Math.min(rowEnd, to);
  }

  #stored(
    lane: Lane,
    offset: number,
    acceptedAtMs: number,
    atMs: number | undefined,
    record: Uint8Array,
  ): StoredMessage {
    return {
      state: this.#query.state,
      id: undefined,
      lane,
      offset,
      messageId: idOfRecord(this.#tables.cacheId, lane, offset, record),
      acceptedAtMs,
      atMs,
      code: undefined,
      reason: undefined,
      // A copy, so that one message does not hold a whole batch in memory.
      record: new Uint8Array(record),
      count: 1,
    };
  }

  /** What is in quarantine may be no record. */
  #fitsQuarantined(record: Uint8Array): boolean {
    if (this.#pattern === undefined) return true;
    return recordSizeAt(record, 0) !== undefined && this.#pattern.matches(topicAt(record, 0));
  }

  #look(sizeBytes: number): void {
    this.#leftBytes -= sizeBytes;
    this.#leftRows--;
  }

  get #isFull(): boolean {
    return this.#messages.length >= this.#limit || this.#leftBytes <= 0 || this.#leftRows <= 0;
  }

  #end(cursor: string | undefined): ListPage {
    return { messages: this.#messages, cursor };
  }
}

function readCursor(text: string, form: RegExp): number[] {
  const match = form.exec(text);
  if (match === null) throw new NorthError('REQUEST_INVALID', `"${text}" is not a cursor of this list.`);
  return match.slice(1).map(Number);
}

function quarantined(cacheId: string, lane: Lane, row: QuarantinedRow): StoredMessage {
  return {
    state: 'quarantined',
    id: row.id,
    lane,
    offset: row.offset ?? undefined,
    // Content that was never a message has no place to be named after.
    messageId: row.originKey === null ? `${cacheId}-q-${row.id}` : idOfKey(cacheId, row.originKey),
    acceptedAtMs: row.acceptedAtMs,
    atMs: row.atMs,
    code: row.code,
    reason: row.reason,
    record: row.record,
    count: row.count,
  };
}

function idOfRecord(cacheId: string, lane: Lane, offset: number, record: Uint8Array): string {
  const originKey = readRecord(record, 0)?.originKey;
  return originKey === undefined ? messageId(cacheId, lane, offset) : idOfKey(cacheId, originKey);
}

function idOfKey(cacheId: string, key: number): string {
  const origin = placeOfKey(key);
  return messageId(cacheId, laneAt(origin.lane), origin.offset);
}
