/** Messages that were set aside, each with its reason, until somebody retries or removes them. */
import type Database from 'better-sqlite3';

export interface QuarantinedRow {
  id: number;
  lane: number;
  /** Null for content of which no message could be made: it never had an offset. */
  offset: number | null;
  /** The key of the place where the message was first accepted; null when it never was. */
  originKey: number | null;
  /** Messages that the row stands for: more than one where the borders between damaged ones are gone. */
  count: number;
  acceptedAtMs: number;
  atMs: number;
  code: string;
  reason: string;
  record: Buffer;
}

const COLUMNS = `id, lane, "offset", origin_key AS originKey, count, accepted_at_ms AS acceptedAtMs, at_ms AS atMs,
  code, reason, record`;

export class QuarantineTable {
  readonly #insert: Database.Statement<(number | string | Uint8Array | null)[]>;
  readonly #get: Database.Statement<[number], QuarantinedRow>;
  readonly #next: Database.Statement<[number], QuarantinedRow>;
  readonly #idsAfter: Database.Statement<[number, number], number>;
  readonly #idsOfCodes: Database.Statement<[string, number, number], number>;
  readonly #idsUntil: Database.Statement<[number, number], number>;
  readonly #delete: Database.Statement<[number]>;
  readonly #count: Database.Statement<[], number>;
  readonly #future: Database.Statement<[number], number>;
  readonly #restamp: Database.Statement<[number, number]>;

  constructor(db: Database.Database) {
    this.#insert = db.prepare(
      `INSERT INTO quarantine (lane, "offset", origin_key, count, accepted_at_ms, at_ms, code, reason, record)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#get = db.prepare(`SELECT ${COLUMNS} FROM quarantine WHERE id = ?`);
    this.#next = db.prepare(`SELECT ${COLUMNS} FROM quarantine WHERE id > ? ORDER BY id LIMIT 1`);
    this.#idsAfter = db
      .prepare<[number, number], number>('SELECT id FROM quarantine WHERE id > ? ORDER BY id LIMIT ?')
      .pluck();
    this.#idsOfCodes = db
      .prepare<[string, number, number], number>(
        'SELECT id FROM quarantine WHERE code IN (SELECT value FROM json_each(?)) AND id > ? ORDER BY id LIMIT ?',
      )
      .pluck();
    this.#idsUntil = db
      .prepare<[number, number], number>('SELECT id FROM quarantine WHERE at_ms <= ? ORDER BY at_ms LIMIT ?')
      .pluck();
    this.#delete = db.prepare('DELETE FROM quarantine WHERE id = ?');
    this.#count = db
      .prepare<[], number>(
        `SELECT (SELECT count(*) FROM quarantine) +
                (SELECT coalesce(sum(count - 1), 0) FROM quarantine WHERE code = 'MESSAGE_UNREADABLE')`,
      )
      .pluck();
    this.#future = db.prepare<[number], number>('SELECT EXISTS (SELECT 1 FROM quarantine WHERE at_ms > ?)').pluck();
    this.#restamp = db.prepare('UPDATE quarantine SET at_ms = ? WHERE at_ms > ?');
  }

  /** Gives the id, which is never used again. */
  insert(row: Omit<QuarantinedRow, 'id' | 'record'> & { record: Uint8Array }): number {
    const { lane, offset, originKey, count, acceptedAtMs, atMs, code, reason, record } = row;
    return Number(
      this.#insert.run(lane, offset, originKey, count, acceptedAtMs, atMs, code, reason, record).lastInsertRowid,
    );
  }

  get(id: number): QuarantinedRow | undefined {
    return this.#get.get(id);
  }

  /** The row with the lowest id above `id`. */
  next(id: number): QuarantinedRow | undefined {
    return this.#next.get(id);
  }

  /** The lowest ids above `id`, ascending. */
  idsAfter(id: number, countMax: number): number[] {
    return this.#idsAfter.all(id, countMax);
  }

  idsOfCodes(codes: readonly string[], afterId: number, countMax: number): number[] {
    return this.#idsOfCodes.all(JSON.stringify(codes), afterId, countMax);
  }

  /** The ids of what was set aside at or before `atMs`. */
  idsUntil(atMs: number, countMax: number): number[] {
    return this.#idsUntil.all(atMs, countMax);
  }

  /** Messages, not rows. */
  count(): number {
    return this.#count.get() ?? 0;
  }

  delete(id: number): boolean {
    return this.#delete.run(id).changes > 0;
  }

  /** See `ArchiveTable.restampFuture`. */
  hasFuture(nowMs: number): boolean {
    return this.#future.get(nowMs) === 1;
  }

  restampFuture(nowMs: number): void {
    this.#restamp.run(nowMs, nowMs);
  }
}
