/**
 * Makes a new cache out of what can be read of a damaged one.
 *
 * The damaged file is only read, then moved aside with its log. Batches are copied as they are, because each carries its
 * own checksums, which are looked at when it is read; stretches of the tree that SQLite cannot read are jumped over, and
 * the offsets that are missing afterwards are recorded in quarantine.
 *
 * Where the cursors of a lane are lost, everything that is still there counts as unsettled, because a message that is
 * sent twice does less harm than one that is lost; the session's identity is forgotten, so that a new session begins; and
 * the next offsets begin far above all that were ever given, because no offset may be given twice.
 */
import { renameSync } from 'node:fs';
import Database from 'better-sqlite3';
import { LANES, type Lane, laneIndex } from '../core/lane.js';
import { isIntact } from './batch-table.js';
import {
  cachePath,
  damage,
  moveAside,
  newCacheId,
  openFile,
  removeUnfinished,
  salvagePath,
  syncFolder,
} from './cache-file.js';
import { repairColumns } from './column-repair.js';
import { describeOffsets, isolateDamage } from './damage.js';
import { type LaneRow, type LaneState, LaneTable, laneEnd, laneStart, newLane, readLane } from './lane-table.js';
import { createSchema } from './schema.js';
import { readSession, receivedText, type SessionRow, SessionTable, type StoredSession } from './session-table.js';
import type { CacheFinding } from './store.js';
import { isDamage } from './store-error.js';
import { Tables } from './tables.js';
import { readableRows } from './tree-reader.js';

/** What the process that finds the damage still knows for certain: its last commit. */
export interface KnownState {
  cacheId: string;
  lanes: readonly LaneState[];
  session: StoredSession;
}

/** More than a lane takes in a year at full speed, and a small part of the offsets that there are. */
const OFFSET_LEAP = 2 ** 43;

/** So many rows are copied in one transaction. */
const COPIED_ROWS_MAX = 64;

const COPIED_TABLES = ['idempotency', 'position', 'archive', 'hole', 'finding'] as const;

/** Leaves a readable cache.db and gives what happened. Throws when even an empty one cannot be written. */
export function salvageFile(folder: string, atMs: number, cause: string, known?: KnownState): CacheFinding[] {
  removeUnfinished(folder);
  const source = openDamaged(cachePath(folder));
  const target = openFile(salvagePath(folder));
  const findings: CacheFinding[] = [];
  try {
    copyAll(source, target, atMs, cause, findings, known);
    target.pragma('wal_checkpoint(TRUNCATE)');
  } finally {
    source?.close();
    target.close();
  }
  const aside = moveAside(folder);
  renameSync(salvagePath(folder), cachePath(folder));
  syncFolder(folder);
  findings.unshift(damage(atMs, `${cause} What can be read was taken over; the damaged file is kept as ${aside}.`));
  return findings;
}

