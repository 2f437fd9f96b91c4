/**
 * The store as simply as it can be written down: arrays and maps in memory, everything copied before each transaction.
 * The SQLite store is compared with it, request by request.
 */
import type {
  AppendedRange,
  AppendRequest,
  Batch,
  ListPage,
  ListQuery,
  QuarantineQuery,
  RemoveRequest,
  RetryRequest,
  SaveRequest,
  SessionIdentity,
  SessionProgress,
  Store,
  StoredMessage,
  StoreLimits,
  StoreReply,
  StoreRequest,
  StoreStatus,
} from '../../src/cache/store.js';
import { NorthError } from '../../src/core/error.js';
import { LANES, type Lane, laneAt, laneIndex } from '../../src/core/lane.js';
import { messageId, type OffsetRange } from '../../src/core/message.js';
import { placeKey, placeOfKey, readRecord, recordSizeAt, withOrigin, withTopic } from '../../src/core/record.js';

interface Row {
  first: number;
  acceptedAtMs: number;
  records: Uint8Array[];
  /** Set when the row is settled and kept. */
  settledAtMs: number | undefined;
}

interface LaneModel {
  next: number;
  firstUnsettled: number;
  boundOffset: number;
  settled: OffsetRange[];
  rows: Row[];
  quarantinedOffsets: Set<number>;
}

interface Entry {
  id: number;
  lane: Lane;
  offset: number | undefined;
  originKey: number | undefined;
  acceptedAtMs: number;
  atMs: number;
  code: string;
  reason: string;
  record: Uint8Array;
}

interface State {
  lanes: Record<Lane, LaneModel>;
  received: (OffsetRange & { lane: Lane })[];
  identity: SessionIdentity | undefined;
  quarantine: Entry[];
  nextId: number;
  keys: Map<string, { contentHash: string; answer: string; expiresAtMs: number }>;
  positions: Map<string, string>;
}

const MERGED_WITHIN_MS = 1000;

