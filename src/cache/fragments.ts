/**
 * Tells the readable records of a damaged batch from the others.
 *
 * Each record has a size and a checksum. Where a checksum fails, the next record is looked for: first where the failed
 * one says that it ends, then byte by byte.
 */
import { recordSizeAt } from '../core/record.js';
import { type BatchRow, isIntact } from './batch-table.js';
import { crc32c } from './checksum.js';

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

/** The readable runs of a row; for display, where nothing is written. */
export function readableFragments(row: BatchRow): Fragment[] {
  if (isIntact(row)) return [{ isReadable: true, firstIndex: 0, count: row.count, from: 0, to: row.data.length }];
  return findFragments(row.data, row.sums).filter((fragment) => fragment.isReadable);
}
