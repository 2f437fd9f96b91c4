/** Retries and removes quarantined messages. */
import { LANES, laneAt } from '../core/lane.js';
import { readRecord, withOrigin, withTopic } from '../core/record.js';
import type { BatchWriter } from './batch-writer.js';
import type { QuarantinedRow } from './quarantine-table.js';
import type { AppendedRange, RemovedReply, RemoveRequest, RetriedReply, RetryRequest } from './store.js';
import type { Tables } from './tables.js';

/** So many ids are held at a time, however many the request means. */
const CHUNK_COUNT = 500;

/** Moves messages back to the end of their lanes, in the order in which they were set aside. */
export function retryQuarantined(tables: Tables, writer: BatchWriter, request: RetryRequest): RetriedReply {
  const from = { command: 0, alert: 0, telemetry: 0 };
  for (const state of tables.lanes.states) from[state.lane] = state.nextOffset;
  let count = 0;
  const nextAfterId = forEachId(tables, request, (id) => {
    const row = tables.quarantine.get(id);
    const record = row === undefined ? undefined : sendableRecord(row, request.topic);
    if (row === undefined || record === undefined) return;
    writer.add(tables.lanes.of(laneAt(row.lane)), record, 1, request.atMs);
    tables.quarantine.delete(id);
    count++;
  });
  const ranges: AppendedRange[] = [];
  for (const lane of LANES) {
    const to = tables.lanes.of(lane).nextOffset;
    if (to > from[lane]) ranges.push({ lane, from: from[lane], to });
  }
  return { kind: 'retried', ranges, count, nextAfterId };
}

export function removeQuarantined(tables: Tables, request: RemoveRequest): RemovedReply {
  let count = 0;
  const nextAfterId = forEachId(tables, request, (id) => {
    if (tables.quarantine.delete(id)) count++;
  });
  return { kind: 'removed', count, nextAfterId };
}

/** Visits the ids that the request means, and gives where its next part begins. */
function forEachId(
  tables: Tables,
  request: RetryRequest | RemoveRequest,
  visit: (id: number) => void,
): number | undefined {
  let left = request.part?.countMax ?? Number.POSITIVE_INFINITY;
  let afterId = request.part?.afterId ?? 0;
  if ('ids' in request.which) {
    const ids = [...new Set(request.which.ids)].filter((id) => id > afterId).sort((a, b) => a - b);
    for (const id of ids.slice(0, left)) visit(id);
    return ids.length > left ? ids[left - 1] : undefined;
  }
  while (left > 0) {
    const wanted = Math.min(left, CHUNK_COUNT);
    const ids =
      'codes' in request.which
        ? tables.quarantine.idsOfCodes(request.which.codes, afterId, wanted)
        : tables.quarantine.idsAfter(afterId, wanted);
    for (const id of ids) visit(id);
    if (ids.length < wanted) return undefined;
    left -= ids.length;
    afterId = ids.at(-1)!;
  }
  return afterId;
}

/** What can be published of a quarantined message, or undefined when nothing can. */
function sendableRecord(row: QuarantinedRow, topic: string | undefined): Uint8Array | undefined {
  if (row.code === 'MESSAGE_UNREADABLE') return undefined;
  const view = readRecord(row.record, 0);
  if (view === undefined || (topic === undefined && view.topic.length === 0)) return undefined;
  const record = topic === undefined ? row.record : withTopic(row.record, topic);
  // Content that was never a message gets its id by the offset that it has from now on.
  return row.originKey === null ? record : withOrigin(record, row.originKey);
}