export class ModelStore implements Store {
  readonly cacheId = 'ffffffff';
  #state: State = {
    lanes: { command: emptyLane(), alert: emptyLane(), telemetry: emptyLane() },
    received: [],
    identity: undefined,
    quarantine: [],
    nextId: 1,
    keys: new Map(),
    positions: new Map(),
  };
  #limits: StoreLimits;
  /** The row that the transaction under way appends to, per lane. */
  #open: Partial<Record<Lane, Row>> = {};
  #committedNext: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };

  constructor(limits: StoreLimits) {
    this.#limits = limits;
  }

  execute(requests: readonly StoreRequest[]): StoreReply[] {
    const before = structuredClone(this.#state);
    this.#open = {};
    for (const lane of LANES) this.#committedNext[lane] = before.lanes[lane].next;
    try {
      return requests.map((request) => this.#executeOne(request));
    } catch (error) {
      this.#state = before;
      throw error;
    }
  }

  read(lane: Lane, fromOffset: number, sizeBytesMax: number): Batch[] {
    const { rows, firstUnsettled } = this.#state.lanes[lane];
    const from = Math.max(fromOffset, firstUnsettled);
    const batches: Batch[] = [];
    let left = sizeBytesMax;
    for (const row of rows) {
      if (row.settledAtMs !== undefined || endOf(row) <= from) continue;
      const data = Buffer.concat(row.records);
      if (batches.length > 0 && data.length > left) break;
      left -= data.length;
      batches.push({ lane, firstOffset: row.first, count: row.records.length, acceptedAtMs: row.acceptedAtMs, data });
    }
    return batches;
  }

  progress(): SessionProgress {
    const of = (lane: Lane) => {
      const { firstUnsettled, boundOffset, settled } = this.#state.lanes[lane];
      return { firstUnsettled, boundOffset, settled: settled.map(({ from, to }) => ({ from, to })) };
    };
    return {
      lanes: { command: of('command'), alert: of('alert'), telemetry: of('telemetry') },
      received: structuredClone(this.#state.received),
    };
  }

  identity(): SessionIdentity | undefined {
    return this.#state.identity;
  }

  position(source: string): string | undefined {
    return this.#state.positions.get(source);
  }

  /** Cursors of its own: how many messages were given before. */
  list(query: ListQuery): ListPage {
    const fits = (record: Uint8Array) => query.topic === undefined || globFits(query.topic, topicOf(record));
    const messages = this.#messages(query.state).filter(
      (one) => (query.lane === undefined || query.lane === one.lane) && fits(one.record),
    );
    const from = query.after === undefined ? 0 : Number(query.after);
    if (Number.isNaN(from)) throw new NorthError('REQUEST_INVALID', 'no cursor');
    const to = from + query.limit;
    return { messages: messages.slice(from, to), cursor: to < messages.length ? String(to) : undefined };
  }

  status(): StoreStatus {
    const byLane = (count: (lane: LaneModel) => number) => {
      const { command, alert, telemetry } = this.#state.lanes;
      return { command: count(command), alert: count(alert), telemetry: count(telemetry) };
    };
    const heads = LANES.map((lane) => this.#state.lanes[lane]).flatMap((lane) => {
      const rows = lane.rows.filter((row) => endOf(row) > lane.firstUnsettled);
      return waitingOffsets(lane).length === 0 ? [] : [{ lane, rows }];
    });
    return {
      cacheId: this.cacheId,
      nextOffsets: byLane((lane) => lane.next),
      waitingCounts: byLane((lane) => waitingOffsets(lane).length),
      waitingSizeBytes: heads.reduce((sum, { lane, rows }) => sum + sizeOf(lane, rows), 0),
      oldestAcceptedAtMs: heads.length === 0 ? undefined : Math.min(...heads.map(({ rows }) => rows[0]!.acceptedAtMs)),
      quarantinedCount: this.#state.quarantine.length,
      archivedCount: this.#messages('archived').length,
      archiveEvictedCount: 0,
      sizeBytes: 0,
      findings: [],
    };
  }

  setLimits(limits: StoreLimits): void {
    this.#limits = limits;
  }

  close(): void {}

  #executeOne(request: StoreRequest): StoreReply {
    switch (request.kind) {
      case 'append':
        return this.#append(request);
      case 'save':
        return this.#save(request);
      case 'retry':
        return this.#retry(request);
      case 'remove': {
        const { entries, nextAfterId } = this.#meant(request);
        this.#state.quarantine = this.#state.quarantine.filter((entry) => !entries.includes(entry));
        return { kind: 'removed', count: entries.length, nextAfterId };
      }
      case 'sweep':
        return this.#sweep(request.atMs);
    }
  }

  #append(request: AppendRequest): StoreReply {
    const { idempotency, acceptedAtMs } = request;
    const known = idempotency === undefined ? undefined : this.#state.keys.get(idempotency.key);
    if (known !== undefined && known.expiresAtMs > acceptedAtMs) {
      if (known.contentHash !== idempotency!.contentHash) {
        return { kind: 'refused', code: 'IDEMPOTENCY_KEY_REUSED', message: '' };
      }
      const { answer } = known;
      return { kind: 'appended', ranges: [], quarantinedIds: [], replayed: true, answer, droppedCount: 0 };
    }
    const ranges: AppendedRange[] = [];
    for (const { lane, count, data } of request.batches) {
      const records = recordsOf(data);
      if (records.length !== count) throw new RangeError('wrong count');
      if (count === 0) continue;
      const from = this.#state.lanes[lane].next;
      this.#push(lane, records, acceptedAtMs);
      ranges.push({ lane, from, to: from + count });
    }
    const quarantinedIds = request.quarantined.map((draft) =>
      this.#quarantine({ ...draft, offset: undefined, originKey: undefined, acceptedAtMs, atMs: acceptedAtMs }),
    );
    if (idempotency !== undefined) {
      const { key, contentHash, answer, expiresAtMs } = idempotency;
      this.#state.keys.set(key, { contentHash, answer, expiresAtMs });
    }
    if (request.position !== undefined) this.#state.positions.set(request.position.source, request.position.value);
    return { kind: 'appended', ranges, quarantinedIds, replayed: false, answer: idempotency?.answer, droppedCount: 0 };
  }

  #push(lane: Lane, records: Uint8Array[], acceptedAtMs: number): void {
    const model = this.#state.lanes[lane];
    let row = this.#open[lane];
    if (row === undefined || Math.abs(acceptedAtMs - row.acceptedAtMs) >= MERGED_WITHIN_MS) {
      row = { first: model.next, acceptedAtMs, records: [], settledAtMs: undefined };
      model.rows.push(row);
      this.#open[lane] = row;
    }
    row.records.push(...records);
    model.next += records.length;
  }

  #quarantine(entry: Omit<Entry, 'id'>): number {
    const id = this.#state.nextId++;
    this.#state.quarantine.push({ ...entry, id });
    return id;
  }

  #save(request: SaveRequest): StoreReply {
    for (const lane of LANES) {
      const { firstUnsettled, boundOffset, settled } = request.progress.lanes[lane];
      const model = this.#state.lanes[lane];
      let at = firstUnsettled;
      const inOrder = settled.every((range) => {
        const fits = range.from >= at && range.to > range.from && range.to <= this.#committedNext[lane];
        at = range.to;
        return fits;
      });
      if (
        firstUnsettled < model.firstUnsettled ||
        firstUnsettled > this.#committedNext[lane] ||
        boundOffset < firstUnsettled ||
        !Number.isSafeInteger(firstUnsettled) ||
        !inOrder
      ) {
        throw new RangeError('impossible progress');
      }
    }
    for (const { lane, offset, code, reason } of request.quarantine) {
      const model = this.#state.lanes[lane];
      const row = model.rows.find((one) => one.first <= offset && offset < endOf(one));
      if (offset < model.firstUnsettled || row === undefined || model.quarantinedOffsets.has(offset)) continue;
      const record = row.records[offset - row.first]!;
      const originKey = readRecord(record, 0)?.originKey ?? placeKey(laneIndex(lane), offset);
      const { acceptedAtMs } = row;
      this.#quarantine({ lane, offset, originKey, acceptedAtMs, atMs: request.atMs, code, reason, record });
      model.quarantinedOffsets.add(offset);
    }
    for (const lane of LANES) {
      const model = this.#state.lanes[lane];
      const { firstUnsettled, boundOffset, settled } = request.progress.lanes[lane];
      Object.assign(model, { firstUnsettled, boundOffset, settled: structuredClone(settled) });
      for (const row of model.rows) {
        if (endOf(row) <= firstUnsettled && row.settledAtMs === undefined) {
          row.settledAtMs = this.#limits.archiveEnabled ? request.atMs : Number.NEGATIVE_INFINITY;
        }
      }
      model.rows = model.rows.filter((row) => row.settledAtMs !== Number.NEGATIVE_INFINITY);
    }
    this.#state.received = structuredClone([...request.progress.received]);
    if (request.identity !== undefined) this.#state.identity = request.identity ?? undefined;
    return { kind: 'saved' };
  }

  #retry(request: RetryRequest): StoreReply {
    const { entries, nextAfterId } = this.#meant(request);
    const from = { command: 0, alert: 0, telemetry: 0 };
    for (const lane of LANES) from[lane] = this.#state.lanes[lane].next;
    let count = 0;
    for (const entry of entries) {
      if (request.topic === undefined && topicOf(entry.record) === '') continue;
      const record = request.topic === undefined ? entry.record : withTopic(entry.record, request.topic);
      this.#push(
        entry.lane,
        [entry.originKey === undefined ? record : withOrigin(record, entry.originKey)],
        request.atMs,
      );
      this.#state.quarantine = this.#state.quarantine.filter((one) => one !== entry);
      count++;
    }
    const ranges: AppendedRange[] = [];
    for (const lane of LANES) {
      const to = this.#state.lanes[lane].next;
      if (to > from[lane]) ranges.push({ lane, from: from[lane], to });
    }
    return { kind: 'retried', ranges, count, nextAfterId };
  }

  #meant(request: RetryRequest | RemoveRequest): { entries: Entry[]; nextAfterId: number | undefined } {
    const { afterId, countMax } = request.part ?? { afterId: 0, countMax: Number.POSITIVE_INFINITY };
    const which: QuarantineQuery = request.which;
    const all = this.#state.quarantine.filter((entry) => {
      if (entry.id <= afterId) return false;
      if ('ids' in which) return which.ids.includes(entry.id);
      return 'codes' in which ? which.codes.includes(entry.code) : true;
    });
    const entries = all.slice(0, countMax);
    return { entries, nextAfterId: all.length < countMax ? undefined : entries.at(-1)?.id };
  }

  #sweep(atMs: number): StoreReply {
    const { quarantineRetentionMs, archiveRetentionMs } = this.#limits;
    for (const [key, stored] of this.#state.keys) if (stored.expiresAtMs <= atMs) this.#state.keys.delete(key);
    // A time in the future cannot be true; it counts as now.
    for (const entry of this.#state.quarantine) {
      if (quarantineRetentionMs > 0 && entry.atMs > atMs) entry.atMs = atMs;
    }
    for (const row of LANES.flatMap((lane) => this.#state.lanes[lane].rows)) {
      if (archiveRetentionMs > 0 && row.settledAtMs !== undefined && row.settledAtMs > atMs) row.settledAtMs = atMs;
    }
    const quarantinedBefore = this.#state.quarantine.length;
    if (quarantineRetentionMs > 0) {
      this.#state.quarantine = this.#state.quarantine.filter((entry) => entry.atMs > atMs - quarantineRetentionMs);
    }
    let archivedCount = 0;
    for (const lane of LANES) {
      const model = this.#state.lanes[lane];
      for (;;) {
        const row = model.rows[0];
        if (archiveRetentionMs === 0 || row?.settledAtMs === undefined) break;
        if (row.settledAtMs > atMs - archiveRetentionMs) break;
        archivedCount += row.records.filter((_, index) => !model.quarantinedOffsets.has(row.first + index)).length;
        model.rows.shift();
      }
    }
    const quarantinedCount = quarantinedBefore - this.#state.quarantine.length;
    return { kind: 'swept', archivedCount, quarantinedCount, isUnfinished: false };
  }

  #messages(state: StoredMessage['state']): StoredMessage[] {
    if (state === 'quarantined') {
      return this.#state.quarantine.map((entry) => ({
        state,
        id: entry.id,
        lane: entry.lane,
        offset: entry.offset,
        messageId: entry.originKey === undefined ? `${this.cacheId}-q-${entry.id}` : this.#idOf(entry.originKey),
        acceptedAtMs: entry.acceptedAtMs,
        atMs: entry.atMs,
        code: entry.code,
        reason: entry.reason,
        record: entry.record,
        count: 1,
      }));
    }
    return LANES.flatMap((lane) => {
      const model = this.#state.lanes[lane];
      const waiting = new Set(waitingOffsets(model));
      return model.rows.flatMap((row) =>
        row.records.flatMap((record, index): StoredMessage[] => {
          const offset = row.first + index;
          const isArchived =
            offset < model.firstUnsettled &&
            !model.quarantinedOffsets.has(offset) &&
            (row.settledAtMs !== undefined || this.#limits.archiveEnabled);
          if (state === 'waiting' ? !waiting.has(offset) : !isArchived) return [];
          const originKey = readRecord(record, 0)?.originKey ?? placeKey(laneIndex(lane), offset);
          return [
            {
              state,
              id: undefined,
              lane,
              offset,
              messageId: this.#idOf(originKey),
              acceptedAtMs: row.acceptedAtMs,
              atMs: row.settledAtMs,
              code: undefined,
              reason: undefined,
              record,
              count: 1,
            },
          ];
        }),
      );
    });
  }

  #idOf(originKey: number): string {
    const { lane, offset } = placeOfKey(originKey);
    return messageId(this.cacheId, laneAt(lane), offset);
  }
}

