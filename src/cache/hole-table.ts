/**
 * Offsets that have no message of their own any more, although the cursors count them: messages that were dropped,
 * moved to quarantine, or found unreadable, and settled ones that were not kept while older ones still are. Ranges do
 * not overlap. They are few: each has a batch of its own between it and the next, or is a message in quarantine.
 */
import type Database from 'better-sqlite3';
import type { LaneIndex } from '../core/lane.js';
import type { OffsetRange } from '../core/message.js';
import { placeKey } from '../core/record.js';
import { laneEnd, laneStart } from './lane-table.js';

export interface Hole extends OffsetRange {
  sizeBytes: number;
}

interface HoleColumns {
  key: number;
  count: number;
  sizeBytes: number;
}

const COLUMNS = 'key, count, size_bytes AS sizeBytes';

export class HoleTable {
  readonly #insert: Database.Statement<[number, number, number]>;
  readonly #before: Database.Statement<[number, number], HoleColumns>;
  readonly #within: Database.Statement<[number, number], HoleColumns>;
  readonly #delete: Database.Statement<[number]>;
  readonly #any: Database.Statement<[], number>;
  readonly #sum: Database.Statement<[number, number], number>;
  /** Spares a statement for every save of a cache without holes. */
  #mayExist: boolean;

  constructor(db: Database.Database) {
    this.#insert = db.prepare('INSERT INTO hole (key, count, size_bytes) VALUES (?, ?, ?)');
    this.#before = db.prepare(`SELECT ${COLUMNS} FROM hole WHERE key < ? AND key >= ? ORDER BY key DESC LIMIT 1`);
    this.#within = db.prepare(`SELECT ${COLUMNS} FROM hole WHERE key >= ? AND key < ? ORDER BY key`);
    this.#delete = db.prepare('DELETE FROM hole WHERE key = ?');
    this.#any = db.prepare<[], number>('SELECT EXISTS (SELECT 1 FROM hole)').pluck();
    this.#sum = db
      .prepare<[number, number], number>('SELECT total(count) FROM hole WHERE key >= ? AND key < ?')
      .pluck();
    this.#mayExist = this.#any.get() === 1;
  }

  /** To be called after a rollback: what was forgotten may be there again. */
  rolledBack(): void {
    this.#mayExist = true;
  }

  /**
   * Adds a range and unites it with those that it overlaps. A dropped batch is united with the hole right before it, too,
   * so that months of dropping leave one row; others are not, because the bytes of a hole belong to one batch.
   */
  add(index: LaneIndex, from: number, to: number, sizeBytes: number, isDropped = false): void {
    let start = from;
    let end = to;
    let size = sizeBytes;
    for (const hole of this.touching(index, from, to)) {
      const isOverlapping = hole.from < to && hole.to > from;
      if (!isOverlapping && !(isDropped && hole.to === from)) continue;
      this.#delete.run(placeKey(index, hole.from));
      start = Math.min(start, hole.from);
      end = Math.max(end, hole.to);
      size += hole.sizeBytes;
    }
    this.#insert.run(placeKey(index, start), end - start, size);
    this.#mayExist = true;
  }

  /** The holes that overlap `from` to `to` or touch it, ascending. */
  touching(index: LaneIndex, from: number, to: number): Hole[] {
    if (!this.#mayExist) return [];
    const start = laneStart(index);
    const before = this.#before.get(start + from, start);
    const rows = this.#within.all(start + from, Math.min(start + to + 1, laneEnd(index)));
    if (before !== undefined && before.key + before.count >= start + from) rows.unshift(before);
    return rows.map((row) => ({
      from: row.key - start,
      to: row.key - start + row.count,
      sizeBytes: row.sizeBytes,
    }));
  }

  has(index: LaneIndex, offset: number): boolean {
    return this.touching(index, offset, offset + 1).some((hole) => hole.from <= offset && offset < hole.to);
  }

  /** How many offsets of `from` to `to` are holes; in SQL, because an archive may have many. */
  count(index: LaneIndex, from: number, to: number): number {
    if (!this.#mayExist || to <= from) return 0;
    const start = laneStart(index);
    let count = this.#sum.get(start + from, start + to) ?? 0;
    const before = this.#before.get(start + from, start);
    if (before !== undefined) count += Math.max(0, Math.min(before.key + before.count, start + to) - (start + from));
    const last = this.#before.get(start + to, start + from);
    if (last !== undefined) count -= Math.max(0, last.key + last.count - (start + to));
    return count;
  }

  /** Forgets the holes that end at or below `offset`. */
  forgetBelow(index: LaneIndex, offset: number): void {
    if (!this.#mayExist) return;
    for (const hole of this.touching(index, 0, offset)) {
      if (hole.to <= offset) this.#delete.run(placeKey(index, hole.from));
    }
    this.#mayExist = this.#any.get() === 1;
  }
}

/** How many offsets of `from` to `to` lie in at least one of the ranges, of which each list is ascending. */
export function countCovered(from: number, to: number, ...lists: readonly (readonly OffsetRange[])[]): number {
  const ranges = lists.flat().sort((a, b) => a.from - b.from);
  let covered = 0;
  let at = from;
  for (const range of ranges) {
    const start = Math.max(range.from, at);
    const end = Math.min(range.to, to);
    if (end <= start) continue;
    covered += end - start;
    at = end;
  }
  return covered;
}
