/** Collects what transformers give, in the form that the cache takes, with the settings of the connection applied. */
import type { Rejection } from '../core/content.js';
import type { ErrorCode } from '../core/error-codes.js';
import type { Lane } from '../core/lane.js';
import type { Message, MessageProperties, QoS } from '../core/message.js';
import { BatchBuilder, LaneBatches, RECORD_SIZE_MAX_BYTES } from '../core/record.js';
import { joinTopic, TOPIC_SIZE_MAX_BYTES, topicProblem } from '../core/topic.js';
import { textProblem } from './element.js';
import type { MessageDraft, MessageSink, UnsentDraft } from './transformer.js';

/** The settings of the connection that a message takes over where it says nothing itself. */
export interface MessageDefaults {
  readonly qos: QoS;
  readonly retain: boolean;
  readonly expirySeconds: number;
  readonly topicPrefix: string;
  readonly userProperties: readonly (readonly [name: string, value: string])[];
}

/** Content that goes to quarantine at once, encoded as `core/record.ts` says; its topic may be empty. */
export interface UnsentRecord {
  lane: Lane;
  code: string;
  reason: string;
  record: Uint8Array;
}

/** All characters that `topicProblem` objects to. A topic without any is found in half the time that it takes. */
const UNSAFE = /[\p{Cc}\p{Surrogate}\p{Noncharacter_Code_Point}+#]/u;

export class Collector implements MessageSink {
  /** What was collected since the beginning or the last `reset`; the cache may keep what it is given of it. */
  batches = new LaneBatches();
  quarantined: UnsentRecord[] = [];
  rejections: Rejection[] = [];
  /** Elements that were dropped because the configuration says so. */
  ignoredCount = 0;
  /** Added to every index: how many elements came before, where content is handed over in parts. */
  indexBase = 0;
  readonly #defaults: MessageDefaults;
  readonly #defaultProperties: MessageProperties | undefined;
  readonly #payloadSizeMaxBytes: number;
  #quarantinedSizeBytes = 0;

  constructor(defaults: MessageDefaults, payloadSizeMaxBytes = RECORD_SIZE_MAX_BYTES) {
    this.#defaults = defaults;
    this.#defaultProperties =
      defaults.userProperties.length === 0 ? undefined : { userProperties: defaults.userProperties };
    this.#payloadSizeMaxBytes = payloadSizeMaxBytes;
  }

  get sizeBytes(): number {
    return this.batches.sizeBytes + this.#quarantinedSizeBytes;
  }

  /** Starts anew with empty lists; what was handed out stays as it is. */
  reset(): void {
    this.batches = new LaneBatches();
    this.quarantined = [];
    this.rejections = [];
    this.ignoredCount = 0;
    this.#quarantinedSizeBytes = 0;
  }

  push(index: number, draft: MessageDraft): void {
    // An empty topic stays empty, so that a prefix does not make a topic of it.
    const topic = draft.topic === '' ? '' : joinTopic(this.#defaults.topicPrefix, draft.topic);
    if (topic === '' || topic.length * 3 > TOPIC_SIZE_MAX_BYTES || UNSAFE.test(topic) || isReserved(topic, draft)) {
      const problem = topicFault(topic, draft);
      if (problem !== undefined) {
        this.quarantine(index, 'TOPIC_INVALID', problem, draft);
        return;
      }
    }
    const payload = this.#encodePayload(index, draft.payload);
    if (payload === undefined) return;
    try {
      this.batches.push(this.#complete(topic, payload, draft));
    } catch (error) {
      this.#rejectTooLarge(index, error);
    }
  }

  reject(index: number, code: ErrorCode, message: string): void {
    this.rejections.push({ index: this.indexBase + index, code, message });
  }

  quarantine(index: number, code: ErrorCode, reason: string, draft: UnsentDraft): void {
    const payload = this.#encodePayload(index, draft.payload);
    if (payload === undefined) return;
    const topic = storableTopic(this.#defaults.topicPrefix, draft.topic ?? '');
    const message = this.#complete(topic, payload, draft);
    const builder = new BatchBuilder(payload.length + topic.length + 64);
    try {
      builder.push(message);
    } catch (error) {
      this.#rejectTooLarge(index, error);
      return;
    }
    const record = builder.finish();
    this.quarantined.push({ lane: message.lane, code, reason, record });
    this.#quarantinedSizeBytes += record.length;
  }

  ignored(count: number): void {
    this.ignoredCount += count;
  }

  #encodePayload(index: number, payload: Uint8Array | string): Uint8Array | undefined {
    // The length in UTF-16 units is never more than the size in bytes, so a text that cannot fit is not encoded.
    if (payload.length > this.#payloadSizeMaxBytes) return this.#rejectPayload(index, payload);
    const bytes = typeof payload === 'string' ? encodeText(payload) : payload;
    return bytes.length > this.#payloadSizeMaxBytes ? this.#rejectPayload(index, payload) : bytes;
  }

  #rejectPayload(index: number, payload: Uint8Array | string): undefined {
    const message = `The payload is ${Buffer.byteLength(payload)} bytes long; at most ${this.#payloadSizeMaxBytes} are possible.`;
    this.reject(index, 'MESSAGE_TOO_LARGE', message);
  }

  // The record's limit counts topic and properties, too; a batch that refuses a message is unchanged.
  #rejectTooLarge(index: number, error: unknown): void {
    if (!(error instanceof RangeError)) throw error;
    this.reject(index, 'MESSAGE_TOO_LARGE', error.message);
  }

  #complete(topic: string, payload: Uint8Array, draft: UnsentDraft): Message {
    const message: Message = {
      topic,
      payload,
      qos: draft.qos ?? this.#defaults.qos,
      retain: draft.retain ?? this.#defaults.retain,
      lane: draft.lane ?? 'telemetry',
      expirySeconds: draft.expirySeconds ?? this.#defaults.expirySeconds,
    };
    const properties = draft.properties === undefined ? this.#defaultProperties : this.#merge(draft.properties);
    if (properties !== undefined) message.properties = properties;
    return message;
  }

  /** A name that the message sets itself is not taken from the connection. */
  #merge(own: MessageProperties): MessageProperties {
    const defaults = this.#defaultProperties?.userProperties;
    if (defaults === undefined) return own;
    const names = new Set(own.userProperties?.map(([name]) => name));
    const userProperties = [...defaults.filter(([name]) => !names.has(name)), ...(own.userProperties ?? [])];
    return { ...own, userProperties };
  }
}

