/**
 * The cursors of the lanes, in memory and in their rows.
 *
 *     firstArchived ...... archivedTo ...... firstUnsettled ...... committedNext .. nextOffset
 *     | settled batches,  | settled part of | waiting, except for | of this         |
 *     | kept              | the head batch  | `settled` and holes | transaction     |
 *
 * A transaction changes the cursors in memory and writes those that changed at its end. When it is rolled back, the
 * cursors go back to what they were when it began, so that memory and rows never differ.
 */
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
import { NorthError } from '../core/error.js';
import { LANES, type Lane, type LaneIndex, laneIndex } from '../core/lane.js';
import type { OffsetRange } from '../core/message.js';
import { placeKey } from '../core/record.js';

export interface LaneState {
  readonly lane: Lane;
  readonly index: LaneIndex;
  nextOffset: number;
  /** Bytes of all records that this lane ever took. */
  nextBytes: number;
  firstUnsettled: number;
  boundOffset: number;
  settled: readonly OffsetRange[];
  firstArchived: number;
  archivedTo: number;
  /** `nextOffset` when the transaction began; the same as `nextOffset` outside of one. */
  committedNext: number;
  /** What is below was read since the store was opened. Only in memory: after a start, nothing is lent. */
  lentTo: number;
  isChanged: boolean;
}

/** As they are bound to the statements and found in a row. */
export interface LaneRow {
  lane: number;
  next_offset: number;
  next_bytes: number;
  first_unsettled: number;
  bound_offset: number;
  settled: string;
  first_archived: number;
  archived_to: number;
  checksum: number;
}

/** The key of a lane's first place. */
export function laneStart(index: LaneIndex): number {
  return placeKey(index, 0);
}

/** One past the key of a lane's last place. */
export function laneEnd(index: LaneIndex): number {
  return placeKey(index, 0) + placeKey(1, 0);
}

export function newLane(lane: Lane): LaneState {
  return {
    lane,
    index: laneIndex(lane),
    nextOffset: 0,
    nextBytes: 0,
    firstUnsettled: 0,
    boundOffset: 0,
    settled: [],
    firstArchived: 0,
    archivedTo: 0,
    committedNext: 0,
    lentTo: 0,
    isChanged: true,
  };
}

export class LaneTable {
  readonly states: readonly [LaneState, LaneState, LaneState];
  readonly #select: Database.Statement<[number], LaneRow>;
  readonly #replace: Database.Statement<(number | string)[]>;

  constructor(db: Database.Database) {
    this.#select = db.prepare('SELECT * FROM lane WHERE lane = ?');
    this.#replace = db.prepare(
      `INSERT OR REPLACE INTO lane (lane, name, next_offset, next_bytes, first_unsettled, bound_offset, settled,
         first_archived, archived_to, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.states = [newLane('command'), newLane('alert'), newLane('telemetry')];
  }

  of(lane: Lane): LaneState {
    return this.states[laneIndex(lane)];
  }

  /** Throws CACHE_DAMAGED when a row is missing or its checksum is wrong. */
  load(): void {
    for (const state of this.states) {
      const read = readLane(this.#select.get(state.index), state.lane);
      if (read === undefined) {
        throw new NorthError('CACHE_DAMAGED', `The cursors of the lane ${state.lane} cannot be read.`);
      }
      Object.assign(state, read);
    }
  }

  snapshot(): LaneState[] {
    return this.states.map((state) => ({ ...state }));
  }

  restore(snapshot: readonly LaneState[]): void {
    for (const state of this.states) Object.assign(state, snapshot[state.index]);
  }

  /** Writes the lanes that changed. */
  save(): void {
    for (const state of this.states) if (state.isChanged) this.write(state);
  }

  write(state: LaneState): void {
    const settled = settledText(state.settled);
    const row: LaneRow = {
      lane: state.index,
      next_offset: state.nextOffset,
      next_bytes: state.nextBytes,
      first_unsettled: state.firstUnsettled,
      bound_offset: state.boundOffset,
      settled,
      first_archived: state.firstArchived,
      archived_to: state.archivedTo,
      checksum: 0,
    };
    this.#replace.run(
      row.lane,
      state.lane,
      row.next_offset,
      row.next_bytes,
      row.first_unsettled,
      row.bound_offset,
      settled,
      row.first_archived,
      row.archived_to,
      laneChecksum(row),
    );
    state.isChanged = false;
  }

  /** To be called after COMMIT. */
  committed(): void {
    for (const state of this.states) state.committedNext = state.nextOffset;
  }
}

/** The lane of a row, or undefined when the row is missing or damaged. */
export function readLane(row: LaneRow | undefined, lane: Lane): LaneState | undefined {
  if (row === undefined || row.lane !== laneIndex(lane) || row.checksum !== laneChecksum(row)) return undefined;
  const pairs = JSON.parse(row.settled) as [from: number, to: number][];
  return {
    lane,
    index: laneIndex(lane),
    nextOffset: row.next_offset,
    nextBytes: row.next_bytes,
    firstUnsettled: row.first_unsettled,
    boundOffset: row.bound_offset,
    settled: pairs.map(([from, to]) => ({ from, to })),
    firstArchived: row.first_archived,
    archivedTo: row.archived_to,
    committedNext: row.next_offset,
    lentTo: 0,
    isChanged: false,
  };
}

/** Ranges as they are stored: `[[5,7],[9,12]]`. */
export function settledText(ranges: readonly OffsetRange[]): string {
  let text = '[';
  for (const range of ranges) text += `${text.length > 1 ? ',' : ''}[${range.from},${range.to}]`;
  return `${text}]`;
}

function laneChecksum(row: LaneRow): number {
  return crc32(
    `${row.lane} ${row.next_offset} ${row.next_bytes} ${row.first_unsettled} ${row.bound_offset} ${row.settled} ` +
      `${row.first_archived} ${row.archived_to}`,
  );
}

/** All lanes of a new cache. */
export function writeNewLanes(lanes: LaneTable): void {
  for (const lane of LANES) lanes.write(newLane(lane));
}
