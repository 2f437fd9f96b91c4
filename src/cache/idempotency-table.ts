/**
 * The keys of accepted requests and the answers that were given to them.
 *
 * They have a share of the cache, so that keys alone cannot fill it and have new content refused for as long as they are
 * remembered: what is beyond it is forgotten, that with the least time left first. Their size is a row of `meta`, written
 * in the transaction that changes it; where the row is missing, it is computed.
 */
import type Database from 'better-sqlite3';

export interface StoredAnswer {
  contentHash: string;
  answer: string;
  expiresAtMs: number;
}

/** A key stands in its table and in the index of expiry times. */
export const KEY_OVERHEAD_BYTES = 96;
const SIZE_OF_ROW = `length(key) + length(content_hash) + length(answer) + ${KEY_OVERHEAD_BYTES}`;
const FORGOTTEN_AT_ONCE = 8;

export class IdempotencyTable {
  readonly #get: Database.Statement<[string], StoredAnswer>;
  readonly #insert: Database.Statement<[string, string, string, number], number>;
  readonly #delete: Database.Statement<[string], number>;
  readonly #forget: Database.Statement<[string, number], number>;
  readonly #expired: Database.Statement<[number], number>;
  readonly #sweep: Database.Statement<[number, number], number>;
  readonly #getSize: Database.Statement<[], string>;
  readonly #setSize: Database.Statement<[string]>;
  readonly #computeSize: Database.Statement<[], number>;

  constructor(db: Database.Database) {
    this.#get = db.prepare(
      'SELECT content_hash AS contentHash, answer, expires_at_ms AS expiresAtMs FROM idempotency WHERE key = ?',
    );
    this.#insert = db
      .prepare<[string, string, string, number], number>(
        `INSERT INTO idempotency (key, content_hash, answer, expires_at_ms) VALUES (?, ?, ?, ?) RETURNING ${SIZE_OF_ROW}`,
      )
      .pluck();
    this.#delete = db
      .prepare<[string], number>(`DELETE FROM idempotency WHERE key = ? RETURNING ${SIZE_OF_ROW}`)
      .pluck();
    this.#forget = db
      .prepare<[string, number], number>(
        `DELETE FROM idempotency WHERE key IN
           (SELECT key FROM idempotency WHERE key <> ? ORDER BY expires_at_ms LIMIT ?) RETURNING ${SIZE_OF_ROW}`,
      )
      .pluck();
    this.#expired = db
      .prepare<[number], number>('SELECT EXISTS (SELECT 1 FROM idempotency WHERE expires_at_ms <= ?)')
      .pluck();
    this.#sweep = db
      .prepare<[number, number], number>(
        `DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE expires_at_ms <= ? LIMIT ?)
           RETURNING ${SIZE_OF_ROW}`,
      )
      .pluck();
    this.#getSize = db.prepare<[], string>("SELECT value FROM meta WHERE key = 'keysSizeBytes'").pluck();
    this.#setSize = db.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('keysSizeBytes', ?)");
    this.#computeSize = db.prepare<[], number>(`SELECT coalesce(sum(${SIZE_OF_ROW}), 0) FROM idempotency`).pluck();
  }

  /** The answer given to this key, unless it has expired. */
  get(key: string, nowMs: number): StoredAnswer | undefined {
    const stored = this.#get.get(key);
    return stored === undefined || stored.expiresAtMs <= nowMs ? undefined : stored;
  }

  /** Gives how many other keys were forgotten for it before their time, so that all stay within `sizeMaxBytes`. */
  put(key: string, stored: StoredAnswer, sizeMaxBytes: number): number {
    let size = this.#size();
    size -= this.#delete.get(key) ?? 0;
    size += this.#insert.get(key, stored.contentHash, stored.answer, stored.expiresAtMs) ?? 0;
    let forgottenCount = 0;
    while (size > sizeMaxBytes) {
      const sizes = this.#forget.all(key, FORGOTTEN_AT_ONCE);
      if (sizes.length === 0) break;
      forgottenCount += sizes.length;
      size -= sum(sizes);
    }
    this.#setSize.run(String(size));
    return forgottenCount;
  }

  hasExpired(nowMs: number): boolean {
    return this.#expired.get(nowMs) === 1;
  }

  /** Gives how many were removed. */
  sweep(nowMs: number, countMax: number): number {
    const before = this.#size();
    const sizes = this.#sweep.all(nowMs, countMax);
    if (sizes.length > 0) this.#setSize.run(String(before - sum(sizes)));
    return sizes.length;
  }

  #size(): number {
    const size = Number(this.#getSize.get() ?? Number.NaN);
    return Number.isSafeInteger(size) && size >= 0 ? size : (this.#computeSize.get() ?? 0);
  }
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}
