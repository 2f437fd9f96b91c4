/** Carries out an append: all of a request, or none of it with the reason. */
import { laneIndex } from '../core/lane.js';
import type { BatchWriter } from './batch-writer.js';
import { KEY_OVERHEAD_BYTES } from './idempotency-table.js';
import { keysSizeMaxBytes, type Room, rowSizeBytes } from './room.js';
import type { AppendedRange, AppendReply, AppendRequest, RefusedReply } from './store.js';
import type { Tables } from './tables.js';

export function appendMessages(
  tables: Tables,
  writer: BatchWriter,
  room: Room,
  request: AppendRequest,
): AppendReply | RefusedReply {
  const { idempotency, position } = request;
  if (idempotency !== undefined) {
    const known = tables.idempotency.get(idempotency.key, request.acceptedAtMs);
    if (known !== undefined && known.contentHash !== idempotency.contentHash) {
      const message = `The key "${idempotency.key}" was used before with other content.`;
      return { kind: 'refused', code: 'IDEMPOTENCY_KEY_REUSED', message };
    }
    if (known !== undefined) {
      const { answer } = known;
      return { kind: 'appended', ranges: [], quarantinedIds: [], replayed: true, answer, droppedCount: 0 };
    }
  }
  const droppedCount = room.take(neededSizeBytes(request));
  if (typeof droppedCount === 'string') return { kind: 'refused', code: 'CACHE_FULL', message: droppedCount };
  const ranges: AppendedRange[] = [];
  for (const { lane, count, data, isKept } of request.batches) {
    if (count === 0 && data.length === 0) continue;
    const state = tables.lanes.of(lane);
    const from = state.nextOffset;
    writer.add(state, data, count, request.acceptedAtMs);
    const to = state.nextOffset;
    const isLent = isKept === true && Math.max(state.lentTo, state.firstUnsettled) === from;
    if (isLent) state.lentTo = to;
    ranges.push(isLent ? { lane, from, to, isLent } : { lane, from, to });
  }
  const quarantinedIds = request.quarantined.length === 0 ? [] : addDrafts(tables, request);
  let forgottenKeysCount = 0;
  if (idempotency !== undefined) {
    const { key, contentHash, answer, expiresAtMs } = idempotency;
    const stored = { contentHash, answer, expiresAtMs: Math.trunc(expiresAtMs) };
    forgottenKeysCount = tables.idempotency.put(key, stored, keysSizeMaxBytes(room.limits));
  }
  if (position !== undefined) tables.setPosition(position.source, position.value);
  return {
    kind: 'appended',
    ranges,
    quarantinedIds,
    replayed: false,
    answer: idempotency?.answer,
    droppedCount,
    ...(forgottenKeysCount === 0 ? {} : { forgottenKeysCount }),
  };
}

function addDrafts(tables: Tables, request: AppendRequest): number[] {
  const acceptedAtMs = Math.trunc(request.acceptedAtMs);
  return request.quarantined.map(({ lane, code, reason, record }) =>
    tables.quarantine.insert({
      lane: laneIndex(lane),
      offset: null,
      originKey: null,
      count: 1,
      acceptedAtMs,
      atMs: acceptedAtMs,
      code,
      reason,
      record,
    }),
  );
}

/** What the request takes in the file. A position replaces the former one and takes nothing. */
function neededSizeBytes(request: AppendRequest): number {
  let size = 0;
  for (const { data, count } of request.batches) size += rowSizeBytes(data.length, count);
  for (const { record, reason } of request.quarantined) size += rowSizeBytes(record.length + reason.length, 1);
  if (request.idempotency !== undefined) {
    const { key, contentHash, answer } = request.idempotency;
    size += key.length + contentHash.length + answer.length + KEY_OVERHEAD_BYTES;
  }
  return size;
}
