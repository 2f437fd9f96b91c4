/**
 * What requests for the quarantine and for what has been kept for its time do to a cache, checked against what they were
 * to do; and what is in quarantine and in the archive, read back as people see it.
 */
import type Database from 'better-sqlite3';
import type { ListQuery, Store, StoredMessage, StoreLimits, StoreReply, StoreRequest } from '../../src/cache/store.js';
import { LANES, type Lane, laneAt, laneIndex } from '../../src/core/lane.js';
import { placeKey, readRecord } from '../../src/core/record.js';
import { type Key, keyIn, keyOf } from './key.js';
import type { Places } from './places.js';
import type { StoredProgress } from './stored-progress.js';

const PAGE_COUNT = 1000;

export class QuarantineWatch {
  /** Drafts in quarantine, of which no message could be made. */
  draftCount = 0;
  /** How much was put back so far, and how much was removed or had been there for its time. */
  retriedCount = 0;
  goneCount = 0;
  readonly #stored: StoredProgress;
  readonly #places: Places;
  readonly #problems: string[];

  constructor(stored: StoredProgress, places: Places, problems: string[]) {
    this.#stored = stored;
    this.#places = places;
    this.#problems = problems;
  }

  /** A transaction is durable. Gives how many messages were put back, per lane. */
  note(
    db: Database.Database,
    requests: readonly StoreRequest[],
    replies: readonly StoreReply[],
    limits: StoreLimits,
  ): Record<Lane, number> {
    const retried: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };
    let goneCount = 0;
    let sweptAtMs: number | undefined;
    let removesAny = false;
    for (const [i, reply] of replies.entries()) {
      const request = requests[i];
      if (reply.kind === 'retried') {
        for (const { lane, from, to } of reply.ranges) {
          this.#noteRetried(db, lane, from, to);
          retried[lane] += to - from;
        }
        goneCount += reply.count;
      } else if (reply.kind === 'removed') {
        goneCount += reply.count;
        removesAny = true;
      } else if (reply.kind === 'swept' && request?.kind === 'sweep') {
        goneCount += reply.quarantinedCount;
        sweptAtMs = request.atMs;
      }
    }
    if (sweptAtMs !== undefined && limits.quarantineRetentionMs > 0) this.#restamp(sweptAtMs);
    const putBackCount = retried.command + retried.alert + retried.telemetry;
    if (goneCount > 0) this.#noteGone(db, goneCount - putBackCount, removesAny, sweptAtMs, limits);
    return retried;
  }

  /** A time in the future was written by a clock that has been set back since. */
  #restamp(nowMs: number): void {
    for (const [key, atMs] of this.#stored.quarantined) {
      if (atMs > nowMs) this.#stored.quarantined.set(key, Math.trunc(nowMs));
    }
  }

  #noteRetried(db: Database.Database, lane: Lane, from: number, to: number): void {
    const index = laneIndex(lane);
    // In the same row there may be, before and after them, what was appended in the same transaction.
    const rows = db
      .prepare<[number, number], { key: number; data: Buffer }>(
        'SELECT key, data FROM batch WHERE key + count > ? AND key < ? ORDER BY key',
      )
      .all(placeKey(index, from), placeKey(index, to));
    for (const { key, data } of rows) {
      let offset = key - placeKey(index, 0);
      for (const name of namesIn(data)) {
        if (offset >= from && offset < to) this.#putBack(name, lane, offset);
        offset++;
      }
    }
    for (let offset = from; offset < to; offset++) {
      if (this.#places.nameAt(lane, offset) === undefined) this.#problems.push(`Nothing was put back at ${offset}.`);
    }
  }

  #putBack(name: Key, lane: Lane, offset: number): void {
    const former = this.#places.of(name);
    const formerKey = former === undefined ? '' : keyOf(former.lane, former.offset);
    if (!this.#stored.quarantined.delete(formerKey)) this.#problems.push(`${name} is retried and was not set aside.`);
    this.retriedCount++;
    this.#places.set(name, { lane, offset }, true);
  }

  /** What was retried has been taken out already; the rest was removed, or has been there for its time. */
  #noteGone(
    db: Database.Database,
    goneCount: number,
    removesAny: boolean,
    sweptAtMs: number | undefined,
    limits: StoreLimits,
  ): void {
    const rows = db.prepare<[], { lane: number; offset: number | null }>('SELECT lane, "offset" FROM quarantine').all();
    const present = new Set<Key>();
    let draftCount = 0;
    let foundCount = 0;
    for (const { lane, offset } of rows) {
      if (offset === null) draftCount++;
      else present.add(keyOf(laneAt(lane as 0 | 1 | 2), offset));
    }
    for (const [key, atMs] of this.#stored.quarantined) {
      if (present.has(key)) continue;
      this.#stored.quarantined.delete(key);
      foundCount++;
      const isAged = sweptAtMs !== undefined && atMs + limits.quarantineRetentionMs <= sweptAtMs;
      if (!removesAny && !isAged) this.#problems.push(`${key} left quarantine before its time.`);
    }
    if (present.size !== this.#stored.quarantined.size) {
      this.#problems.push(`${present.size} are in quarantine; ${this.#stored.quarantined.size} should be.`);
    }
    if (draftCount > this.draftCount) this.#problems.push(`${draftCount} drafts are there of ${this.draftCount}.`);
    foundCount += this.draftCount - draftCount;
    if (foundCount !== goneCount) this.#problems.push(`${foundCount} left quarantine, and ${goneCount} are counted.`);
    this.goneCount += foundCount;
    this.draftCount = draftCount;
  }

  /** What people find in quarantine: each message with its bytes, its code and its reason. */
  auditQuarantine(store: Store): string[] {
    if (this.#stored.quarantined.size === 0) return [];
    const problems: string[] = [];
    const found = new Map<Key, StoredMessage>();
    for (const one of listed(store, { state: 'quarantined', limit: PAGE_COUNT })) {
      if (one.offset !== undefined) found.set(keyOf(one.lane, one.offset), one);
    }
    for (const key of this.#stored.quarantined.keys()) {
      const one = found.get(key);
      const reason = this.#stored.quarantine.get(key);
      if (one?.offset === undefined || reason === undefined) {
        problems.push(`${key} went to quarantine and is not there.`);
        continue;
      }
      const name = this.#places.nameAt(one.lane, one.offset);
      if (nameIn(one.record) !== name) problems.push(`${key} in quarantine has the record of ${nameIn(one.record)}.`);
      if (one.code !== reason.code || one.reason !== reason.reason) {
        problems.push(`${key} in quarantine has the code ${one.code}, not ${reason.code}, or another reason.`);
      }
    }
    return problems;
  }

  /** @param isWhole everything that is settled must be there, because nothing of it has aged or given way. */
  auditArchive(store: Store, isWhole: boolean, firstOffset: number): string[] {
    const problems: string[] = [];
    const found = new Set<Key>();
    for (const { lane, offset, record, atMs } of listed(store, { state: 'archived', limit: PAGE_COUNT })) {
      const key = keyOf(lane, offset ?? -1);
      found.add(key);
      // Only of a batch that is not published as a whole, it is not known when.
      if (isWhole && atMs === undefined) problems.push(`${key} is in the archive without its time.`);
      if (nameIn(record) !== this.#places.nameAt(lane, offset ?? -1))
        problems.push(`${key} in the archive is another.`);
      if (this.#stored.quarantine.has(key)) problems.push(`${key} is in the archive and went to quarantine.`);
      if (offset === undefined || !this.#stored.isSettled(lane, offset)) problems.push(`${key} is archived unsettled.`);
    }
    if (!isWhole) return problems;
    for (const lane of LANES) {
      for (let offset = firstOffset; offset < this.#stored.progress.lanes[lane].firstUnsettled; offset++) {
        const key = keyOf(lane, offset);
        if (found.has(key) || this.#stored.quarantine.has(key) || this.#stored.dropped.has(key)) continue;
        problems.push(`${key} is settled and not in the archive.`);
      }
    }
    return problems;
  }
}

function* listed(store: Store, query: ListQuery): Generator<StoredMessage> {
  let after: string | undefined;
  do {
    const page = store.list(after === undefined ? query : { ...query, after });
    yield* page.messages;
    after = page.cursor;
  } while (after !== undefined);
}

function nameIn(record: Uint8Array): Key | undefined {
  const view = readRecord(record, 0);
  return view === undefined ? undefined : keyIn(view.payload);
}

function* namesIn(data: Uint8Array): Generator<Key> {
  for (let at = 0; at < data.length; ) {
    const record = readRecord(data, at);
    if (record === undefined) throw new Error('What was put back is no record.');
    yield keyIn(record.payload);
    at += record.sizeBytes;
  }
}
