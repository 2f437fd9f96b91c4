/** Which batches are settled and kept, and since when. A lane's archived batches are its oldest ones. */
import type Database from 'better-sqlite3';
import type { LaneIndex } from '../core/lane.js';
import { laneEnd, laneStart } from './lane-table.js';

export interface ArchivedBatch {
  key: number;
  settledAtMs: number;
}

const COLUMNS = 'key, settled_at_ms AS settledAtMs';

export class ArchiveTable {
  readonly #add: Database.Statement<[number, number, number]>;
  readonly #next: Database.Statement<[number, number], ArchivedBatch>;
  readonly #get: Database.Statement<[number], number>;
  readonly #delete: Database.Statement<[number, number]>;
  readonly #restamp: Database.Statement<[number, number]>;

  constructor(db: Database.Database) {
    this.#add = db.prepare(
      'INSERT OR IGNORE INTO archive (key, settled_at_ms) SELECT key, ? FROM batch WHERE key >= ? AND key < ?',
    );
    this.#next = db.prepare(`SELECT ${COLUMNS} FROM archive WHERE key >= ? AND key < ? ORDER BY key LIMIT 1`);
    this.#get = db.prepare<[number], number>('SELECT settled_at_ms FROM archive WHERE key = ?').pluck();
    this.#delete = db.prepare('DELETE FROM archive WHERE key >= ? AND key < ?');
    this.#restamp = db.prepare('UPDATE archive SET settled_at_ms = ? WHERE settled_at_ms > ?');
  }

  /** Takes in the batches whose key is at or above `from` and below `to`. */
  add(from: number, to: number, settledAtMs: number): void {
    this.#add.run(settledAtMs, from, to);
  }

  /** The first archived batch that begins at or above `offset`. */
  next(index: LaneIndex, offset: number): ArchivedBatch | undefined {
    return this.#next.get(laneStart(index) + offset, laneEnd(index));
  }

  settledAtMs(key: number): number | undefined {
    return this.#get.get(key);
  }

  delete(from: number, to: number): void {
    this.#delete.run(from, to);
  }

  /**
   * A time in the future was written by a clock that has been set back since; counted from now instead, it ends within
   * the retention time.
   */
  restampFuture(nowMs: number): void {
    this.#restamp.run(nowMs, nowMs);
  }
}
