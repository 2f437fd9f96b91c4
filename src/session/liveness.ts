/**
 * Whether a connection still lives: pings when it is silent, and finds what is overdue.
 *
 * Three things may fail to come: the answer to a ping, an acknowledgement, and room in the socket. A broker that answers
 * pings and acknowledges nothing is as dead for us as one that is silent, so that acknowledgements have their own time.
 */
import { NorthError } from '../core/error.js';

/** A ping goes out after this part of the keep-alive, so that it arrives before the broker gives us up. */
const PING_AFTER = 0.75;
const PING_TIMEOUT_LEAST_MS = 1000;

export class Liveness {
  readonly #ackTimeoutMs: number;
  #keepaliveMs = 0;
  #heardMs = 0;
  #pingSentMs: number | undefined;
  #blockedSinceMs: number | undefined;

  constructor(ackTimeoutMs: number) {
    this.#ackTimeoutMs = ackTimeoutMs;
  }

  /** A new connection; without pings until `setKeepalive`. */
  begin(nowMs: number): void {
    this.#keepaliveMs = 0;
    this.#heardMs = nowMs;
    this.#pingSentMs = undefined;
    this.#blockedSinceMs = undefined;
  }

  /** 0 switches pings off [MQTT 5.0 §3.1.2.10]. */
  setKeepalive(keepaliveMs: number): void {
    this.#keepaliveMs = keepaliveMs;
  }

  heard(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  pingAnswered(): void {
    this.#pingSentMs = undefined;
  }

  pingSent(nowMs: number): void {
    this.#pingSentMs = nowMs;
  }

  setWritable(isWritable: boolean, nowMs: number): void {
    if (isWritable) this.#blockedSinceMs = undefined;
    else this.#blockedSinceMs ??= nowMs;
  }

  /** Silence in either direction asks for a ping: a half-open connection swallows what we write. */
  isPingDue(nowMs: number, writtenAtMs: number): boolean {
    if (this.#keepaliveMs === 0 || this.#pingSentMs !== undefined) return false;
    return nowMs >= this.#pingDueMs(writtenAtMs);
  }

  /** Why the connection has to be ended, or undefined. */
  overdue(nowMs: number, oldestSentMs: number | undefined): NorthError | undefined {
    if (oldestSentMs !== undefined && nowMs >= oldestSentMs + this.#ackTimeoutMs) {
      const seconds = Math.round((nowMs - oldestSentMs) / 1000);
      return new NorthError('ACK_OVERDUE', `The broker has not acknowledged a message for ${seconds} s.`);
    }
    if (this.#blockedSinceMs !== undefined && nowMs >= this.#blockedSinceMs + this.#ackTimeoutMs) {
      return new NorthError('ACK_OVERDUE', 'The broker takes no more bytes from the socket.');
    }
    if (this.#pingSentMs !== undefined && nowMs >= this.#pingSentMs + this.#pingTimeoutMs()) {
      return new NorthError('KEEPALIVE_TIMEOUT', 'The broker did not answer a ping.');
    }
    return undefined;
  }

  /**
   * When `overdue` or `isPingDue` has to be asked again. They compare with the same sums: a difference would be rounded
   * another way, and asking again at that time would find nothing due.
   */
  nextMs(writtenAtMs: number, oldestSentMs: number | undefined): number {
    let next = Number.POSITIVE_INFINITY;
    if (oldestSentMs !== undefined) next = oldestSentMs + this.#ackTimeoutMs;
    if (this.#blockedSinceMs !== undefined) next = Math.min(next, this.#blockedSinceMs + this.#ackTimeoutMs);
    if (this.#pingSentMs !== undefined) next = Math.min(next, this.#pingSentMs + this.#pingTimeoutMs());
    else if (this.#keepaliveMs > 0) next = Math.min(next, this.#pingDueMs(writtenAtMs));
    return next;
  }

  #pingDueMs(writtenAtMs: number): number {
    return Math.min(writtenAtMs, this.#heardMs) + this.#keepaliveMs * PING_AFTER;
  }

  #pingTimeoutMs(): number {
    return Math.max(PING_TIMEOUT_LEAST_MS, Math.min(this.#keepaliveMs / 2, this.#ackTimeoutMs));
  }
}
