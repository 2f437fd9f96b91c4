/**
 * Tells the readable records of a damaged batch from the others, and puts the others aside.
 *
 * Each record has a size and a checksum. Where a checksum fails, the next record is looked for: first where the failed
 * one says that it ends, then byte by byte. Readable runs become batches of their own under their old offsets; what is
 * between them goes to quarantine as it is, with its offsets, so that nothing is deleted and the rest is delivered.
 */
import { laneAt } from '../core/lane.js';
import { recordSizeAt } from '../core/record.js';
import { type BatchPlace, type BatchRow, isIntact, laneOf } from './batch-table.js';
import { crc32c } from './checksum.js';
import { laneStart } from './lane-table.js';
import type { Tables } from './tables.js';

/**
 * So much is checked at places that look like a record until the search is given up; a payload that is full of such
 * places must not stop everything else.
 */
const SEARCH_SIZE_MAX_BYTES = 64 * 1024 * 1024;

/** A run of records of a batch, by their number in it and by their bytes. */
export interface Fragment {
  isReadable: boolean;
  firstIndex: number;
  count: number;
  from: number;
  to: number;
}

/** Takes the bytes of a batch apart. The fragments follow each other without gaps, in numbers and in bytes. */
export function findFragments(data: Uint8Array, sums: Uint8Array): Fragment[] {
  const count = Math.floor(sums.length / 4);
  const view = new DataView(sums.buffer, sums.byteOffset, sums.length);
  const sumAt = (index: number): number => view.getUint32(index * 4, true);
  const isRecordAt = (at: number, index: number): number | undefined => {
    const size = recordSizeAt(data, at);
    return size !== undefined && crc32c(data, at, at + size) === sumAt(index) ? size : undefined;
  };
  const fragments: Fragment[] = [];
  const add = (isReadable: boolean, firstIndex: number, counted: number, from: number, to: number): void => {
    const last = fragments.at(-1);
    // Damaged records whose borders are known stay apart, so that each keeps its own offset.
    if (isReadable && last?.isReadable === true) {
      last.count += counted;
      last.to = to;
    } else fragments.push({ isReadable, firstIndex, count: counted, from, to });
  };
  let at = 0;
  let index = 0;
  while (index < count) {
    const size = isRecordAt(at, index);
    if (size !== undefined) {
      add(true, index, 1, at, at + size);
      at += size;
      index++;
      continue;
    }
    const claimed = recordSizeAt(data, at);
    const isBordered =
      claimed !== undefined &&
      (index + 1 === count ? at + claimed === data.length : isRecordAt(at + claimed, index + 1) !== undefined);
    const next = isBordered
      ? { at: at + claimed, index: index + 1 }
      : (findNext(data, at + 1, index + 1, count, sumAt) ?? { at: data.length, index: count });
    add(false, index, next.index - index, at, next.at);
    at = next.at;
    index = next.index;
  }
  return fragments;
}

/** The first place from `from` on where a record stands whose checksum is that of `fromIndex` or a later one. */
function findNext(
  data: Uint8Array,
  from: number,
  fromIndex: number,
  count: number,
  sumAt: (index: number) => number,
): { at: number; index: number } | undefined {
  const indexes = new Map<number, number>();
  for (let index = count - 1; index >= fromIndex; index--) indexes.set(sumAt(index), index);
  if (indexes.size === 0) return undefined;
  let leftBytes = SEARCH_SIZE_MAX_BYTES;
  for (let at = from; at < data.length; at++) {
    const size = recordSizeAt(data, at);
    if (size === undefined) continue;
    leftBytes -= size;
    if (leftBytes < 0) return undefined;
    const index = indexes.get(crc32c(data, at, at + size));
    if (index !== undefined) return { at, index };
  }
  return undefined;
}

/**
 * Replaces a damaged row by its readable parts and moves the others to quarantine; inside a transaction. Gives what to
 * report. Messages that are settled already are not quarantined: the broker has them.
 */
export function isolateDamage(tables: Tables, row: BatchRow, atMs: number): string {
  const index = laneOf(row.key);
  const state = tables.lanes.states[index];
  const start = laneStart(index);
  const nextRow = tables.batches.ceiling(index, row.offset + 1);
  const end = Math.min(nextRow?.offset ?? state.nextOffset, state.nextOffset);
  const fragments = findFragments(row.data, row.sums);
  const known = fragments.reduce((sum, fragment) => sum + fragment.count, 0);
  // The row's own count and the list of checksums can be damaged, too; the next row says where this one ends.
  if (row.offset + known < end && tables.holes.count(index, row.offset + known, end) < end - row.offset - known) {
    fragments.push({
      isReadable: false,
      firstIndex: known,
      count: end - row.offset - known,
      from: row.data.length,
      to: row.data.length,
    });
  }
  const { startBytes, acceptedAtMs } = plausibleColumns(tables, row, nextRow);
  tables.batches.delete(row.key, row.key + 1);
  const lost: string[] = [];
  for (const fragment of fragments) {
    const from = row.offset + fragment.firstIndex;
    const to = Math.min(from + fragment.count, end);
    if (to <= from) continue;
    const bytes = row.data.subarray(fragment.from, fragment.to);
    if (fragment.isReadable) {
      const sums = row.sums.subarray(fragment.firstIndex * 4, (fragment.firstIndex + to - from) * 4);
      tables.batches.insert(start + from, to - from, startBytes + fragment.from, acceptedAtMs, sums, bytes);
      continue;
    }
    const isSettled = to <= state.firstUnsettled || state.settled.some((range) => range.from <= from && to <= range.to);
    if (tables.holes.count(index, from, to) === to - from) continue;
    tables.holes.add(index, from, to, bytes.length);
    if (isSettled) continue;
    const offsets = to - from === 1 ? `offset ${from}` : `offsets ${from} to ${to - 1}`;
    lost.push(offsets);
    tables.quarantine.insert({
      lane: index,
      offset: from,
      originKey: start + from,
      count: to - from,
      acceptedAtMs,
      atMs,
      code: 'MESSAGE_UNREADABLE',
      reason: `Damaged in the cache: ${offsets} of the lane ${laneAt(index)}.`,
      record: bytes,
    });
  }
  return `A batch of the lane ${laneAt(index)} was damaged: ${
    lost.length === 0
      ? 'all its waiting messages could be read'
      : `${lost.join(', ')} could not be read and are in quarantine`
  }.`;
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

/** The readable runs of a row; for display, where nothing is written. */
export function readableFragments(row: BatchRow): Fragment[] {
  if (isIntact(row)) return [{ isReadable: true, firstIndex: 0, count: row.count, from: 0, to: row.data.length }];
  return findFragments(row.data, row.sums).filter((fragment) => fragment.isReadable);
}
