/**
 * QoS 2 exchanges of messages that went to quarantine in their middle. The broker may hold these messages, and would take
 * another one with the same identifier for the former; so each exchange is ended with a PUBREL first, and its identifier is
 * not used before the PUBCOMP has come. They are stored with the progress, because after a crash the identifier is still
 * taken; and their end is stored before the identifier is used, because a PUBREL that is repeated would then be for another
 * message.
 *
 * A broker that cannot bear such a PUBREL, either, ends connections with it for ever. Then the exchanges are withheld, and
 * as soon as nothing else is in flight the session is given up for a new one, in which no identifier is taken.
 */
import type { Lane } from '../core/lane.js';

/** A broker that does not answer the PUBREL for so long has no such exchange. */
const PUBREL_TIMEOUT_MS = 30_000;

/** So many connections in a row may end with such a PUBREL unanswered. */
const DEATHS_MAX = 3;

const NOT_RELEASED = Number.NEGATIVE_INFINITY;

interface OpenExchange {
  readonly lane: Lane;
  readonly offset: number;
  /** When the PUBREL went out on this connection. */
  releasedMs: number;
  end: 'open' | 'over' | 'being stored';
}

export class OpenExchanges {
  /** True when only a new session helps: none of their PUBRELs goes out, and the session is given up when it can be. */
  isWithheld = false;
  /** True when that is so because the broker cannot bear a PUBREL. */
  isUnbearable = false;
  readonly #exchanges = new Map<number, OpenExchange>();
  #unreleasedCount = 0;
  #deathsCount = 0;

  get count(): number {
    return this.#exchanges.size;
  }

  /**
   * So many messages the broker may hold and count against what it takes at a time, besides those in flight: their PUBRELs
   * are about to go out, as soon as it is stored that they are in quarantine. What is withheld waits for another session.
   */
  get heldCount(): number {
    return this.isWithheld ? 0 : this.#unreleasedCount;
  }

  /** The messages whose exchange is not over, in no particular order. */
  get messages(): readonly Readonly<{ lane: Lane; offset: number }>[] {
    return [...this.#exchanges.values()].filter(({ end }) => end === 'open');
  }

  add(id: number, lane: Lane, offset: number): void {
    if (!isUnreleased(this.#exchanges.get(id))) this.#unreleasedCount++;
    this.#exchanges.set(id, { lane, offset, releasedMs: NOT_RELEASED, end: 'open' });
  }

  /** True when one is over and that is not stored yet. */
  get isSaveDue(): boolean {
    for (const { end } of this.#exchanges.values()) if (end === 'over') return true;
    return false;
  }

  /** A save has begun: with it, those that are over now are forgotten. */
  saving(): void {
    for (const exchange of this.#exchanges.values()) if (exchange.end === 'over') exchange.end = 'being stored';
  }

  saved(): void {
    for (const [id, { end }] of this.#exchanges) if (end === 'being stored') this.#exchanges.delete(id);
  }

  /** The broker cannot bear a PUBREL. */
  withholdUnbearable(): void {
    this.isWithheld = true;
    this.isUnbearable = true;
  }

  /** True when the PUBREL of this identifier must not go out. */
  withholds(id: number): boolean {
    return this.isWithheld && this.#exchanges.has(id);
  }

  /** A new connection; a broker that has lost its session holds nothing. */
  resume(sessionKept: boolean): void {
    if (!sessionKept) {
      this.#exchanges.clear();
      this.#deathsCount = 0;
      this.isWithheld = false;
      this.isUnbearable = false;
    }
    this.#unreleasedCount = 0;
    for (const exchange of this.#exchanges.values()) {
      exchange.releasedMs = NOT_RELEASED;
      if (isUnreleased(exchange)) this.#unreleasedCount++;
    }
  }

  /** The broker has ended the connection, or says nothing any more, and nothing else was unanswered on it. */
  connectionDied(): void {
    let isWaiting = false;
    for (const { releasedMs, end } of this.#exchanges.values()) {
      isWaiting ||= end === 'open' && releasedMs !== NOT_RELEASED;
    }
    this.#deathsCount = isWaiting ? this.#deathsCount + 1 : 0;
    if (this.#deathsCount >= DEATHS_MAX) this.withholdUnbearable();
  }

  /**
   * Until when something may still come of these exchanges; undefined: of none. While it is looked for what the broker cannot
   * bear, everything else waits for that, so that it can be told whether it is one of their PUBRELs.
   */
  pendingUntilMs(nowMs: number): number | undefined {
    if (this.isWithheld) return undefined;
    let untilMs: number | undefined;
    for (const { releasedMs, end } of this.#exchanges.values()) {
      if (end !== 'open') continue;
      const dueMs = (releasedMs === NOT_RELEASED ? nowMs : releasedMs) + PUBREL_TIMEOUT_MS;
      if (dueMs > nowMs) untilMs = Math.max(untilMs ?? 0, dueMs);
    }
    return untilMs;
  }

  /** Calls `release` for those whose PUBREL is due, until it gives false; `isStored` tells what is in quarantine on disk. */
  release(isStored: (id: number) => boolean, release: (id: number) => boolean, nowMs: number): void {
    if (this.isWithheld) return;
    for (const [id, exchange] of this.#exchanges) {
      // The next process would otherwise send the message again, and it would arrive twice.
      if (!isUnreleased(exchange) || !isStored(id)) continue;
      if (!release(id)) return;
      exchange.releasedMs = nowMs;
      this.#unreleasedCount--;
    }
  }

  /** A PUBCOMP has come; gives true when it was for one of these. */
  complete(id: number): boolean {
    const exchange = this.#exchanges.get(id);
    if (exchange?.end !== 'open') return false;
    if (isUnreleased(exchange)) this.#unreleasedCount--;
    exchange.end = 'over';
    this.#deathsCount = 0;
    return true;
  }

  /** Until when the identifier must not be used; without end until something else has happened; undefined: it is free. */
  blockedUntilMs(id: number, nowMs: number): number | undefined {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) return undefined;
    if (exchange.end !== 'open' || exchange.releasedMs === NOT_RELEASED) return Number.POSITIVE_INFINITY;
    if (nowMs < exchange.releasedMs + PUBREL_TIMEOUT_MS) return exchange.releasedMs + PUBREL_TIMEOUT_MS;
    exchange.end = 'over';
    return Number.POSITIVE_INFINITY;
  }
}

function isUnreleased(exchange: OpenExchange | undefined): boolean {
  return exchange?.end === 'open' && exchange.releasedMs === NOT_RELEASED;
}
