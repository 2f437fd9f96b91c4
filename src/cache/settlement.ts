/** Carries out a save: moves the cursors, sets aside what is quarantined, and lets settled batches go. */
import { LANES } from '../core/lane.js';
import { placeKey, readRecord } from '../core/record.js';
import { type BatchRow, isIntact } from './batch-table.js';
import { isolateDamage } from './damage.js';
import { type LaneState, laneStart, settledText } from './lane-table.js';
import { RecordWalker } from './record-walker.js';
import type { LaneProgress, SaveRequest } from './store.js';
import type { Tables } from './tables.js';

/** Throws a RangeError when the progress contradicts what is stored; the transaction must then be rolled back. */
export function applySave(tables: Tables, request: SaveRequest, archiveEnabled: boolean): void {
  const { progress } = request;
  for (const lane of LANES) checkProgress(tables.lanes.of(lane), progress.lanes[lane]);
  // Before the cursors move: a settled batch may be gone afterwards.
  if (request.quarantine.length > 0) new Extraction(tables, request.atMs).extract(request);
  for (const lane of LANES) {
    const state = tables.lanes.of(lane);
    const next = progress.lanes[lane];
    if (next.firstUnsettled > state.firstUnsettled) {
      settle(tables, state, next.firstUnsettled, Math.trunc(request.atMs), archiveEnabled);
    }
    if (next.boundOffset !== state.boundOffset) {
      state.boundOffset = next.boundOffset;
      state.isChanged = true;
    }
    if (
      (next.settled.length > 0 || state.settled.length > 0) &&
      settledText(next.settled) !== settledText(state.settled)
    ) {
      // Copied, because the session goes on to change its own.
      state.settled = next.settled.map(({ from, to }) => ({ from, to }));
      state.isChanged = true;
    }
  }
  const identity = request.identity === undefined ? tables.session.identity : (request.identity ?? undefined);
  tables.session.save(identity, progress.received);
}

/** What this same transaction appends cannot have been sent: nobody has read it. */
function checkProgress(state: LaneState, next: LaneProgress): void {
  const fail = (problem: string): never => {
    throw new RangeError(`The progress of the lane ${state.lane} is impossible: ${problem}.`);
  };
  if (!Number.isSafeInteger(next.firstUnsettled) || !Number.isSafeInteger(next.boundOffset)) fail('no whole number');
  if (next.firstUnsettled < state.firstUnsettled || next.firstUnsettled > state.committedNext) {
    fail(
      `the first unsettled offset is ${next.firstUnsettled}, not between ${state.firstUnsettled} and ${state.committedNext}`,
    );
  }
  if (next.boundOffset < next.firstUnsettled) fail(`the bound ${next.boundOffset} is below the first unsettled offset`);
  let at = next.firstUnsettled;
  for (const { from, to } of next.settled) {
    if (!(from >= at && to > from && to <= state.committedNext))
      fail(`the settled range ${from} to ${to} is out of place`);
    at = to;
  }
}

/** Moves the first unsettled offset of a lane to `to`. */
function settle(tables: Tables, state: LaneState, to: number, atMs: number, archiveEnabled: boolean): void {
  const { batches, archive, holes } = tables;
  const start = laneStart(state.index);
  const first = batches.holder(state.index, state.firstUnsettled)?.offset ?? state.firstUnsettled;
  // The batch that reaches beyond `to` stays until it is settled as a whole.
  const completeTo = batches.holder(state.index, to)?.offset ?? to;
  if (completeTo > first) {
    if (archiveEnabled) {
      archive.add(start + first, start + completeTo, atMs);
      if (state.firstArchived === state.archivedTo) state.firstArchived = first;
      // What was settled while the archive was off is missing between its older and its newer part.
      else if (first > state.archivedTo) holes.add(state.index, state.archivedTo, first, 0);
      state.archivedTo = completeTo;
    } else batches.delete(start + first, start + completeTo);
  }
  state.firstUnsettled = to;
  state.isChanged = true;
  holes.forgetBelow(state.index, state.firstArchived < state.archivedTo ? state.firstArchived : completeTo);
}

/** Copies messages out of their batches into quarantine. Batches stay as they are, so that their offsets do. */
class Extraction {
  readonly #tables: Tables;
  readonly #atMs: number;
  #row: BatchRow | undefined;
  #walker: RecordWalker | undefined;

  constructor(tables: Tables, atMs: number) {
    this.#tables = tables;
    this.#atMs = Math.trunc(atMs);
  }

  extract(request: SaveRequest): void {
    for (const { lane, offset, code, reason } of request.quarantine) {
      const state = this.#tables.lanes.of(lane);
      // One that is settled, or in quarantine already, comes from a save that is repeated.
      if (offset < state.firstUnsettled || this.#tables.holes.has(state.index, offset)) continue;
      const record = this.#record(state, offset);
      if (record === undefined) continue;
      this.#tables.quarantine.insert({
        lane: state.index,
        offset,
        originKey: readRecord(record, 0)?.originKey ?? placeKey(state.index, offset),
        count: 1,
        acceptedAtMs: this.#row!.acceptedAtMs,
        atMs: this.#atMs,
        code,
        reason,
        record,
      });
      this.#tables.holes.add(state.index, offset, offset + 1, record.length);
    }
  }

  /** Undefined when there is no such message, or when it turns out to be damaged and is in quarantine for that. */
  #record(state: LaneState, offset: number): Uint8Array | undefined {
    let row = this.#row;
    if (
      row === undefined ||
      row.key > laneStart(state.index) + offset ||
      row.key + row.count <= laneStart(state.index) + offset
    ) {
      row = this.#load(state, offset);
      if (row !== undefined && !isIntact(row)) {
        isolateDamage(this.#tables, row, this.#atMs);
        row = this.#load(state, offset);
      }
      this.#row = row;
      this.#walker = row === undefined ? undefined : new RecordWalker(row.data);
    }
    if (row === undefined || this.#walker === undefined) return undefined;
    this.#walker.seek(offset - row.offset);
    return this.#walker.isAtRecord ? this.#walker.record : undefined;
  }

  #load(state: LaneState, offset: number): BatchRow | undefined {
    const place = this.#tables.batches.holder(state.index, offset);
    return place === undefined ? undefined : this.#tables.batches.load(place.key);
  }
}
