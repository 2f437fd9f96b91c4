/**
 * Whether a connection still lives: pings when it is silent, and finds what is overdue.
 *
 * Three things may fail to come: the answer to a ping, an acknowledgement, and room in the socket. A broker that answers
 * pings and acknowledges nothing is as dead for us as one that is silent, so that acknowledgements have their own time. It
 * runs anew with every acknowledgement, because on a slow line many messages share the way; a message that others have
 * overtaken is waited for no longer. Before the time is up a ping tells a broker that does not acknowledge from one that has
 * fallen silent. A broker that takes longer for everything gets twice the time with each connection
 * that brought nothing, also for its answers to pings, so that a line which is slower than the setting gets on, too.
 */
import { NorthError } from '../core/error.js';

/** A ping goes out after this part of the keep-alive, so that it arrives before the broker gives us up. */
const PING_AFTER = 0.75;
const PING_TIMEOUT_LEAST_MS = 1000;
/** After this part of the time-out for an acknowledgement, a broker that says nothing is asked whether it is there. */
const ASK_AFTER = 0.5;
/** A line that is dead is noticed in this time at the latest, however slow it was. */
const PING_TIMEOUT_MOST_MS = 120_000;
/** Acknowledgements that come keep a message waiting for so many times the time-out at most. */
const PATIENCE = 4;
/** The time-out grows up to this, unless the setting is longer. */
const ACK_TIMEOUT_MAX_MS = 10 * 60_000;

/**
 * What the broker has answered on a connection. PUBLISHes of one QoS are answered in the order in which they were sent
 * [MQTT-4.6.0-2, MQTT-4.6.0-3]; those of another one may overtake them: some brokers take one message of QoS 2 at a time.
 */
export interface Answered {
  /** By QoS, the place in the order of sending of the last PUBLISH that was answered; 0: none was. */
  publishOrders: [number, number, number];
  releaseOrder: number;
  /** By QoS, when anything was answered last, on whatever connection; 0: nothing was. */
  atMs: [number, number, number];
}

/** A message that has waited longest for its acknowledgement, in its lane. */
export interface OldestSent {
  sentMs: number;
  /** Others that were sent later are answered, and nothing has come that makes up for it since then; undefined: none is. */
  passedOverMs: number | undefined;
}

export class Liveness {
  readonly #ackTimeoutSettingMs: number;
  #ackTimeoutMs: number;
  /** When something was acknowledged last on this connection. */
  #acknowledgedMs = Number.NEGATIVE_INFINITY;
  #keepaliveMs = 0;
  #heardMs = 0;
  #pingSentMs: number | undefined;
  /** A ping goes out at once, to see whether the broker answers. */
  #isPingWanted = false;
  /** The broker has answered a ping on this connection. */
  isProven = false;
  #blockedSinceMs: number | undefined;

  constructor(ackTimeoutMs: number) {
    this.#ackTimeoutSettingMs = ackTimeoutMs;
    this.#ackTimeoutMs = ackTimeoutMs;
  }

  /** So long after it was sent, no message asks for anything. */
  get patienceLeastMs(): number {
    return this.#ackTimeoutSettingMs * ASK_AFTER;
  }

  /** A new connection; without pings until `setKeepalive`. */
  begin(nowMs: number): void {
    this.#keepaliveMs = 0;
    this.#heardMs = nowMs;
    this.#pingSentMs = undefined;
    this.#isPingWanted = false;
    this.isProven = false;
    this.#blockedSinceMs = undefined;
    this.#acknowledgedMs = Number.NEGATIVE_INFINITY;
  }

  /** Asks for a ping whose answer shows that the broker is there. */
  prove(): void {
    this.#isPingWanted = true;
  }