function emptyLane(): LaneModel {
  return { next: 0, firstUnsettled: 0, boundOffset: 0, settled: [], rows: [], quarantinedOffsets: new Set() };
}

function endOf(row: Row): number {
  return row.first + row.records.length;
}

function waitingOffsets(lane: LaneModel): number[] {
  const offsets: number[] = [];
  for (let offset = lane.firstUnsettled; offset < lane.next; offset++) {
    const isSettled = lane.settled.some((range) => range.from <= offset && offset < range.to);
    if (!isSettled && !lane.quarantinedOffsets.has(offset)) offsets.push(offset);
  }
  return offsets;
}

/** Rows of which a part is settled count whole, but for what is in quarantine. */
function sizeOf(lane: LaneModel, rows: readonly Row[]): number {
  let size = 0;
  for (const row of rows) {
    for (const [index, record] of row.records.entries()) {
      if (!lane.quarantinedOffsets.has(row.first + index)) size += record.length;
    }
  }
  return size;
}

function recordsOf(data: Uint8Array): Uint8Array[] {
  const records: Uint8Array[] = [];
  for (let at = 0; at < data.length; ) {
    const size = recordSizeAt(data, at);
    if (size === undefined) throw new RangeError('malformed');
    records.push(Uint8Array.from(data.subarray(at, at + size)));
    at += size;
  }
  return records;
}

function topicOf(record: Uint8Array): string {
  return Buffer.from(readRecord(record, 0)?.topic ?? []).toString();
}

function globFits(pattern: string, topic: string): boolean {
  const escaped = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${escaped.join('.*')}$`, 's').test(topic);
}
