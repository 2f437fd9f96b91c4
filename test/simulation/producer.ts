/**
 * Hands in one piece of content as a producer does: once, and when it has a key again and again until it has a receipt. It
 * knows what it may rely on, and writes down every breach of it.
 */

import type { Receipt } from '../../src/connector/connector.js';
import type { LiveConnector } from '../../src/connector/live-connector.js';
import type { Content } from '../../src/core/content.js';
import { errorText, NorthError } from '../../src/core/error.js';
import type { Message } from '../../src/core/message.js';
import { type Key, payloadOf } from './key.js';
import type { Places } from './places.js';
import type { PlannedAppend } from './plan.js';

/** `refused`: it has been told that nothing is stored. `unknown`: it has been told nothing. */
export type Outcome = 'due' | 'asked' | 'accepted' | 'refused' | 'unknown';

/** What a producer may be told; everything else is a fault of ours. */
const REFUSALS = ['CACHE_FULL', 'CACHE_DISK_FULL', 'CACHE_CLOSED', 'SERVICE_STOPPING'];

const TRIES_MAX = 60;
/** So many topics for the messages of one lane. */
const TOPICS_COUNT = 3;
const TIMESTAMP = '2026-01-15T10:00:00.000Z';

export interface ProducerMessage {
  name: Key;
  message: Message;
  /** The payload that is published of it. */
  arriving: Buffer;
}

export interface HandedMessage extends ProducerMessage {
  producer: Producer;
}

export class Producer {
  readonly messages: readonly ProducerMessage[];
  readonly plan: PlannedAppend;
  outcome: Outcome = 'due';
  /** Of all attempts the earliest time that the wall clock showed, which may have been set back, and that of the last. */
  earliestAskedAtMs = Number.POSITIVE_INFINITY;
  lastAskedAtMs: number | undefined;
  /** How often it was refused, by code. */
  readonly refusals = new Map<string, number>();
  readonly #places: Places;
  readonly #problems: string[];
  readonly #content: Content;
  readonly #key: string | undefined;
  #tries = 0;

  constructor(plan: PlannedAppend, names: readonly Key[], number: number, places: Places, problems: string[]) {
    this.plan = plan;
    this.#places = places;
    this.#problems = problems;
    this.#key = plan.isKeyed === true ? `key-${number}` : undefined;
    this.messages = names.map((name, i) => {
      const message = messageOf(plan, name, i);
      return { name, message, arriving: arrivingOf(plan, message) };
    });
    this.#content = contentOf(plan, this.messages);
  }

  get isKeyed(): boolean {
    return this.#key !== undefined;
  }

  /** True when it waits for nothing any more. */
  get isDone(): boolean {
    return this.outcome === 'accepted' || this.outcome === 'refused' || this.outcome === 'unknown';
  }

