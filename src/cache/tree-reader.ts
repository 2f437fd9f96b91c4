/** Reads the keys of a damaged tree of batches, jumping over the stretches that SQLite cannot read. */
import type Database from 'better-sqlite3';
import { isDamage } from './store-error.js';

/** So many keys are fetched at a time, so that the reader may use the connection between them. */
const PAGE_COUNT = 256;

/** The keys at or above `from` and below `to` that can be reached, ascending. */
export function* readableKeys(db: Database.Database, from: number, to: number): Generator<number> {
  const select = db
    .prepare<[number, number, number], number>('SELECT key FROM batch WHERE key >= ? AND key < ? ORDER BY key LIMIT ?')
    .pluck();
  const keysFrom = (start: number, countMax: number): number[] | undefined => {
    try {
      return select.all(start, to, countMax);
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  };
  let at = from;
  while (at < to) {
    // A page of keys may end in the damage; then they are fetched one by one up to it.
    const keys = keysFrom(at, PAGE_COUNT) ?? keysFrom(at, 1);
    if (keys === undefined) {
      const next = nextReadable(at, to, (start) => keysFrom(start, 1) !== undefined);
      if (next === undefined) return;
      at = next;
      continue;
    }
    if (keys.length === 0) return;
    yield* keys;
    at = keys.at(-1)! + 1;
  }
}

/**
 * The lowest start above `at` from which reading works. The keys of a damaged page are a stretch of unknown width, so the
 * step doubles until it is behind us, and then the border is searched for between the last two steps.
 */
function nextReadable(at: number, to: number, isReadable: (start: number) => boolean): number | undefined {
  let step = 1;
  while (at + step < to && !isReadable(at + step)) step *= 2;
  let high = Math.min(at + step, to);
  let low = at + Math.floor(step / 2);
  if (high >= to && !isReadable(to - 1)) return undefined;
  while (high - low > 1) {
    const middle = low + Math.floor((high - low) / 2);
    if (isReadable(middle)) high = middle;
    else low = middle;
  }
  return high;
}
