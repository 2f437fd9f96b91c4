/**
 * A damaged cache file, from which everything is read that can be: through SQLite where SQLite manages, and page by page
 * where it does not. What the pages give may be older than the last commit; lanes, session and batches carry checksums,
 * so that they are at least whole.
 */
import Database from 'better-sqlite3';
import { type Lane, laneIndex } from '../core/lane.js';
import { type BatchRow, laneOf } from './batch-table.js';
import { type LaneRow, type LaneState, laneStart, readLane } from './lane-table.js';
import { PageFile } from './page-file.js';
import { type FoundRow, findRows, type RowShape, type Value } from './page-rows.js';
import { readSession, type SessionRow, type StoredSession } from './session-table.js';
import { unlessDamaged } from './store-error.js';
import { readableRows } from './tree-reader.js';

const SHAPES = {
  batch: { isIndex: false, columns: ['n', 'i', 'i', 'i', 'i', 'b', 'b'] },
  lane: { isIndex: false, columns: ['n', 't', 'i', 'i', 'i', 'i', 't', 'i', 'i', 'i'] },
  session: { isIndex: false, columns: ['n', 'nt', 'nt', 't', 'i'] },
  quarantine: { isIndex: false, columns: ['n', 'i', 'ni', 'ni', 'i', 'i', 'i', 't', 't', 'b'] },
  idempotency: { isIndex: true, columns: ['t', 't', 't', 'i'] },
  position: { isIndex: true, columns: ['t', 't'] },
  meta: { isIndex: true, columns: ['t', 't'] },
} as const satisfies Record<string, RowShape>;

/** Tables whose rows are recognised in any page. Of the others, there are too many that look alike. */
export type RecognisedTable = 'quarantine' | 'idempotency' | 'position';

export class DamagedSource {
  readonly #sql: Database.Database | undefined;
  readonly #pages: PageFile;

  constructor(path: string) {
    this.#pages = new PageFile(path);
    this.#sql = unlessDamaged(() => new Database(path, { readonly: true }));
  }

  close(): void {
    this.#sql?.close();
    this.#pages.close();
  }

  cacheId(): string | undefined {
    const isId = (text: unknown): text is string => typeof text === 'string' && /^[0-9a-f]{8}$/.test(text);
    const id = unlessDamaged(() => this.#sql?.prepare("SELECT value FROM meta WHERE key = 'cacheId'").pluck().get());
    if (isId(id)) return id;
    for (const { values } of findRows(this.#pages, SHAPES.meta)) {
      if (values[0] === 'cacheId' && isId(values[1])) return values[1];
    }
    return undefined;
  }

  lane(lane: Lane): LaneState | undefined {
    const select = 'SELECT * FROM lane WHERE lane = ?';
    const row = unlessDamaged(() => this.#sql?.prepare<[number], LaneRow>(select).get(laneIndex(lane)));
    const state = unlessDamaged(() => readLane(row, lane));
    if (state !== undefined) return state;
    // Among several versions of it, the last is the one that has come furthest.
    let best: LaneState | undefined;
    for (const found of findRows(this.#pages, SHAPES.lane)) {
      const one = unlessDamaged(() => readLane(toLaneRow(found), lane));
      if (one !== undefined && (best === undefined || isFurther(one, best))) best = one;
    }
    return best;
  }

  session(): StoredSession | undefined {
    const select = 'SELECT broker, client_id, received, checksum FROM session WHERE id = 1';
    const row = unlessDamaged(() => this.#sql?.prepare<[], SessionRow>(select).get());
    const session = unlessDamaged(() => readSession(row));
    if (session !== undefined) return session;
    const found = new Map<string, StoredSession>();
    for (const { values } of findRows(this.#pages, SHAPES.session)) {
      const one = unlessDamaged(() => readSession(toSessionRow(values)));
      if (one !== undefined) found.set(JSON.stringify(one), one);
    }
    // Of several, none can be told to be the last.
    return found.size === 1 ? [...found.values()][0] : undefined;
  }

  /** The rows of a table, up to the first that cannot be read and from behind down to the last that cannot. */
  *rows(table: string, columns: readonly string[], notice: (isComplete: boolean) => void): Generator<Value[]> {
    const names = columns.map((name) => `"${name}"`).join(', ');
    let isComplete = false;
    for (const order of ['ASC', 'DESC']) {
      const query = `SELECT ${names} FROM ${table} ORDER BY "${columns[0]}" ${order}`;
      const rows = unlessDamaged(() => this.#sql?.prepare<[], Value[]>(query).raw().iterate());
      if (rows === undefined) break;
      let next = unlessDamaged(() => rows.next());
      for (; next !== undefined && next.done !== true; next = unlessDamaged(() => rows.next())) yield next.value;
      isComplete = next?.done === true && order === 'ASC';
      if (isComplete) break;
    }
    notice(isComplete);
  }

  /** Rows of a table that stand in some page, of this or an earlier time. */
  *rowsInPages(table: RecognisedTable): Generator<Value[]> {
    for (const { rowid, values } of findRows(this.#pages, SHAPES[table])) {
      if (table === 'quarantine') values[0] = rowid;
      if (table !== 'position' || values[0] !== 'cacheId') yield values;
    }
  }

  *batches(): Generator<BatchRow> {
    if (this.#sql !== undefined) yield* readableRows(this.#sql);
  }

  /** Batches that stand in some page, settled ones of an earlier time among them. */
  *batchesInPages(): Generator<BatchRow> {
    for (const found of findRows(this.#pages, SHAPES.batch)) yield toBatchRow(found);
  }
}

function isFurther(one: LaneState, other: LaneState): boolean {
  if (one.nextOffset !== other.nextOffset) return one.nextOffset > other.nextOffset;
  return one.firstUnsettled > other.firstUnsettled;
}

// The shapes say of which type each column is, which the compiler cannot know.
function toLaneRow({ rowid, values }: FoundRow): LaneRow {
  return {
    lane: rowid,
    next_offset: values[2] as number,
    next_bytes: values[3] as number,
    first_unsettled: values[4] as number,
    bound_offset: values[5] as number,
    settled: values[6] as string,
    first_archived: values[7] as number,
    archived_to: values[8] as number,
    checksum: values[9] as number,
  };
}

function toSessionRow(values: readonly Value[]): SessionRow {
  const [, broker, clientId, received, checksum] = values as [null, string | null, string | null, string, number];
  return { broker, client_id: clientId, received, checksum };
}

function toBatchRow({ rowid, values }: FoundRow): BatchRow {
  const [, count, startBytes, acceptedAtMs, checksum, sums, data] = values as [
    null,
    number,
    number,
    number,
    number,
    Buffer,
    Buffer,
  ];
  const offset = rowid - laneStart(laneOf(rowid));
  return { key: rowid, offset, count, startBytes, sizeBytes: data.length, acceptedAtMs, checksum, sums, data };
}
