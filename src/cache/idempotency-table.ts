/** The keys of accepted requests and the answers that were given to them. */
import type Database from 'better-sqlite3';

export interface StoredAnswer {
  contentHash: string;
  answer: string;
  expiresAtMs: number;
}

export class IdempotencyTable {
  readonly #get: Database.Statement<[string], StoredAnswer>;
  readonly #replace: Database.Statement<[string, string, string, number]>;
  readonly #expired: Database.Statement<[number], number>;
  readonly #sweep: Database.Statement<[number, number]>;

  constructor(db: Database.Database) {
    this.#get = db.prepare(
      'SELECT content_hash AS contentHash, answer, expires_at_ms AS expiresAtMs FROM idempotency WHERE key = ?',
    );
    this.#replace = db.prepare(
      'INSERT OR REPLACE INTO idempotency (key, content_hash, answer, expires_at_ms) VALUES (?, ?, ?, ?)',
    );
    this.#expired = db
      .prepare<[number], number>('SELECT EXISTS (SELECT 1 FROM idempotency WHERE expires_at_ms <= ?)')
      .pluck();
    this.#sweep = db.prepare(
      'DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE expires_at_ms <= ? LIMIT ?)',
    );
  }

  /** The answer given to this key, unless it has expired. */
  get(key: string, nowMs: number): StoredAnswer | undefined {
    const stored = this.#get.get(key);
    return stored === undefined || stored.expiresAtMs <= nowMs ? undefined : stored;
  }

  put(key: string, stored: StoredAnswer): void {
    this.#replace.run(key, stored.contentHash, stored.answer, stored.expiresAtMs);
  }

  hasExpired(nowMs: number): boolean {
    return this.#expired.get(nowMs) === 1;
  }

  /** Gives how many were removed. */
  sweep(nowMs: number, countMax: number): number {
    return this.#sweep.run(nowMs, countMax).changes;
  }
}
