/**
 * Puts aside what cannot be read of a damaged batch. Readable runs become batches of their own under their old offsets;
 * what is between them goes to quarantine as it is, with its offsets, so that nothing is deleted and the rest is delivered.
 */
import { laneAt } from '../core/lane.js';
import { type BatchPlace, type BatchRow, laneOf } from './batch-table.js';
import { repairColumns } from './column-repair.js';
import { type Fragment, findFragments } from './fragments.js';
import { countCovered } from './hole-table.js';
import { type LaneState, laneStart } from './lane-table.js';
import { RecordWalker } from './record-walker.js';
import type { Tables } from './tables.js';

/**
 * Replaces a damaged row by its readable parts and moves the others to quarantine; inside a transaction. Gives what to
 * report. Messages that are settled already are not quarantined: the broker has them.
 */
export function isolateDamage(tables: Tables, row: BatchRow, atMs: number): string {
  tables.batches.delete(row.key, row.key + 1);
  const repaired = repairColumns(row);
  if (repaired !== undefined && isFree(tables, repaired)) {
    const { key, count, startBytes, acceptedAtMs } = repaired;
    tables.batches.insert(key, count, startBytes, acceptedAtMs, row.sums, row.data);
    return `A batch of the lane ${laneAt(laneOf(key))} had a damaged column, which was restored; all its messages are there.`;
  }
  const lost = new Isolation(tables, row, atMs).run();
  const what =
    lost.length === 0
      ? 'all its waiting messages could be read'
      : `what could not be read is in quarantine: ${lost.join(', ')}`;
  return `A batch of the lane ${laneAt(laneOf(row.key))} was damaged; ${what}.`;
}

function isFree(tables: Tables, { key, count }: { key: number; count: number }): boolean {
  const index = laneOf(key);
  const offset = key - laneStart(index);
  const next = tables.batches.holderOrNext(index, offset);
  const end = Math.min(next?.offset ?? Number.POSITIVE_INFINITY, tables.lanes.states[index].nextOffset);
  return offset + count <= end;
}

class Isolation {
  readonly #tables: Tables;
  readonly #row: BatchRow;
  readonly #atMs: number;
  readonly #state: LaneState;
  readonly #next: BatchPlace | undefined;
  /** No message of the row can lie at or above this. */
  readonly #end: number;
  readonly #lost: string[] = [];

  constructor(tables: Tables, row: BatchRow, atMs: number) {
    this.#tables = tables;
    this.#row = row;
    this.#atMs = atMs;
    this.#state = tables.lanes.states[laneOf(row.key)];
    this.#next = tables.batches.ceiling(this.#state.index, row.offset);
    this.#end = Math.min(this.#next?.offset ?? this.#state.nextOffset, this.#state.nextOffset);
  }

  /** Gives what could not be read. */
  run(): readonly string[] {
    const { data, sums, offset } = this.#row;
    const fragments = findFragments(data, sums);
    const { startBytes, acceptedAtMs } = plausibleColumns(this.#tables, this.#row, this.#next);
    for (const fragment of fragments) {
      if (fragment.isReadable) this.#keep(fragment, startBytes, acceptedAtMs);
      else
        this.#setAside(
          offset + fragment.firstIndex,
          fragment.count,
          data.subarray(fragment.from, fragment.to),
          acceptedAtMs,
        );
    }
    // The list of checksums can be damaged, too; the next row says where this one ended.
    const known = offset + Math.floor(sums.length / 4);
    if (known < this.#end) this.#setAside(known, this.#end - known, data.subarray(data.length), acceptedAtMs);
    return this.#lost;
  }

  #keep(fragment: Fragment, startBytes: number, acceptedAtMs: number): void {
    const { data, sums, offset } = this.#row;
    const first = offset + fragment.firstIndex;
    const count = Math.max(0, Math.min(fragment.count, this.#end - first));
    const walker = new RecordWalker(data.subarray(fragment.from, fragment.to));
    walker.seek(count);
    const to = count === fragment.count ? fragment.to : fragment.from + walker.at;
    if (count > 0) {
      const ownSums = sums.subarray(fragment.firstIndex * 4, (fragment.firstIndex + count) * 4);
      const bytes = data.subarray(fragment.from, to);
      this.#tables.batches.insert(
        laneStart(this.#state.index) + first,
        count,
        startBytes + fragment.from,
        acceptedAtMs,
        ownSums,
        bytes,
      );
    }
    // A key that was damaged beyond repair: these cannot be where the row says that they are.
    if (to < fragment.to) {
      this.#quarantine(undefined, fragment.count - count, data.subarray(to, fragment.to), acceptedAtMs);
    }
  }

  #setAside(from: number, count: number, bytes: Uint8Array, acceptedAtMs: number): void {
    const { holes } = this.#tables;
    const { index, firstUnsettled, settled } = this.#state;
    const to = Math.min(from + count, this.#end);
    if (to <= from || holes.count(index, from, to) === to - from) return;
    holes.add(index, from, to, bytes.length);
    const unsettledFrom = Math.max(from, firstUnsettled);
    if (to <= unsettledFrom || countCovered(unsettledFrom, to, settled) === to - unsettledFrom) return;
    this.#quarantine(unsettledFrom, to - unsettledFrom, bytes, acceptedAtMs);
  }

  #quarantine(offset: number | undefined, count: number, bytes: Uint8Array, acceptedAtMs: number): void {
    const { index, lane } = this.#state;
    const where = offset === undefined ? `${count} messages without a known offset` : describeOffsets(offset, count);
    this.#lost.push(where);
    this.#tables.quarantine.insert({
      lane: index,
      offset: offset ?? null,
      originKey: offset === undefined ? null : laneStart(index) + offset,
      count,
      acceptedAtMs,
      atMs: this.#atMs,
      code: 'MESSAGE_UNREADABLE',
      reason: `Damaged in the cache: ${where} of the lane ${lane}.`,
      record: bytes,
    });
  }
}

/** `offset 17`, `offsets 17 to 21`. */
export function describeOffsets(from: number, count: number): string {
  return count === 1 ? `offset ${from}` : `offsets ${from} to ${from + count - 1}`;
}

/** The row's other columns are as doubtful as its data; those of its neighbours say between what they must lie. */
function plausibleColumns(
  tables: Tables,
  row: BatchRow,
  next: BatchPlace | undefined,
): { startBytes: number; acceptedAtMs: number } {
  const before = row.offset === 0 ? undefined : tables.batches.holder(laneOf(row.key), row.offset - 1);
  const earliestMs = before?.acceptedAtMs ?? 0;
  const latestMs = Math.max(earliestMs, next?.acceptedAtMs ?? Number.MAX_SAFE_INTEGER);
  return {
    startBytes: before === undefined ? row.startBytes : before.startBytes + before.sizeBytes,
    acceptedAtMs: Math.min(Math.max(row.acceptedAtMs, earliestMs), latestMs),
  };
}
