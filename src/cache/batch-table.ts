/** The rows that hold the messages. A row is a run of one lane without gaps, at most about `BATCH_SIZE_MAX_BYTES` long. */
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
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
  sums: Buffer;
  data: Buffer;
}

/** In the order of the columns; `data` is null when it would exceed what the reader has room for. */
export type ReadColumns = [
  key: number,
  count: number,
  startBytes: number,
  acceptedAtMs: number,
  checksum: number,
  data: Buffer | null,
];

interface ReadBounds {
  start: number;
  end: number;
  limit: number;
  forced: number;
}

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
    this.#load = db.prepare(`SELECT ${PLACE}, checksum, sums, data FROM batch WHERE key = ?`);
    // The size of a blob stands in the row's header, so that a blob without room is not loaded.
    this.#read = db
      .prepare<[ReadBounds], ReadColumns>(
        `SELECT key, count, start_bytes, accepted_at_ms, checksum,
           CASE WHEN key = @forced OR start_bytes + length(data) <= @limit THEN data END
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
  ): void {
    const checksum = batchChecksum(key, count, startBytes, acceptedAtMs, data);
    this.#insert.run(key, count, startBytes, acceptedAtMs, checksum, sums, data);
  }

  /** The row with the highest first offset at or below `offset`. */
  floor(index: LaneIndex, offset: number): BatchPlace | undefined {
    return place(this.#floor.get(placeKey(index, offset), laneStart(index)));
  }

  /** The row with the lowest first offset at or above `offset`. */
  ceiling(index: LaneIndex, offset: number): BatchPlace | undefined {
    return place(this.#ceiling.get(placeKey(index, offset), laneEnd(index)));
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

  load(key: number): BatchRow | undefined {
    const row = this.#load.get(key);
    return row === undefined ? undefined : Object.assign(row, { offset: row.key - laneStart(laneOf(row.key)) });
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
  // Every key was made by `placeKey` out of one of the three indexes.
  return Math.floor(key / placeKey(1, 0)) as LaneIndex;
}

export function batchChecksum(
  key: number,
  count: number,
  startBytes: number,
  acceptedAtMs: number,
  data: Uint8Array,
): number {
  return crc32(data, crc32(`${key} ${count} ${startBytes} ${acceptedAtMs}`));
}

export function isIntact(row: BatchRow): boolean {
  return row.checksum === batchChecksum(row.key, row.count, row.startBytes, row.acceptedAtMs, row.data);
}

function place(columns: PlaceColumns | undefined): BatchPlace | undefined {
  return columns === undefined
    ? undefined
    : Object.assign(columns, { offset: columns.key - laneStart(laneOf(columns.key)) });
}
