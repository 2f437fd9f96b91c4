/**
 * Makes a new cache out of what can be read of a damaged one.
 *
 * The damaged file is only read, then moved aside with its log. Batches are copied as they are, because each carries its
 * own checksums; of damaged ones, the readable records are kept. The offsets that are missing afterwards are recorded in
 * quarantine.
 *
 * Where the cursors of a lane are lost, everything that is still there counts as unsettled, because a message that is
 * sent twice does less harm than one that is lost; the session's identity is forgotten, so that a new session begins; and
 * the next offsets begin far above all that were ever given, because no offset may be given twice.
 */
import { renameSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { systemCode } from '../core/error.js';
import { LANES, type Lane, laneIndex } from '../core/lane.js';
import { type BatchRow, isIntact, laneOf } from './batch-table.js';
import {
  cachePath,
  freeName,
  moveAside,
  newCacheId,
  openFile,
  removeUnfinished,
  salvagePath,
  switchToNew,
  unfinishedPath,
} from './cache-file.js';
import { repairColumns } from './column-repair.js';
import { describeOffsets, isolateDamage } from './damage.js';
import { DamagedSource, type RecognisedTable } from './damaged-source.js';
import { syncFile, syncFolder } from './durable-file.js';
import { type LaneState, LaneTable, laneEnd, laneStart, newLane } from './lane-table.js';
import type { Value } from './page-rows.js';
import { damage, forgetSession, OFFSET_LEAP, storeOutcome } from './repair-outcome.js';
import type { Repair } from './repair-record.js';
import { createSchema } from './schema.js';
import { receivedText, SessionTable, type StoredSession } from './session-table.js';
import type { CacheFinding } from './store.js';
import { Tables } from './tables.js';

/** What the process that finds the damage still knows for certain: its last commit. */
export interface KnownState {
  cacheId: string;
  lanes: readonly LaneState[];
  session: StoredSession;
}

/** So many rows are copied in one transaction. */
const COPIED_ROWS_MAX = 64;

const RECOGNISED_TABLES: readonly RecognisedTable[] = ['quarantine', 'idempotency', 'position'];
const OTHER_TABLES: readonly string[] = ['archive', 'hole', 'finding'];

export interface SalvageOptions {
  known?: KnownState;
  /** What was found out about the files before, whose outcome goes into the new cache. */
  repair?: Repair | undefined;
}

/**
 * Leaves a readable cache.db and gives what happened, which the new cache tells itself from its first moment on. Throws
 * when even an empty one cannot be written; the damaged one is then where it was.
 */
export function salvageFile(folder: string, atMs: number, cause: string, options: SalvageOptions = {}): CacheFinding[] {
  removeUnfinished(folder);
  const aside = freeName(folder);
  const text = `${cause} What can be read was taken over; the damaged file is kept as ${aside}.`;
  const findings: CacheFinding[] = [damage(atMs, text)];
  try {
    const source = new DamagedSource(cachePath(folder));
    try {
      const target = openFile(unfinishedPath(folder));
      try {
        // Only the whole counts, so that only the whole is synced.
        target.pragma('synchronous = OFF');
        const tables = new Salvage(source, target, Math.trunc(atMs), cause, findings).run(options.known);
        const before = options.repair === undefined ? [] : storeOutcome(tables, options.repair, atMs);
        tables.transact(() => {
          for (const finding of findings) tables.findings.add(finding);
        });
        findings.unshift(...before);
        target.pragma('synchronous = FULL');
        target.pragma('wal_checkpoint(TRUNCATE)');
      } finally {
        target.close();
      }
    } finally {
      source.close();
    }
    syncFile(unfinishedPath(folder));
  } catch (error) {
    // On a full disk, it would stand in the way of everything else.
    removeUnfinished(folder);
    throw error;
  }
  renameSync(unfinishedPath(folder), salvagePath(folder));
  syncFolder(folder);
  moveAside(folder, aside);
  switchToNew(folder);
  return findings;
}

class Salvage {
  readonly #source: DamagedSource;
  readonly #target: Database.Database;
  readonly #atMs: number;
  readonly #cause: string;
  readonly #findings: CacheFinding[];

  constructor(source: DamagedSource, target: Database.Database, atMs: number, cause: string, findings: CacheFinding[]) {
    this.#source = source;
    this.#target = target;
    this.#atMs = atMs;
    this.#cause = cause;
    this.#findings = findings;
  }

  run(known: KnownState | undefined): Tables {
    const source = this.#source;
    const cacheId = known?.cacheId ?? source.cacheId();
    const lanes = known?.lanes ?? LANES.map((lane) => source.lane(lane));
    const session = known?.session ?? source.session();
    const isProgressKnown = lanes.every((lane) => lane !== undefined) && session !== undefined;
    if (cacheId === undefined) this.#report('The id of the cache is lost; it has a new one.');
    if (!isProgressKnown) {
      this.#report(
        'The progress of the MQTT session is lost; what is in the cache may reach the broker a second time.',
      );
    }
    const lost = LANES.filter((lane) => lanes[laneIndex(lane)] === undefined);
    if (lost.length > 0) {
      this.#report(
        `How many messages there were is not known of these lanes: ${lost.join(', ')}. Messages may be lost beside those ` +
          `that are found and those that are set aside.`,
      );
    }
    this.#inTransaction(() => {
      createSchema(this.#target, cacheId ?? newCacheId());
      const table = new LaneTable(this.#target);
      for (const lane of LANES) table.write(lanes[laneIndex(lane)] ?? newLane(lane));
      const kept = isProgressKnown ? session : undefined;
      new SessionTable(this.#target).write(kept?.identity, receivedText(kept?.received ?? []));
    });
    for (const table of RECOGNISED_TABLES) {
      if (!this.#copyTable(table)) this.#insertRows(table, source.rowsInPages(table));
    }
    for (const table of OTHER_TABLES) this.#copyTable(table);
    const damaged = this.#copyBatches();

    const tables = new Tables(this.#target);
    // Until it is known what is there, everything may be.
    for (const lane of lost) tables.lanes.of(lane).nextOffset = OFFSET_LEAP;
    for (const isIntactWanted of [true, false]) {
      // A tree that has lost a branch does not say so: the offsets that are missing do.
      if (LANES.every((lane) => this.#missing(tables, lane).length === 0)) break;
      for (const row of source.batchesInPages()) {
        if (isIntact(row) === isIntactWanted && this.#addFromPages(tables, row)) damaged.add(row.key);
      }
    }
    tables.transact(() => {
      for (const lane of lost) this.#restoreCursors(tables, lane);
      if (!isProgressKnown) forgetSession(tables);
      for (const key of damaged) {
        const row = tables.batches.load(key);
        if (row !== undefined && !isIntact(row)) this.#report(isolateDamage(tables, row, this.#atMs));
      }
      for (const lane of LANES) this.#recordMissing(tables, lane);
    });
    return tables;
  }

  #report(message: string): void {
    this.#findings.push(damage(this.#atMs, message));
  }

  #inTransaction(work: () => void): void {
    this.#target.transaction(work).immediate();
  }

  /** Gives whether all rows could be read. */
  #copyTable(table: string): boolean {
    let isComplete = false;
    const columns = this.#columnsOf(table);
    this.#insertRows(
      table,
      this.#source.rows(table, columns, (all) => {
        isComplete = all;
      }),
    );
    if (!isComplete) this.#report(`Not all rows of the table ${table} could be read.`);
    return isComplete;
  }

  #insertRows(table: string, rows: Iterable<Value[]>): void {
    const columns = this.#columnsOf(table);
    const names = columns.map((name) => `"${name}"`).join(', ');
    const insert = this.#target.prepare<Value[]>(
      `INSERT OR IGNORE INTO ${table} (${names}) VALUES (${columns.map(() => '?').join(', ')})`,
    );
    let refused = 0;
    this.#inTransaction(() => {
      for (const row of rows) {
        try {
          insert.run(...row);
        } catch (error) {
          // A value that has become one of another type does not fit into its column.
          if (systemCode(error)?.startsWith('SQLITE_CONSTRAINT') !== true) throw error;
          refused++;
        }
      }
    });
    if (refused > 0) this.#report(`${refused} rows of the table ${table} were damaged and are left out.`);
  }

  #columnsOf(table: string): string[] {
    return this.#target.prepare<[string], string>('SELECT name FROM pragma_table_info(?)').pluck().all(table);
  }

  /** Copies what SQLite can read, with damaged columns restored where that is possible, and gives the keys of the others. */
  #copyBatches(): Set<number> {
    const insert = this.#target.prepare('INSERT OR IGNORE INTO batch VALUES (?, ?, ?, ?, ?, ?, ?)');
    const damaged = new Set<number>();
    let left = COPIED_ROWS_MAX;
    this.#target.exec('BEGIN');
    for (const row of this.#source.batches()) {
      const repaired = isIntact(row) ? row : repairColumns(row);
      if (repaired === undefined) damaged.add(row.key);
      const { key, count, startBytes, acceptedAtMs } = repaired ?? row;
      insert.run(key, count, startBytes, acceptedAtMs, row.checksum, row.sums, row.data);
      if (--left > 0) continue;
      this.#target.exec('COMMIT');
      this.#target.exec('BEGIN');
      left = COPIED_ROWS_MAX;
    }
    this.#target.exec('COMMIT');
    return damaged;
  }

  /** Takes a batch that stood in some page when its offsets are missing and not yet settled. Gives whether it did. */
  #addFromPages(tables: Tables, row: BatchRow): boolean {
    const { key, offset, count, startBytes, acceptedAtMs, checksum, sums, data } = row;
    const index = laneOf(key);
    const state = tables.lanes.states[index];
    const to = offset + count;
    // What is damaged in its columns, too, is not worth a guess at where it belongs.
    if (offset < 0 || count <= 0 || sums.length !== count * 4) return false;
    if (to <= state.firstUnsettled || to > state.nextOffset) return false;
    const isTaken = (tables.batches.holderOrNext(index, offset)?.offset ?? to) < to;
    if (isTaken || gapsWithin(tables, state, Math.max(offset, state.firstUnsettled), to).length === 0) return false;
    tables.batches.insert(key, count, startBytes, acceptedAtMs, sums, data, checksum);
    return true;
  }

  /** The cursors of a lane whose row is lost, from what else was found of it. */
  #restoreCursors(tables: Tables, lane: Lane): void {
    const state = tables.lanes.of(lane);
    const { index } = state;
    const last = tables.batches.floor(index, laneEnd(index) - laneStart(index) - 1);
    const end = last === undefined ? 0 : last.offset + last.count;
    let archivedTo = 0;
    let firstArchived = 0;
    for (let at = tables.archive.next(index, 0); at !== undefined; at = tables.archive.next(index, archivedTo)) {
      const offset = at.key - laneStart(index);
      if (archivedTo === 0) firstArchived = offset;
      archivedTo = offset + (tables.batches.holder(index, offset)?.count ?? 1);
    }
    const head = tables.batches.ceiling(index, archivedTo);
    state.firstArchived = firstArchived;
    state.archivedTo = archivedTo;
    state.firstUnsettled = head?.offset ?? Math.max(end, archivedTo);
    // The session holds a slot for each message below the bound, of which there are fewer than a backlog may have.
    state.boundOffset = state.firstUnsettled;
    state.settled = [];
    state.nextOffset = end + OFFSET_LEAP;
    state.nextBytes = last === undefined ? 0 : last.startBytes + last.sizeBytes;
    tables.holes.add(index, Math.max(end, state.firstUnsettled), state.nextOffset, 0);
    state.isChanged = true;
  }

  /** The waiting offsets of a lane that no batch holds and no hole explains. */
  #missing(tables: Tables, lane: Lane): { from: number; to: number }[] {
    const state = tables.lanes.of(lane);
    const missing: { from: number; to: number }[] = [];
    for (let at = state.firstUnsettled; at < state.nextOffset; ) {
      const next = tables.batches.holderOrNext(state.index, at);
      const to = Math.min(Math.max(next?.offset ?? state.nextOffset, at), state.nextOffset);
      missing.push(...gapsWithin(tables, state, at, to));
      if (next === undefined) break;
      at = Math.max(at + 1, next.offset + next.count);
    }
    return missing;
  }

  #recordMissing(tables: Tables, lane: Lane): void {
    const { index } = tables.lanes.of(lane);
    for (const { from, to } of this.#missing(tables, lane)) {
      const text = `${describeOffsets(from, to - from)} of the lane ${lane} could not be read`;
      this.#report(`In the rebuilt cache, ${text}.`);
      tables.quarantine.insert({
        lane: index,
        offset: from,
        originKey: laneStart(index) + from,
        count: to - from,
        acceptedAtMs: this.#atMs,
        atMs: this.#atMs,
        code: 'MESSAGE_UNREADABLE',
        reason: `${this.#cause} What was stored under ${text}.`,
        record: new Uint8Array(0),
      });
      tables.holes.add(index, from, to, 0);
    }
  }
}

function gapsWithin(tables: Tables, state: LaneState, from: number, to: number): { from: number; to: number }[] {
  const known = [...tables.holes.touching(state.index, from, to), ...state.settled].sort((a, b) => a.from - b.from);
  const gaps: { from: number; to: number }[] = [];
  let at = from;
  for (const range of known) {
    if (range.from >= to) break;
    if (range.from > at) gaps.push({ from: at, to: range.from });
    at = Math.max(at, range.to);
  }
  if (at < to) gaps.push({ from: at, to });
  return gaps;
}
