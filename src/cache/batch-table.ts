/** The rows that hold the messages. A row is a run of one lane without gaps, at most about `BATCH_SIZE_MAX_BYTES` long. */
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
import { NorthError } from '../core/error.js';
import type { LaneIndex } from '../core/lane.js';
import { placeKey } from '../core/record.js';
import { laneEnd, laneStart } from './lane-table.js';

/**
 * A row is read whole, so this bounds what a read costs for one message. A single record that is larger has a row of
 * its own.
 */
export const BATCH_SIZE_MAX_BYTES = 1024 * 1024;

/** A row without its data. */
export interface BatchPlace {
  key: number;
  offset: number;
  count: number;
  startBytes: number;
  sizeBytes: number;
  acceptedAtMs: number;
}

export interface BatchRow extends BatchPlace {
  checksum: number;
  /** One CRC-32C per record, little-endian. */
  sums: Uint8Array;
  data: Uint8Array;
}

interface PlaceColumns {
  key: number;
  count: number;
  startBytes: number;
  sizeBytes: number;
  acceptedAtMs: number;
}

interface RowColumns extends PlaceColumns {
  checksum: number;
  sums: Buffer | null;
  data: Buffer | null;
}

/** In place of the data of a row for which the reader has no room. */
export const NO_ROOM = 0;

/** In the order of the columns. In a damaged row, each may be of any type. */
export type ReadColumns = [
  key: number,
  count: number,
  startBytes: number,
  acceptedAtMs: number,
  checksum: number,
  data: unknown,
];

interface ReadBounds {
  start: number;
  end: number;
  limit: number;
  forced: number;
}

const EMPTY = Buffer.alloc(0);

const PLACE = `key, count, start_bytes AS startBytes, length(data) AS sizeBytes, accepted_at_ms AS acceptedAtMs`;

export class BatchTable {
  readonly #insert: Database.Statement<[number, number, number, number, number, Uint8Array, Uint8Array]>;
  readonly #floor: Database.Statement<[number, number], PlaceColumns>;
  readonly #ceiling: Database.Statement<[number, number], PlaceColumns>;
  readonly #load: Database.Statement<[number], RowColumns>;
  readonly #read: Database.Statement<[ReadBounds], ReadColumns>;
  readonly #delete: Database.Statement<[number, number]>;