function openDamaged(path: string): Database.Database | undefined {
  try {
    return new Database(path, { readonly: true });
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}

function copyAll(
  source: Database.Database | undefined,
  target: Database.Database,
  atMs: number,
  cause: string,
  findings: CacheFinding[],
  known: KnownState | undefined,
): void {
  const cacheId = known?.cacheId ?? readable(() => readOldCacheId(source));
  const lanes = known?.lanes ?? LANES.map((lane) => readable(() => readOldLane(source, lane)));
  const session = known?.session ?? readable(() => readOldSession(source));
  const isProgressKnown = lanes.every((lane) => lane !== undefined) && session !== undefined;
  if (cacheId === undefined) findings.push(damage(atMs, 'The id of the cache is lost; it has a new one.'));
  if (!isProgressKnown) {
    findings.push(
      damage(
        atMs,
        'The progress of the MQTT session is lost; what is in the cache may reach the broker a second time.',
      ),
    );
  }
  target
    .transaction(() => {
      createSchema(target, cacheId ?? newCacheId());
      const table = new LaneTable(target);
      for (const lane of LANES) table.write(lanes[laneIndex(lane)] ?? newLane(lane));
      new SessionTable(target).write(
        isProgressKnown ? session.identity : undefined,
        receivedText(isProgressKnown ? session.received : []),
      );
    })
    .immediate();
  if (source === undefined) return;
  for (const table of COPIED_TABLES) copyTable(source, target, table, atMs, findings);
  copyTable(source, target, 'quarantine', atMs, findings);
  const damagedKeys = copyBatches(source, target);
  const tables = new Tables(target);
  tables.transact(() => {
    for (const lane of LANES) if (lanes[laneIndex(lane)] === undefined) restoreCursors(tables, lane);
    if (!isProgressKnown) forgetSession(tables);
    for (const key of damagedKeys) {
      const row = tables.batches.load(key);
      if (row !== undefined) findings.push(damage(atMs, isolateDamage(tables, row, Math.trunc(atMs))));
    }
    for (const lane of LANES) recordMissing(tables, lane, atMs, cause, findings);
  });
}

/** The result, or undefined where the damage is. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    // A table that is gone is an SQLITE_ERROR, as is every statement on a schema that cannot be parsed.
    if (isDamage(error) || error instanceof Database.SqliteError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function readOldCacheId(source: Database.Database | undefined): string | undefined {
  const id = source?.prepare<[], string>("SELECT value FROM meta WHERE key = 'cacheId'").pluck().get();
  return id !== undefined && /^[0-9a-f]{8}$/.test(id) ? id : undefined;
}

function readOldLane(source: Database.Database | undefined, lane: Lane): LaneState | undefined {
  return readLane(source?.prepare<[number], LaneRow>('SELECT * FROM lane WHERE lane = ?').get(laneIndex(lane)), lane);
}

function readOldSession(source: Database.Database | undefined): StoredSession | undefined {
  return readSession(source?.prepare<[], SessionRow>('SELECT * FROM session WHERE id = 1').get());
}

/** Copies the rows up to the first that cannot be read, and those after the last that cannot. */
function copyTable(
  source: Database.Database,
  target: Database.Database,
  table: string,
  atMs: number,
  findings: CacheFinding[],
): void {
  const columns = target.prepare<[string], string>('SELECT name FROM pragma_table_info(?)').pluck().all(table);
  const names = columns.map((name) => `"${name}"`).join(', ');
  const insert = target.prepare(
    `INSERT OR IGNORE INTO ${table} (${names}) VALUES (${columns.map(() => '?').join(', ')})`,
  );
  let isComplete = true;
  for (const order of ['ASC', 'DESC']) {
    if (order === 'DESC' && isComplete) break;
    isComplete = copyRows(
      () =>
        source.prepare<[], unknown[]>(`SELECT ${names} FROM ${table} ORDER BY ${names.split(', ')[0]} ${order}`).raw(),
      (row) => insert.run(...row),
      target,
    );
  }
  if (!isComplete) findings.push(damage(atMs, `Rows of the table ${table} could not be read.`));
}

/** Gives whether all rows could be read. */
function copyRows<Row>(
  prepare: () => Database.Statement<[], Row>,
  copy: (row: Row) => void,
  target: Database.Database,
): boolean {
  target.exec('BEGIN');
  try {
    const rows = readable(() => prepare().iterate());
    if (rows === undefined) return false;
    for (;;) {
      const next = readable(() => rows.next());
      if (next === undefined) return false;
      if (next.done === true) return true;
      copy(next.value);
    }
  } finally {
    target.exec('COMMIT');
  }
}

/** Copies the rows that can be read, with damaged columns restored where that is possible, and gives the keys of the others. */
function copyBatches(source: Database.Database, target: Database.Database): number[] {
  const insert = target.prepare('INSERT OR IGNORE INTO batch VALUES (?, ?, ?, ?, ?, ?, ?)');
  const damagedKeys: number[] = [];
  let left = COPIED_ROWS_MAX;
  target.exec('BEGIN');
  for (const row of readableRows(source)) {
    const repaired = isIntact(row) ? row : repairColumns(row);
    if (repaired === undefined) damagedKeys.push(row.key);
    const { key, count, startBytes, acceptedAtMs } = repaired ?? row;
    insert.run(key, count, startBytes, acceptedAtMs, row.checksum, row.sums, row.data);
    if (--left > 0) continue;
    target.exec('COMMIT');
    target.exec('BEGIN');
    left = COPIED_ROWS_MAX;
  }
  target.exec('COMMIT');
  return damagedKeys;
}

/** The cursors of a lane whose row is lost, from what else was found of it. */
function restoreCursors(tables: Tables, lane: Lane): void {
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

/** Records the waiting offsets of a lane that no batch holds and no hole explains. */
function recordMissing(tables: Tables, lane: Lane, atMs: number, cause: string, findings: CacheFinding[]): void {
  const state = tables.lanes.of(lane);
  let at = state.firstUnsettled;
  while (at < state.nextOffset) {
    const next = tables.batches.holderOrNext(state.index, at);
    const to = Math.min(Math.max(next?.offset ?? state.nextOffset, at), state.nextOffset);
    for (const gap of gapsWithin(tables, state, at, to)) {
      const text = `${describeOffsets(gap.from, gap.to - gap.from)} of the lane ${lane} could not be read`;
      findings.push(damage(atMs, `In the rebuilt cache, ${text}.`));
      tables.quarantine.insert({
        lane: state.index,
        offset: gap.from,
        originKey: laneStart(state.index) + gap.from,
        count: gap.to - gap.from,
        acceptedAtMs: Math.trunc(atMs),
        atMs: Math.trunc(atMs),
        code: 'MESSAGE_UNREADABLE',
        reason: `${cause} What was stored under ${text}.`,
        record: new Uint8Array(0),
      });
      tables.holes.add(state.index, gap.from, gap.to, 0);
    }
    if (next === undefined) return;
    at = Math.max(at + 1, next.offset + next.count);
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

/** Without its identity, the progress of a session means nothing: every message is as good as unsent. */
function forgetSession(tables: Tables): void {
  for (const state of tables.lanes.states) {
    state.boundOffset = state.firstUnsettled;
    state.isChanged = true;
  }
}
