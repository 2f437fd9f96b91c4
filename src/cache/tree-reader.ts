/** Reads the rows of a damaged tree of batches, jumping over the stretches that SQLite cannot read. */
import type Database from 'better-sqlite3';
import { type BatchRow, laneOf, wholeNumber } from './batch-table.js';
import { laneEnd, laneStart } from './lane-table.js';
import { unlessDamaged } from './store-error.js';

type Columns = [
  key: number,
  count: unknown,
  startBytes: unknown,
  acceptedAtMs: unknown,
  checksum: unknown,
  sums: unknown,
  data: unknown,
];

const END = laneEnd(2);

/**
 * The rows that can be read, in the order in which they lie in the tree; a row whose key is damaged comes where it lies,
 * too. Rows without data or checksums are left out.
 */
export function* readableRows(db: Database.Database): Generator<BatchRow> {
  const select = unlessDamaged(() =>
    db.prepare<[number], Columns>('SELECT * FROM batch WHERE key >= ? ORDER BY key').raw(),
  );
  if (select === undefined) return;
  let at: number | undefined = 0;
  while (at !== undefined) {
    let last = at - 1;
    const rows = select.iterate(at);
    let next = unlessDamaged(() => rows.next());
    let isOrdered = true;
    for (; isOrdered && next !== undefined && next.done !== true; next = unlessDamaged(() => rows.next())) {
      const row = toRow(next.value);
      isOrdered = next.value[0] > last;
      last = Math.max(last, next.value[0]);
      if (row !== undefined) yield row;
    }
    if (next?.done === true) return;
    // Keys that do not ascend are damage, too: a tree that leads back into itself would never end.
    if (!isOrdered) rows.return?.();
    at = nextReadable(last + 1, END, (start) => unlessDamaged(() => select.get(start) ?? true) !== undefined);
  }
}

function toRow([key, count, startBytes, acceptedAtMs, checksum, sums, data]: Columns): BatchRow | undefined {
  if (!(sums instanceof Uint8Array) || !(data instanceof Uint8Array)) return undefined;
  return {
    key,
    offset: key - laneStart(laneOf(key)),
    count: wholeNumber(count),
    startBytes: wholeNumber(startBytes),
    sizeBytes: data.length,
    acceptedAtMs: wholeNumber(acceptedAtMs),
    checksum: wholeNumber(checksum),
    sums,
    data,
  };
}

/**
 * The lowest start above `at` from which reading works. The keys of a damaged page are a stretch of unknown width, so the
 * step doubles until it is behind us, and then the border is searched for between the last two steps.
 */
function nextReadable(at: number, to: number, isReadable: (start: number) => boolean): number | undefined {
  let step = 1;
  while (at + step < to && !isReadable(at + step)) step *= 2;
  let low = at + Math.floor(step / 2);
  let high = Math.min(at + step, to);
  if (high === to && !isReadable(to - 1)) return undefined;
  while (high - low > 1) {
    const middle = low + Math.floor((high - low) / 2);
    if (isReadable(middle)) high = middle;
    else low = middle;
  }
  return high;
}
