/** Carries out calls on a store: the same in the worker thread and in the simulator. */
import { type Answer, type Call, carryError } from './calls.js';
import { commitGroup } from './commit.js';
import type { Store, StoreRequest } from './store.js';

/**
 * A group ends when it appends so much, so that the time of one transaction, and with it the time that an alert waits
 * for its turn, stays bounded.
 */
const GROUP_SIZE_MAX_BYTES = 8 * 1024 * 1024;

/**
 * Carries out the calls and gives the answers in bundles. Reads come first, and their answers leave before the
 * transaction, because the session waits for them and they need no sync. Everything else is done in order, with
 * neighbouring requests in one transaction.
 */
export function serveCalls(store: Store, calls: readonly Call[], answer: (answers: Answer[]) => void): void {
  const reads = calls.filter((call) => call.kind === 'read');
  if (reads.length > 0) answer(reads.map((call) => answerOne(store, call)));
  let group: (Call & { kind: 'execute' })[] = [];
  let sizeBytes = 0;
  const commit = (): void => {
    if (group.length > 0) answer(answerGroup(store, group));
    group = [];
    sizeBytes = 0;
  };
  for (const call of calls) {
    if (call.kind === 'read') continue;
    if (call.kind !== 'execute') {
      commit();
      answer([answerOne(store, call)]);
      continue;
    }
    const size = appendedSizeBytes(call.request);
    if (sizeBytes > 0 && sizeBytes + size > GROUP_SIZE_MAX_BYTES) commit();
    group.push(call);
    sizeBytes += size;
  }
  commit();
}

function appendedSizeBytes(request: StoreRequest): number {
  if (request.kind !== 'append') return 0;
  let size = 0;
  for (const batch of request.batches) size += batch.data.length;
  for (const draft of request.quarantined) size += draft.record.length;
  return size;
}

function answerGroup(store: Store, group: readonly (Call & { kind: 'execute' })[]): Answer[] {
  const outcomes = commitGroup(
    store,
    group.map((call) => call.request),
  );
  return outcomes.map((outcome, index) => {
    const { id } = group[index]!;
    return outcome instanceof Error
      ? { id, kind: 'error', error: carryError(outcome) }
      : { id, kind: 'execute', reply: outcome };
  });
}

function answerOne(store: Store, call: Exclude<Call, { kind: 'execute' }>): Answer {
  const { id } = call;
  try {
    switch (call.kind) {
      case 'read':
        return {
          id,
          kind: 'read',
          batches: store.read(call.query.lane, call.query.fromOffset, call.query.sizeBytesMax),
        };
      case 'list':
        return { id, kind: 'list', page: store.list(call.query) };
      case 'position':
        return { id, kind: 'position', value: store.position(call.source) };
      case 'status':
        return { id, kind: 'status', status: store.status() };
      case 'limits':
        store.setLimits(call.limits);
        return { id, kind: 'done' };
      case 'close':
        store.close();
        return { id, kind: 'done' };
    }
  } catch (error) {
    return { id, kind: 'error', error: carryError(error) };
  }
}
