/**
 * Finds out what the columns of a damaged row were, when its data is intact.
 *
 * Its checksum covers the columns and the data. With one bit of one column flipped, which is what decaying memory and
 * disks do most, there are few values that it can have had, and the checksum says which.
 */
import { crc32 } from 'node:zlib';
import { type BatchRow, columnsChecksum } from './batch-table.js';

export interface RowColumns {
  key: number;
  count: number;
  startBytes: number;
  acceptedAtMs: number;
}

/** Integers beyond are stored by nobody here. */
const BITS = 53;

/** The columns that the checksum fits, or undefined when none are found; then the data may be damaged, too. */
export function repairColumns(row: BatchRow): RowColumns | undefined {
  const dataSum = crc32(row.data);
  const columns: RowColumns = {
    key: row.key,
    count: row.count,
    startBytes: row.startBytes,
    acceptedAtMs: row.acceptedAtMs,
  };
  const fits = ({ key, count, startBytes, acceptedAtMs }: RowColumns): boolean =>
    columnsChecksum(key, count, startBytes, acceptedAtMs, dataSum) === row.checksum;
  if (fits(columns)) return columns;
  // As many messages as checksums, whatever else was done to the count.
  const counted = { ...columns, count: row.sums.length / 4 };
  if (fits(counted)) return counted;
  for (const name of ['key', 'count', 'startBytes', 'acceptedAtMs'] as const) {
    for (let bit = 0; bit < BITS; bit++) {
      for (const sign of [1, -1]) {
        const changed = { ...columns, [name]: columns[name] + sign * 2 ** bit };
        if (fits(changed)) return changed;
      }
    }
  }
  return undefined;
}