  /** Acknowledgements have come which took so long on average. */
  acknowledged(tookMs: number, nowMs: number): void {
    this.#acknowledgedMs = nowMs;
    if (tookMs < this.#ackTimeoutSettingMs) this.#ackTimeoutMs = this.#ackTimeoutSettingMs;
  }

  /** The connection was given up because an acknowledgement or the answer to a ping was overdue. */
  gaveUp(): void {
    if (this.#acknowledgedMs !== Number.NEGATIVE_INFINITY) return;
    const mostMs = Math.max(ACK_TIMEOUT_MAX_MS, this.#ackTimeoutSettingMs);
    this.#ackTimeoutMs = Math.min(mostMs, this.#ackTimeoutMs * 2);
  }

  /** 0 switches pings off [MQTT 5.0 §3.1.2.10]. */
  setKeepalive(keepaliveMs: number): void {
    this.#keepaliveMs = keepaliveMs;
  }

  get heardMs(): number {
    return this.#heardMs;
  }

  heard(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  pingAnswered(): void {
    this.#pingSentMs = undefined;
    this.isProven = true;
  }

  pingSent(nowMs: number): void {
    this.#pingSentMs = nowMs;
    this.#isPingWanted = false;
  }

  setWritable(isWritable: boolean, nowMs: number): void {
    if (isWritable) this.#blockedSinceMs = undefined;
    else this.#blockedSinceMs ??= nowMs;
  }

  /** The one of these whose acknowledgement is due first; undefined when there is none. */
  firstDue(oldest: readonly OldestSent[]): OldestSent | undefined {
    let first: OldestSent | undefined;
    for (const one of oldest) {
      if (first === undefined || this.#ackDueMs(one) < this.#ackDueMs(first)) first = one;
    }
    return first;
  }

  /** Silence in either direction asks for a ping: a half-open connection swallows what we write. */
  isPingDue(nowMs: number, writtenAtMs: number, oldest: OldestSent | undefined): boolean {
    if (this.#pingSentMs !== undefined) return false;
    if (this.#isPingWanted || (oldest !== undefined && nowMs >= this.#askDueMs(oldest))) return true;
    return this.#keepaliveMs > 0 && nowMs >= this.#pingDueMs(writtenAtMs);
  }

  /** Why the connection has to be ended, or undefined. */
  overdue(nowMs: number, oldest: OldestSent | undefined): NorthError | undefined {
    if (oldest !== undefined && nowMs >= this.#ackDueMs(oldest)) {
      const seconds = Math.round((nowMs - oldest.sentMs) / 1000);
      if (this.#pingSentMs !== undefined && this.#heardMs < this.#pingSentMs) {
        const text = `The broker has answered neither a message, for ${seconds} s, nor a ping.`;
        return new NorthError('KEEPALIVE_TIMEOUT', text);
      }
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
  nextMs(writtenAtMs: number, oldest: OldestSent | undefined): number {
    let next = Number.POSITIVE_INFINITY;
    if (oldest !== undefined) {
      next = this.#ackDueMs(oldest);
      if (this.#pingSentMs === undefined && this.#blockedSinceMs === undefined) {
        next = Math.min(next, this.#askDueMs(oldest));
      }
    }
    if (this.#blockedSinceMs !== undefined) next = Math.min(next, this.#blockedSinceMs + this.#ackTimeoutMs);
    if (this.#pingSentMs !== undefined) next = Math.min(next, this.#pingSentMs + this.#pingTimeoutMs());
    // No ping can be written while the socket is full; that it stays so is noticed by itself.
    else if (this.#keepaliveMs > 0 && this.#blockedSinceMs === undefined) {
      next = Math.min(next, this.#pingDueMs(writtenAtMs));
    }
    return next;
  }

  #ackDueMs({ sentMs, passedOverMs }: OldestSent): number {
    const sinceMs = passedOverMs ?? Math.max(sentMs, this.#acknowledgedMs);
    return Math.min(sinceMs + this.#ackTimeoutMs, sentMs + PATIENCE * this.#ackTimeoutMs);
  }

  #askDueMs({ sentMs }: OldestSent): number {
    return Math.max(sentMs, this.#heardMs) + this.#ackTimeoutMs * ASK_AFTER;
  }

  #pingDueMs(writtenAtMs: number): number {
    return Math.min(writtenAtMs, this.#heardMs) + this.#keepaliveMs * PING_AFTER;
  }

  #pingTimeoutMs(): number {
    const keepaliveMs = this.#keepaliveMs === 0 ? Number.POSITIVE_INFINITY : this.#keepaliveMs;
    const timeoutMs = Math.max(PING_TIMEOUT_LEAST_MS, Math.min(keepaliveMs / 2, this.#ackTimeoutSettingMs));
    const growth = this.#ackTimeoutMs / this.#ackTimeoutSettingMs;
    return Math.max(timeoutMs, Math.min(timeoutMs * growth, PING_TIMEOUT_MOST_MS));
  }
}