function isReserved(topic: string, draft: MessageDraft): boolean {
  return draft.isTopicFromContent === true && topic.charCodeAt(0) === 0x24;
}

function topicFault(topic: string, draft: MessageDraft): string | undefined {
  const problem = topicProblem(topic);
  if (problem !== undefined || !isReserved(topic, draft)) return problem;
  return 'The content makes the topic begin with "$", which is reserved for the broker.';
}

/** The topic as it can be stored; empty when it is too long, or storing would make another topic of it. */
function storableTopic(prefix: string, topic: string): string {
  const full = topic === '' ? '' : joinTopic(prefix, topic);
  return Buffer.byteLength(full) > TOPIC_SIZE_MAX_BYTES || textProblem(full) !== undefined ? '' : full;
}

// Encoding into one buffer that is used again and again saves an allocation per message: the batch copies the bytes.
const SCRATCH_SIZE_BYTES = 65_536;
const scratch = Buffer.allocUnsafeSlow(SCRATCH_SIZE_BYTES);

/** The UTF-8 of a text, valid until the next call. */
function encodeText(text: string): Uint8Array {
  if (text.length * 3 > SCRATCH_SIZE_BYTES) return Buffer.from(text);
  return scratch.subarray(0, scratch.write(text, 0, 'utf8'));
}
