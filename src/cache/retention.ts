/** Lets go of what has been kept for its time. */
import { laneStart } from './lane-table.js';
import { removeArchived } from './room.js';
import type { StoreLimits, SweptReply } from './store.js';
import type { Tables } from './tables.js';

/** So much goes in one transaction, so that the session does not wait behind a day of archive. */
const BATCHES_MAX = 64;
const ROWS_MAX = 2000;

/** True when a sweep would change anything. It only reads, so that an idle cache stays without a write. */
export function isSweepDue(tables: Tables, limits: StoreLimits, atMs: number): boolean {
  if (tables.idempotency.hasExpired(atMs)) return true;
  const quarantineMs = limits.quarantineRetentionMs;
  if (quarantineMs > 0) {
    if (tables.quarantine.idsUntil(atMs - quarantineMs, 1).length > 0 || tables.quarantine.hasFuture(atMs)) return true;
  }
  const archiveMs = limits.archiveRetentionMs;
  return (
    archiveMs > 0 &&
    tables.lanes.states.some((state) => {
      const head = tables.archive.next(state.index, 0);
      return head !== undefined && (head.settledAtMs <= atMs - archiveMs || head.settledAtMs > atMs);
    })
  );
}

export function sweep(tables: Tables, limits: StoreLimits, atMs: number): SweptReply {
  let isUnfinished = tables.idempotency.sweep(atMs, ROWS_MAX) === ROWS_MAX;
  let quarantinedCount = 0;
  if (limits.quarantineRetentionMs > 0) {
    if (tables.quarantine.hasFuture(atMs)) tables.quarantine.restampFuture(Math.trunc(atMs));
    const ids = tables.quarantine.idsUntil(atMs - limits.quarantineRetentionMs, ROWS_MAX);
    for (const id of ids) if (tables.quarantine.delete(id)) quarantinedCount++;
    isUnfinished ||= ids.length === ROWS_MAX;
  }
  const archived = limits.archiveRetentionMs > 0 ? sweepArchive(tables, limits, atMs) : undefined;
  return {
    kind: 'swept',
    archivedCount: archived?.count ?? 0,
    quarantinedCount,
    isUnfinished: isUnfinished || archived?.isUnfinished === true,
  };
}

function sweepArchive(tables: Tables, limits: StoreLimits, atMs: number): { count: number; isUnfinished: boolean } {
  let count = 0;
  let left = BATCHES_MAX;
  for (const state of tables.lanes.states) {
    for (;;) {
      const head = tables.archive.next(state.index, 0);
      if (head === undefined) break;
      if (head.settledAtMs > atMs) {
        tables.archive.restampFuture(Math.trunc(atMs));
        break;
      }
      if (head.settledAtMs > atMs - limits.archiveRetentionMs) break;
      if (left-- === 0) return { count, isUnfinished: true };
      const place = tables.batches.holder(state.index, head.key - laneStart(state.index));
      // A row that was lost with a damaged page leaves its entry behind.
      if (place === undefined) tables.archive.delete(head.key, head.key + 1);
      else count += removeArchived(tables, place);
    }
  }
  return { count, isUnfinished: false };
}