  constructor(db: Database.Database) {
    this.#insert = db.prepare(
      'INSERT INTO batch (key, count, start_bytes, accepted_at_ms, checksum, sums, data) VALUES (?, ?, ?, ?, ?, ?, ?)',
    );
    this.#floor = db.prepare(`SELECT ${PLACE} FROM batch WHERE key <= ? AND key >= ? ORDER BY key DESC LIMIT 1`);
    this.#ceiling = db.prepare(`SELECT ${PLACE} FROM batch WHERE key >= ? AND key < ? ORDER BY key LIMIT 1`);
    this.#load = db.prepare(
      `SELECT ${PLACE}, checksum, CAST(sums AS BLOB) AS sums, CAST(data AS BLOB) AS data FROM batch WHERE key = ?`,
    );
    // The size of a blob stands in the row's header, so that a blob without room is not loaded.
    this.#read = db
      .prepare<[ReadBounds], ReadColumns>(
        `SELECT key, count, start_bytes, accepted_at_ms, checksum,
           CASE WHEN key = @forced OR start_bytes + length(data) <= @limit THEN data ELSE ${NO_ROOM} END
         FROM batch WHERE key >= @start AND key < @end ORDER BY key`,
      )
      .raw();
    this.#delete = db.prepare('DELETE FROM batch WHERE key >= ? AND key < ?');
  }

  insert(
    key: number,
    count: number,
    startBytes: number,
    acceptedAtMs: number,
    sums: Uint8Array,
    data: Uint8Array,
    checksum = batchChecksum(key, count, startBytes, acceptedAtMs, data),
  ): void {
    this.#insert.run(key, count, startBytes, acceptedAtMs, checksum, sums, data);
  }

  /** The row with the highest first offset at or below `offset`. */
  floor(index: LaneIndex, offset: number): BatchPlace | undefined {
    const row = place(this.#floor.get(placeKey(index, offset), laneStart(index)));
    if (row !== undefined && row.offset > offset) throw treeError();
    return row;
  }

  /** The row with the lowest first offset at or above `offset`. */
  ceiling(index: LaneIndex, offset: number): BatchPlace | undefined {
    const row = place(this.#ceiling.get(placeKey(index, offset), laneEnd(index)));
    if (row !== undefined && row.offset < offset) throw treeError();
    return row;
  }

  /** The row that holds `offset`, or undefined. */
  holder(index: LaneIndex, offset: number): BatchPlace | undefined {
    const row = this.floor(index, offset);
    return row !== undefined && row.offset + row.count > offset ? row : undefined;
  }

  /** The row that holds `offset`, or the next one after it. */
  holderOrNext(index: LaneIndex, offset: number): BatchPlace | undefined {
    return this.holder(index, offset) ?? this.ceiling(index, offset);
  }

  /** The whole row. A damaged column of another type comes as an empty one or as 0. */
  load(key: number): BatchRow | undefined {
    const row = this.#load.get(key);
    if (row === undefined) return undefined;
    const data = row.data ?? EMPTY;
    return {
      key,
      offset: key - laneStart(laneOf(key)),
      count: wholeNumber(row.count),
      startBytes: wholeNumber(row.startBytes),
      sizeBytes: data.length,
      acceptedAtMs: wholeNumber(row.acceptedAtMs),
      checksum: row.checksum,
      sums: row.sums ?? EMPTY,
      data,
    };
  }

  /**
   * The rows of a lane from the key `start` on. `limit` is the highest `start_bytes` + size that is given with its data;
   * the row `forced` is given with it in any case.
   */
  read(start: number, limit: number, forced: number | undefined): IterableIterator<ReadColumns> {
    return this.#read.iterate({ start, end: laneEnd(laneOf(start)), limit, forced: forced ?? -1 });
  }

  /** Removes the rows whose key is at or above `from` and below `to`. */
  delete(from: number, to: number): void {
    this.#delete.run(from, to);
  }
}

export function laneOf(key: number): LaneIndex {
  // Every key was made by `placeKey` out of one of the three indexes; a damaged one counts to the nearest lane.
  return Math.min(2, Math.max(0, Math.floor(key / placeKey(1, 0)))) as LaneIndex;
}

/** Over the data first, so that a damaged column can be searched for without reading the data again. */
export function batchChecksum(
  key: number,
  count: number,
  startBytes: number,
  acceptedAtMs: number,
  data: Uint8Array,
): number {
  return columnsChecksum(key, count, startBytes, acceptedAtMs, crc32(data));
}

/** The checksum of a row whose data has the checksum `dataSum`. */
export function columnsChecksum(
  key: number,
  count: number,
  startBytes: number,
  acceptedAtMs: number,
  dataSum: number,
): number {
  return crc32(`${key} ${count} ${startBytes} ${acceptedAtMs}`, dataSum);
}

export function isIntact(row: BatchRow): boolean {
  return row.checksum === batchChecksum(row.key, row.count, row.startBytes, row.acceptedAtMs, row.data);
}

/** SQLite trusts the order of the keys; where it gives a row that was not asked for, they are damaged. */
function treeError(): NorthError {
  return new NorthError('CACHE_DAMAGED', 'the keys of the batches are out of order');
}

/** The value of a column that should be a whole number; 0 when damage made something else of it. */
export function wholeNumber(value: unknown): number {
  return Number.isSafeInteger(value) ? Number(value) : 0;
}

function place(columns: PlaceColumns | undefined): BatchPlace | undefined {
  return columns === undefined
    ? undefined
    : Object.assign(columns, { offset: columns.key - laneStart(laneOf(columns.key)) });
}
