/** What the cache holds, computed from cursors each time; nothing is counted along, so that nothing can drift. */
import type { Lane } from '../core/lane.js';
import { readDurability } from './durability.js';
import { countCovered } from './hole-table.js';
import type { LaneState } from './lane-table.js';
import type { StoreLimits, StoreStatus } from './store.js';
import type { Tables } from './tables.js';

export function readStatus(tables: Tables, limits: StoreLimits, archiveEvictedCount: number): StoreStatus {
  const nextOffsets: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };
  const waitingCounts: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };
  let waitingSizeBytes = 0;
  let oldestAcceptedAtMs: number | undefined;
  let archivedCount = 0;
  for (const state of tables.lanes.states) {
    nextOffsets[state.lane] = state.nextOffset;
    archivedCount += countArchived(tables, state, limits.archiveEnabled);
    const waiting = readWaiting(tables, state);
    waitingCounts[state.lane] = waiting.count;
    waitingSizeBytes += waiting.sizeBytes;
    if (waiting.acceptedAtMs !== undefined && !(oldestAcceptedAtMs! <= waiting.acceptedAtMs)) {
      oldestAcceptedAtMs = waiting.acceptedAtMs;
    }
  }
  return {
    cacheId: tables.cacheId,
    nextOffsets,
    waitingCounts,
    waitingSizeBytes,
    oldestAcceptedAtMs,
    quarantinedCount: tables.quarantine.count(),
    archivedCount,
    archiveEvictedCount,
    sizeBytes: tables.usedSizeBytes(),
    findings: tables.findings.all(),
    durability: readDurability(tables.db),
  };
}

interface Waiting {
  count: number;
  /** A batch of which some messages are settled counts whole: it is still there whole. */
  sizeBytes: number;
  acceptedAtMs: number | undefined;
}

function readWaiting(tables: Tables, state: LaneState): Waiting {
  const { index, firstUnsettled, nextOffset } = state;
  const holes = tables.holes.touching(index, firstUnsettled, nextOffset);
  const count = nextOffset - firstUnsettled - countCovered(firstUnsettled, nextOffset, state.settled, holes);
  const head = count === 0 ? undefined : tables.batches.holderOrNext(index, firstUnsettled);
  if (head === undefined) return { count, sizeBytes: 0, acceptedAtMs: undefined };
  let sizeBytes = state.nextBytes - head.startBytes;
  for (const hole of tables.holes.touching(index, head.offset, nextOffset)) {
    if (hole.from >= head.offset) sizeBytes -= hole.sizeBytes;
  }
  return { count, sizeBytes: Math.max(0, sizeBytes), acceptedAtMs: head.acceptedAtMs };
}

function countArchived(tables: Tables, state: LaneState, archiveEnabled: boolean): number {
  const { index, firstArchived, archivedTo, firstUnsettled } = state;
  let count = archivedTo - firstArchived - tables.holes.count(index, firstArchived, archivedTo);
  if (!archiveEnabled) return count;
  const head = tables.batches.holder(index, firstUnsettled);
  if (head !== undefined && head.offset < firstUnsettled) {
    count += firstUnsettled - head.offset - tables.holes.count(index, head.offset, firstUnsettled);
  }
  return count;
}
