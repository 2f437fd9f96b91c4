/** Short ways to write down requests and to read what a store gives back. */
import type {
  AppendReply,
  AppendRequest,
  Batch,
  QuarantineDraft,
  SaveRequest,
  Store,
  StoredMessage,
  StoreLimits,
  StoreReply,
  StoreRequest,
} from '../../src/cache/store.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import type { Message, OffsetRange } from '../../src/core/message.js';
import { BatchBuilder, readRecord, recordSizeAt } from '../../src/core/record.js';

export const LIMITS: StoreLimits = {
  maxSizeBytes: 1024 ** 3,
  onFull: 'reject',
  quarantineRetentionMs: 0,
  archiveEnabled: false,
  archiveRetentionMs: 0,
};

export const START_MS = 1_700_000_000_000;

export function message(lane: Lane, topic: string, payload: string | Uint8Array): Message {
  return { topic, payload: Buffer.from(payload), qos: 1, retain: false, lane, expirySeconds: 0 };
}

/** A batch of messages with these payloads, all on the topic `t/<lane>` unless given. */
export function batch(lane: Lane, payloads: readonly (string | Uint8Array)[], topic = `t/${lane}`) {
  const builder = new BatchBuilder();
  for (const payload of payloads) builder.push(message(lane, topic, payload));
  return { lane, count: payloads.length, data: builder.finish() };
}

export function append(lane: Lane, payloads: readonly (string | Uint8Array)[], more: Partial<AppendRequest> = {}) {
  return {
    kind: 'append' as const,
    batches: [batch(lane, payloads)],
    quarantined: [],
    acceptedAtMs: START_MS,
    ...more,
  };
}

export function draft(lane: Lane, payload: string, topic = '', code = 'UNMAPPED'): QuarantineDraft {
  return { lane, code, reason: `because of ${code}`, record: record(lane, topic, payload) };
}

export function record(lane: Lane, topic: string, payload: string): Uint8Array {
  const builder = new BatchBuilder();
  builder.push(message(lane, topic, payload));
  return builder.finish();
}

export interface LaneDraft {
  firstUnsettled: number;
  boundOffset?: number;
  settled?: readonly OffsetRange[];
}

/** A save that leaves the lanes that are not given where `store` has them. */
export function save(
  store: Store,
  lanes: Partial<Record<Lane, LaneDraft>>,
  more: Partial<SaveRequest> = {},
): SaveRequest {
  const now = store.progress();
  const laneOf = (lane: Lane) => {
    const given = lanes[lane];
    if (given === undefined) return now.lanes[lane];
    const { firstUnsettled, settled = [] } = given;
    const boundOffset = given.boundOffset ?? Math.max(firstUnsettled, settled.at(-1)?.to ?? 0);
    return { firstUnsettled, boundOffset, settled };
  };
  const progress = {
    lanes: { command: laneOf('command'), alert: laneOf('alert'), telemetry: laneOf('telemetry') },
    received: now.received,
  };
  return { kind: 'save', progress, quarantine: [], atMs: START_MS, ...more };
}

/** Executes one request and gives its reply, which must be of the kind that such a request has. */
export function execute<R extends StoreRequest>(store: Store, request: R): StoreReply {
  const replies = store.execute([request]);
  if (replies.length !== 1) throw new Error(`One request got ${replies.length} replies.`);
  return replies[0]!;
}

export function appended(reply: StoreReply | undefined): AppendReply {
  if (reply?.kind !== 'appended') throw new Error(`Not appended: ${JSON.stringify(reply)}`);
  return reply;
}

export interface ReadMessage {
  offset: number;
  topic: string;
  payload: string;
}

export function messagesOf(batches: readonly Batch[]): ReadMessage[] {
  const messages: ReadMessage[] = [];
  for (const { firstOffset, count, data } of batches) {
    let at = 0;
    for (let index = 0; index < count; index++) {
      messages.push({ offset: firstOffset + index, ...readText(data, at) });
      at += recordSizeAt(data, at)!;
    }
    if (at !== data.length) throw new Error(`A batch has ${data.length - at} bytes too many.`);
  }
  return messages;
}

export function readText(data: Uint8Array, at = 0): { topic: string; payload: string } {
  const view = readRecord(data, at);
  if (view === undefined) throw new Error(`No record at byte ${at}.`);
  return { topic: Buffer.from(view.topic).toString(), payload: Buffer.from(view.payload).toString() };
}

/** Everything of a lane that waits, read as a session would read it. */
export function readAll(store: Store, lane: Lane, fromOffset = 0, sizeBytesMax = 256 * 1024): ReadMessage[] {
  const messages: ReadMessage[] = [];
  let from = fromOffset;
  for (;;) {
    const batches = store.read(lane, from, sizeBytesMax);
    if (batches.length === 0) return messages;
    for (const one of batches) if (one.lane !== lane) throw new Error(`A batch of ${one.lane} came for ${lane}.`);
    messages.push(...messagesOf(batches));
    const last = batches.at(-1)!;
    from = last.firstOffset + last.count;
  }
}

export function payloads(messages: readonly { payload: string }[]): string[] {
  return messages.map((one) => one.payload);
}

/** All pages of a list. */
export function listAll(
  store: Store,
  state: StoredMessage['state'],
  more: { lane?: Lane; topic?: string; limit?: number } = {},
) {
  const messages: StoredMessage[] = [];
  let after: string | undefined;
  for (;;) {
    const page = store.list({ state, limit: 100, ...more, ...(after === undefined ? {} : { after }) });
    messages.push(...page.messages);
    if (page.cursor === undefined) return messages;
    if (page.cursor === after) throw new Error(`The cursor ${after} does not move.`);
    after = page.cursor;
  }
}

export function listedPayloads(store: Store, state: StoredMessage['state'], more = {}): string[] {
  return listAll(store, state, more).map((one) => readText(one.record).payload);
}

/** What must be the same before and after the store is opened again. */
export function durableStateOf(store: Store) {
  const { sizeBytes: _size, archiveEvictedCount: _evicted, durability: _durability, ...status } = store.status();
  return {
    status,
    progress: store.progress(),
    identity: store.identity(),
    waiting: LANES.map((lane) => readAll(store, lane)),
    quarantined: listAll(store, 'quarantined').map((one) => ({
      ...one,
      record: Buffer.from(one.record).toString('hex'),
    })),
    archived: listAll(store, 'archived').map((one) => ({ ...one, record: Buffer.from(one.record).toString('hex') })),
  };
}

/** Texts `prefix0`, `prefix1` and so on. */
export function numbered(prefix: string, count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${from + index}`);
}
