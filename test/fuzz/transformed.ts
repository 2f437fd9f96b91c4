/** What a transformer made of content, and whether all of it can be stored and sent. */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { type TransformerConfig, transformerSchema } from '../../src/config/transformers.js';
import { CONTENT_TYPES, type Content } from '../../src/core/content.js';
import { NorthError } from '../../src/core/error.js';
import { ERRORS, type ErrorCode } from '../../src/core/error-codes.js';
import { decodeProperties } from '../../src/core/properties.js';
import { readRecord } from '../../src/core/record.js';
import { topicProblem } from '../../src/core/topic.js';
import { Collector } from '../../src/transform/collector.js';
import {
  type ChunkOptions,
  type MessageDraft,
  type MessageSink,
  openTransformer,
  type Transformer,
  type UnsentDraft,
} from '../../src/transform/transformer.js';
import { PublishEncoder } from '../../src/wire/publish-encoder.js';
import { parsePublish } from '../wire/parse.js';

/** One of the four ways in which an element may end. */
export interface Fate {
  index: number;
  way: 'pushed' | 'quarantined' | 'rejected';
  /** Topic, code and text, for comparison. */
  text: string;
  payload: string | Uint8Array;
}

export interface Transformed {
  fates: Fate[];
  ignoredCount: number;
  collector: Collector;
}

/** Writes down what goes into the collector. */
class RecordingCollector implements MessageSink {
  readonly fates: Fate[] = [];
  readonly collector: Collector;

  constructor() {
    const userProperties = [['site', 'plant 1']] as const;
    this.collector = new Collector({ qos: 1, retain: false, expirySeconds: 0, topicPrefix: 'site', userProperties });
  }

  get sizeBytes(): number {
    return this.collector.sizeBytes;
  }

  push(index: number, draft: MessageDraft): void {
    const { topic, payload, qos, retain, lane, expirySeconds } = draft;
    this.#note(index, 'pushed', JSON.stringify({ topic, qos, retain, lane, expirySeconds }), payload);
    this.collector.push(index, draft);
  }

  reject(index: number, code: ErrorCode, message: string): void {
    assert.ok(message.length > 0 && message.length < 2000, message);
    this.#note(index, 'rejected', `${code} ${message}`, '');
    this.collector.reject(index, code, message);
  }

  quarantine(index: number, code: ErrorCode, reason: string, draft: UnsentDraft): void {
    assert.ok(ERRORS[code] !== undefined && reason.length > 0 && reason.length < 2000, `${code} ${reason}`);
    this.#note(index, 'quarantined', `${code} ${reason} ${draft.topic}`, draft.payload);
    this.collector.quarantine(index, code, reason, draft);
  }

  ignored(count: number): void {
    this.collector.ignored(count);
  }

  #note(index: number, way: Fate['way'], text: string, payload: string | Uint8Array): void {
    if (typeof payload === 'string') assert.ok(!/\p{Surrogate}/u.test(payload), 'half a character in a payload');
    // A view into the row's bytes is only valid during the call.
    this.fates.push({ index, way, text, payload: typeof payload === 'string' ? payload : Buffer.from(payload) });
  }
}

/** The transformer for options as anybody may write them; undefined when they are refused, which is checked. */
export function openFrom(options: unknown): { transformer: Transformer; config: TransformerConfig } | undefined {
  const parsed = transformerSchema.safeParse(options);
  if (!parsed.success) {
    assert.ok(parsed.error.issues.length > 0);
    return undefined;
  }
  try {
    return { transformer: openTransformer(parsed.data), config: parsed.data };
  } catch (error) {
    assertRefusal(error, ['CONFIG_INVALID']);
    assert.ok(error instanceof NorthError && error.place !== undefined);
    return undefined;
  }
}

export function assertRefusal(error: unknown, codes: readonly ErrorCode[]): void {
  if (!(error instanceof NorthError)) throw error;
  assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`);
  assert.ok(error.message.length > 0 && error.remedy.length > 0);
  assert.ok(error.message.length < 5000, 'the message repeats the content');
}

/** What becomes of the content; undefined when it is refused as a whole, which only CONTENT_MALFORMED may do. */
export async function transformed(
  transformer: Transformer,
  content: Content,
  chunks?: ChunkOptions,
): Promise<Transformed | undefined> {
  const sink = new RecordingCollector();
  try {
    await transformer.transform(content, sink, chunks);
  } catch (error) {
    assertRefusal(error, ['CONTENT_MALFORMED']);
    return undefined;
  }
  return { fates: sink.fates, ignoredCount: sink.collector.ignoredCount, collector: sink.collector };
}

/** Every index from 0 has exactly one fate, and each fate is in the collector as message, entry or rejection. */
export function assertComplete({ fates, collector }: Transformed): void {
  assertConsecutive(fates.map(({ index }) => index));
  const { batches, quarantined, rejections } = collector;
  assert.equal(batches.count + quarantined.length + rejections.length, fates.length);
}

/** These are the numbers from 0, each once. */
export function assertConsecutive(indices: readonly number[]): void {
  const sorted = [...indices].sort((a, b) => a - b);
  for (const [at, index] of sorted.entries()) assert.equal(index, at, 'an element is missing, or is there twice');
}

/** So many records of each kind are looked at in full; the others are like them. */
const CHECKED_COUNT = 4;

/** Every record can be read again, has a topic that may be sent, and becomes a PUBLISH that others understand. */
export function assertSendable({ collector }: Transformed): void {
  for (const builder of collector.batches.builders) {
    if (builder === undefined) continue;
    const batch = builder.finish();
    let at = 0;
    for (let i = 0; i < builder.count; i++) {
      const record = readRecord(batch, at);
      assert.ok(record !== undefined, 'a record cannot be read');
      assert.ok(isUtf8(record.topic));
      assert.equal(topicProblem(Buffer.from(record.topic).toString()), undefined);
      if (i < CHECKED_COUNT) assertPublish(batch, at);
      at += record.sizeBytes;
    }
    assert.equal(at, batch.length);
  }
  for (const { record, reason } of collector.quarantined) {
    const view = readRecord(record, 0);
    assert.ok(view !== undefined && view.sizeBytes === record.length, `the record of "${reason}" cannot be read`);
    assert.ok(isUtf8(view.topic));
  }
}

function assertPublish(batch: Uint8Array, at: number): void {
  const record = readRecord(batch, at)!;
  decodeProperties(record.properties);
  for (const protocolVersion of [4, 5] as const) {
    const encoder = new PublishEncoder({
      protocolVersion,
      maximumQos: 2,
      retainAvailable: true,
      cacheId: '0badcafe',
      messageIdProperty: 'id',
    });
    const out = Buffer.alloc(encoder.sizeMax(record.sizeBytes));
    const end = encoder.encode(out, 0, batch, at, record.sizeBytes, 7, false, 0, 2, 0);
    const packet = parsePublish(out.subarray(0, end), protocolVersion);
    assert.equal(packet.topic, Buffer.from(record.topic).toString());
    assert.ok(Buffer.from(packet.payload).equals(record.payload));
    assert.deepEqual([packet.qos, packet.retain], [record.qos, record.retain]);
  }
}

export function isList(type: string): type is 'time-values' | 'setpoints' | 'messages' {
  return (CONTENT_TYPES as readonly string[]).includes(type) && type !== 'csv' && type !== 'json';
}