  /** @param answered called once with the receipt, and undefined when it was stored before, or with the error's code. */
  hand(
    connector: LiveConnector,
    wallMs: number,
    isAlive: () => boolean,
    answered: (receipt: Receipt | undefined, code: string | undefined) => void,
  ): void {
    this.outcome = 'asked';
    this.#tries++;
    this.earliestAskedAtMs = Math.min(this.earliestAskedAtMs, wallMs);
    this.lastAskedAtMs = wallMs;
    const storedBefore = this.#storedCount();
    const isFresh = (): boolean => this.#storedCount() > storedBefore || this.messages.length === 0;
    const options = { source: 'producer', ...(this.#key === undefined ? {} : { idempotencyKey: this.#key }) };
    connector.accept(this.#content, options).then(
      (receipt) => {
        if (!isAlive()) return;
        this.outcome = 'accepted';
        this.#check(receipt);
        answered(isFresh() ? receipt : undefined, undefined);
      },
      (error: unknown) => {
        if (!isAlive()) return;
        const code = error instanceof NorthError ? error.code : errorText(error);
        this.#refused(code, storedBefore, errorText(error));
        answered(undefined, code);
      },
    );
  }

  /** The process it was talking to is gone. */
  abandoned(): void {
    if (this.outcome !== 'asked') return;
    this.outcome = this.isKeyed ? 'due' : 'unknown';
  }

  #refused(code: string, storedBefore: number, text: string): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
    const isEmpty = code === 'CONTENT_EMPTY' && this.messages.length === 0 && (this.plan.invalidCount ?? 0) > 0;
    if (!REFUSALS.includes(code) && !isEmpty) this.#problems.push(`A producer was told ${code}: ${text}`);
    if (this.#storedCount() > storedBefore) this.#problems.push(`A producer was told ${code}, and it was stored.`);
    const isRetried = this.isKeyed && !isEmpty && this.#tries < TRIES_MAX;
    this.outcome = isRetried ? 'due' : 'refused';
  }

  #storedCount(): number {
    return this.messages.reduce((count, { name }) => count + this.#places.originsOf(name).length, 0);
  }

  /** A receipt says that everything in it is on stable storage. */
  #check(receipt: Receipt): void {
    const { invalidCount = 0, unmappedCount = 0 } = this.plan;
    const missing = this.messages.filter(({ name }) => !this.#places.has(name));
    if (missing.length > 0) this.#problems.push(`${missing[0]!.name} has a receipt and is not stored.`);
    if (receipt.accepted !== this.messages.length + unmappedCount) {
      this.#problems.push(`A receipt says ${receipt.accepted} of ${this.messages.length} messages.`);
    }
    if (receipt.rejected.length !== invalidCount) {
      this.#problems.push(`A receipt tells of ${receipt.rejected.length} rejections; ${invalidCount} were invalid.`);
    }
    if (receipt.quarantined !== unmappedCount) {
      this.#problems.push(`A receipt tells of ${receipt.quarantined} in quarantine; ${unmappedCount} have no mapping.`);
    }
  }
}

function messageOf({ lane, messages, content }: PlannedAppend, name: Key, index: number): Message {
  const { qos, sizeBytes, expirySeconds, retain } = messages[index]!;
  const isMeasured = content === 'time-values';
  return {
    topic: isMeasured ? `plant/${lane}/${qos}` : `plant/${lane}/hall-${index % TOPICS_COUNT}`,
    payload: payloadOf(name, sizeBytes),
    qos,
    retain: !isMeasured && retain,
    lane,
    expirySeconds: isMeasured ? 0 : expirySeconds,
  };
}

/** The bytes that the broker gets, which are not made by the code under test. */
function arrivingOf({ content }: PlannedAppend, { payload }: Message): Buffer {
  if (content === undefined) return Buffer.from(payload);
  return Buffer.from(`{"value":"${Buffer.from(payload).toString('latin1')}","timestamp":"${TIMESTAMP}"}`);
}

function contentOf(plan: PlannedAppend, messages: readonly ProducerMessage[]): Content {
  const { content, invalidCount = 0, unmappedCount = 0 } = plan;
  const invalid = Array.from({ length: invalidCount }, (_, i) => ({ qos: 7, pointId: i }));
  if (content === 'time-values') {
    const values = messages.map(({ message }) => ({
      pointId: `${message.lane}/${message.qos}`,
      timestamp: TIMESTAMP,
      data: { value: Buffer.from(message.payload).toString('latin1') },
    }));
    const unmapped = Array.from({ length: unmappedCount }, (_, i) => ({
      pointId: `nowhere/${i}`,
      timestamp: TIMESTAMP,
      data: { value: i },
    }));
    return { type: 'time-values', elements: [...values, ...invalid, ...unmapped] };
  }
  const elements = messages.map(({ message }) => ({
    topic: message.topic,
    payload: Buffer.from(message.payload).toString('latin1'),
    qos: message.qos,
    retain: message.retain,
    lane: message.lane,
    ...(message.expirySeconds === 0 ? {} : { properties: { messageExpiry: message.expirySeconds } }),
  }));
  return { type: 'messages', elements: [...elements, ...invalid] };
}

/** The mapping that the measured values of all worlds go through. */
export const TRANSFORMER = {
  type: 'time-values-to-mqtt' as const,
  mapping: (['command', 'alert', 'telemetry'] as const).flatMap((lane) =>
    ([0, 1, 2] as const).map((qos) => ({ pointId: `${lane}/${qos}`, topic: `plant/${lane}/${qos}`, qos, lane })),
  ),
};
