/**
 * Topics that the broker does not let us publish to. What follows on such a topic is set aside at once for a while, instead
 * of being sent to be refused like the one before.
 *
 * Topics are only looked at from the first refusal of a connection on, so that the second one of a topic pauses it, and a
 * broker that refuses nothing costs nothing.
 */
import type { QuarantineReason } from '../core/progress.js';
import { PAUSED_TOPICS_MAX, TOPIC_PAUSE_MS } from './refusal.js';

/** Longer topics are never paused, so that what is kept here stays small. */
const TOPIC_SIZE_MAX_BYTES = 1024;

interface Pause {
  untilMs: number;
  reason: string;
}

export class PausedTopics {
  /** True from the first refusal of a connection on: whoever sends tells the topics. */
  isWatching = false;
  readonly #pauses = new Map<string, Pause>();
  /** Topics of what is in flight, by packet identifier. */
  readonly #sent: (string | undefined)[] = [];

  /** A new connection: the broker's access rules may have changed. */
  begin(): void {
    this.isWatching = false;
    this.#sent.length = 0;
    this.#pauses.clear();
  }

  /** Somebody has mended the access rules: refused topics are tried again at once. */
  resume(): void {
    this.#pauses.clear();
  }

  sent(id: number, topic: Uint8Array): void {
    this.#sent[id] = topic.length > TOPIC_SIZE_MAX_BYTES ? undefined : nameOf(topic);
  }

  /** Why a message on this topic is not sent now, or undefined. */
  pauseOf(topic: Uint8Array, nowMs: number): QuarantineReason | undefined {
    if (this.#pauses.size === 0 || topic.length > TOPIC_SIZE_MAX_BYTES) return undefined;
    const name = nameOf(topic);
    const pause = this.#pauses.get(name);
    if (pause === undefined) return undefined;
    if (nowMs >= pause.untilMs) {
      this.#pauses.delete(name);
      return undefined;
    }
    const reason = `Not sent: the broker refused this topic shortly before. ${pause.reason}`;
    return { code: 'PUBLISH_NOT_AUTHORIZED', reason };
  }

  /** The broker has refused this message for its topic, which is given when it was not paused before. */
  refused(id: number, reason: string, nowMs: number): string | undefined {
    this.isWatching = true;
    const topic = this.#sent[id];
    if (topic === undefined) return undefined;
    const isKnown = this.#pauses.delete(topic);
    this.#pauses.set(topic, { untilMs: nowMs + TOPIC_PAUSE_MS, reason });
    if (this.#pauses.size > PAUSED_TOPICS_MAX) {
      const [oldest] = this.#pauses.keys();
      if (oldest !== undefined) this.#pauses.delete(oldest);
    }
    return isKnown ? undefined : topic;
  }
}

function nameOf(topic: Uint8Array): string {
  return Buffer.from(topic.buffer, topic.byteOffset, topic.length).toString();
}
