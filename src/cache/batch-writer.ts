/**
 * Collects what a transaction appends and writes it as rows.
 *
 * What several requests append to one lane goes into one row (group commit), and what is larger than a row should be is
 * split between two records. Each record's checksum is taken on the way, and its size checked, so that a batch whose
 * count is wrong can never shift the offsets of what follows.
 */
import { placeKey, recordSizeAt } from '../core/record.js';
import { BATCH_SIZE_MAX_BYTES } from './batch-table.js';
import { crc32c } from './checksum.js';
import type { LaneState } from './lane-table.js';
import type { Tables } from './tables.js';

/** Requests that were accepted further apart than this do not share a row, which has one time of acceptance. */
const MERGED_WITHIN_MS = 1000;

export class BatchWriter {
  readonly #rows: readonly [OpenRow, OpenRow, OpenRow];

  constructor(tables: Tables) {
    this.#rows = [new OpenRow(tables), new OpenRow(tables), new OpenRow(tables)];
  }

  /**
   * Appends records to a lane and moves its cursors. Throws a RangeError when the bytes are not exactly `count` records;
   * the transaction must then be rolled back.
   */
  add(state: LaneState, data: Uint8Array, count: number, acceptedAtMs: number): void {
    const row = this.#rows[state.index];
    if (row.count > 0 && Math.abs(acceptedAtMs - row.acceptedAtMs) >= MERGED_WITHIN_MS) row.write();
    let at = 0;
    let index = 0;
    let pieceAt = 0;
    let pieceIndex = 0;
    while (at < data.length) {
      const size = recordSizeAt(data, at);
      if (size === undefined) throw new RangeError(`Record ${index} of the batch is malformed at byte ${at}.`);
      const filled = row.sizeBytes + at - pieceAt;
      if (filled > 0 && filled + size > BATCH_SIZE_MAX_BYTES) {
        row.take(state, data.subarray(pieceAt, at), index - pieceIndex, acceptedAtMs);
        row.write();
        pieceAt = at;
        pieceIndex = index;
      }
      row.addSum(crc32c(data, at, at + size));
      at += size;
      index++;
    }
    if (index !== count) throw new RangeError(`The batch has ${index} records, and ${count} were announced.`);
    row.take(state, pieceAt === 0 ? data : data.subarray(pieceAt), index - pieceIndex, acceptedAtMs);
  }

  /** Writes what is collected; before COMMIT. */
  flush(): void {
    for (const row of this.#rows) row.write();
  }

  /** Forgets what is collected; with a rollback. */
  discard(): void {
    for (const row of this.#rows) row.clear();
  }
}

/** A row that is being collected. */
class OpenRow {
  count = 0;
  sizeBytes = 0;
  acceptedAtMs = 0;
  #key = 0;
  #startBytes = 0;
  #pieces: Uint8Array[] = [];
  #sums = Buffer.allocUnsafeSlow(4096);
  #sumCount = 0;
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  addSum(sum: number): void {
    const at = this.#sumCount * 4;
    if (at === this.#sums.length) {
      const larger = Buffer.allocUnsafeSlow(at * 2);
      larger.set(this.#sums);
      this.#sums = larger;
    }
    this.#sums.writeUInt32LE(sum, at);
    this.#sumCount++;
  }

  take(state: LaneState, piece: Uint8Array, count: number, acceptedAtMs: number): void {
    if (count === 0) return;
    if (this.count === 0) {
      this.#key = placeKey(state.index, state.nextOffset);
      this.#startBytes = state.nextBytes;
      this.acceptedAtMs = Math.trunc(acceptedAtMs);
    }
    this.#pieces.push(piece);
    this.count += count;
    this.sizeBytes += piece.length;
    state.nextOffset += count;
    state.nextBytes += piece.length;
    state.isChanged = true;
  }

  write(): void {
    if (this.count === 0) return;
    const data = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces, this.sizeBytes);
    const sums = this.#sums.subarray(0, this.count * 4);
    this.#tables.batches.insert(this.#key, this.count, this.#startBytes, this.acceptedAtMs, sums, data);
    this.clear();
  }

  clear(): void {
    this.count = 0;
    this.sizeBytes = 0;
    this.#pieces = [];
    this.#sumCount = 0;
  }
}
