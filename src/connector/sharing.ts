/**
 * Which part of a connector a message belongs to, where several connections share its messages.
 *
 * A topic always goes to the same part, in every lane, so that the order that each part keeps is the order per topic and
 * lane. The number is a hash of the topic's bytes modulo the number of parts: it is the same in every process and
 * version, because what waits on disk was shared out by it.
 */
import { NorthError } from '../core/error.js';
import type { Lane } from '../core/lane.js';
import { BatchBuilder, recordSizeAt, topicAt } from '../core/record.js';
import type { AppendDraft } from './content-store.js';

/** Parts are counted from 1. */
export const FIRST_PART = 1;

/** What a request becomes for each part that gets something of it. */
export type Shares = ReadonlyMap<number, AppendDraft>;

/** The part, from 1 to `partsCount`, that these bytes name. */
export function partOf(bytes: Uint8Array, partsCount: number): number {
  return partsCount === 1 ? FIRST_PART : FIRST_PART + (hashBytes(bytes) % partsCount);
}

/**
 * Shares the records of a request out by their topics, in their order; its key and its position stay out of it. What has
 * no topic goes to the first part. The bytes of the request are handed over and must not be used afterwards.
 */
export function shareOut(request: AppendDraft, partsCount: number): Shares {
  const shares = new Map<number, Share>();
  const shareOf = (part: number): Share => {
    let share = shares.get(part);
    if (share === undefined) {
      share = { batches: [], quarantined: [], acceptedAtMs: request.acceptedAtMs };
      shares.set(part, share);
    }
    return share;
  };
  for (const { lane, count, data } of request.batches) {
    for (const [part, batch] of shareBatch(lane, count, data, partsCount)) shareOf(part).batches.push(batch);
  }
  for (const draft of request.quarantined) {
    const topic = recordSizeAt(draft.record, 0) === undefined ? NO_TOPIC : topicAt(draft.record, 0);
    shareOf(topic.length === 0 ? FIRST_PART : partOf(topic, partsCount)).quarantined.push(draft);
  }
  return shares;
}

interface Share {
  batches: AppendDraft['batches'][number][];
  quarantined: AppendDraft['quarantined'][number][];
  acceptedAtMs: number;
}

const NO_TOPIC = new Uint8Array(0);

function shareBatch(
  lane: Lane,
  count: number,
  data: Uint8Array,
  partsCount: number,
): Iterable<[number, AppendDraft['batches'][number]]> {
  const builders = new Map<number, BatchBuilder>();
  // Messages of one part that follow each other are copied at once, and those of a single part not at all.
  let runPart = 0;
  let runFrom = 0;
  let runCount = 0;
  const endRun = (at: number): void => {
    if (runCount === 0) return;
    let builder = builders.get(runPart);
    if (builder === undefined) {
      builder = new BatchBuilder(Math.ceil((data.length - runFrom) / partsCount) + (at - runFrom));
      builders.set(runPart, builder);
    }
    builder.pushRecords(data.subarray(runFrom, at), runCount);
    runFrom = at;
    runCount = 0;
  };
  for (let at = 0; at < data.length; runCount++) {
    const size = recordSizeAt(data, at);
    if (size === undefined) throw new NorthError('INTERNAL', 'A message to be shared out is no record.');
    const part = partOf(topicAt(data, at), partsCount);
    if (part !== runPart) endRun(at);
    runPart = part;
    at += size;
  }
  if (runCount === count) return [[runPart, { lane, count, data }]];
  endRun(data.length);
  return [...builders].map(([part, builder]) => [part, { lane, count: builder.count, data: builder.finish() }]);
}

/**
 * FNV-1a of 32 bits with the finish of MurmurHash3, without which the lowest bits of similar topics are alike.
 * [http://www.isthe.com/chongo/tech/comp/fnv, https://github.com/aappleby/smhasher]
 */
function hashBytes(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < bytes.length; index++) hash = Math.imul(hash ^ bytes[index]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
