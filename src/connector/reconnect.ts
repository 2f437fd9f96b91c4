/**
 * When to dial which broker next. One attempt is a walk through the list of brokers; attempts are a period apart,
 * measured from the beginning of one to the beginning of the next, for ever.
 */
import type { BrokerUrl } from '../config/broker-url.js';
import type { ErrorCode } from '../core/error-codes.js';

const GROWTH = 1.6;

/** Who took our client id would be thrown out by us, and throw us out in turn: at least so long we leave it alone. */
const TAKEOVER_PAUSE_LEAST_MS = 30_000;
/** Each of our attempts throws the other client out: while that goes on, they become rarer up to this. */
const TAKEOVER_PAUSE_MAX_MS = 300_000;

const SEARCH_PERIOD_MS = 1000;

export interface ReconnectOptions {
  brokers: readonly BrokerUrl[];
  protocolVersion: 'auto' | '5' | '3.1.1';
  reconnectPeriodMs: number;
  /** When larger, the period grows up to this, with jitter. */
  reconnectPeriodMaxMs: number;
}

export interface Attempt {
  broker: BrokerUrl;
  protocolVersion: 4 | 5;
}

export class Reconnect {
  readonly #options: ReconnectOptions;
  readonly #random: () => number;
  readonly #versions = new Map<string, 4 | 5>();
  #brokerIndex = 0;
  #triesOldVersion = false;
  #attemptStartMs: number | undefined;
  /** The last pause for another client with our client id; 0: there was none, or we stayed connected since. */
  #takeoverPauseMs = 0;
  /** Attempts since the last connection that was accepted. */
  failures = 0;

  constructor(options: ReconnectOptions, random: () => number) {
    this.#options = options;
    this.#random = random;
  }

  /** The dial that is due now. */
  begin(nowMs: number): Attempt {
    if (this.#brokerIndex === 0 && !this.#triesOldVersion) this.#attemptStartMs = nowMs;
    const broker = this.#options.brokers[this.#brokerIndex]!;
    return { broker, protocolVersion: this.#triesOldVersion ? 4 : this.#versionOf(broker) };
  }

  #versionOf(broker: BrokerUrl): 4 | 5 {
    if (this.#options.protocolVersion === '3.1.1') return 4;
    if (this.#options.protocolVersion === '5') return 5;
    return this.#versions.get(broker.display) ?? 5;
  }

  /** The broker has accepted us. */
  succeeded(attempt: Attempt): void {
    this.#versions.set(attempt.broker.display, attempt.protocolVersion);
    this.#brokerIndex = 0;
    this.#triesOldVersion = false;
    this.failures = 0;
  }

  /**
   * True when the next dial belongs to the same attempt, in the old version. A broker that does not know MQTT 5 says so
   * with a return code, or closes, or answers what is no MQTT 5. When the old version is no better, the next attempt
   * begins with 5 again. One that has spoken MQTT 5 before has another reason to close: it is being restarted, and in
   * the old version it would stay without its reasons and limits for the rest of this life.
   */
  fallsBack(attempt: Attempt, code: ErrorCode): boolean {
    if (this.#options.protocolVersion !== 'auto' || attempt.protocolVersion === 4) return false;
    const isKnown = this.#versions.get(attempt.broker.display) === 5;
    this.#triesOldVersion =
      code === 'BROKER_VERSION' ||
      (!isKnown && (code === 'BROKER_CLOSED' || code === 'BROKER_NOT_MQTT' || code === 'BROKER_PROTOCOL'));
    return this.#triesOldVersion;
  }

  /** The dial failed before the broker had accepted us. Gives the time of the next one. */
  failed(code: ErrorCode, nowMs: number): number {
    this.#triesOldVersion = false;
    this.#brokerIndex++;
    if (this.#brokerIndex < this.#options.brokers.length) return nowMs;
    this.#brokerIndex = 0;
    this.failures++;
    return this.#nextAttemptMs(code, nowMs);
  }

  /**
   * A connection that had been accepted was lost. Gives the time of the next dial.
   *
   * @param isSearching a message is looked for that makes the broker close: everything else waits for that, so that the
   * next dial comes soon whatever the settings say.
   */
  lost(code: ErrorCode | undefined, nowMs: number, isSearching = false): number {
    this.#brokerIndex = 0;
    const nextAtMs = this.#nextAttemptMs(code, nowMs);
    return isSearching && code !== 'CLIENT_ID_TAKEN' ? Math.min(nextAtMs, nowMs + SEARCH_PERIOD_MS) : nextAtMs;
  }

  #nextAttemptMs(code: ErrorCode | undefined, nowMs: number): number {
    const { reconnectPeriodMs, reconnectPeriodMaxMs } = this.#options;
    let periodMs = reconnectPeriodMs;
    if (reconnectPeriodMaxMs > reconnectPeriodMs && this.failures > 1) {
      const grownMs = Math.min(reconnectPeriodMaxMs, reconnectPeriodMs * GROWTH ** (this.failures - 1));
      // Jitter keeps a thousand gateways from knocking at the same moment after a power cut.
      periodMs = Math.max(reconnectPeriodMs, grownMs * (0.75 + this.#random() * 0.25));
    }
    if (code === 'CLIENT_ID_TAKEN') return nowMs + this.#nextTakeoverPauseMs(periodMs, nowMs);
    return Math.max(nowMs, (this.#attemptStartMs ?? nowMs) + periodMs);
  }

  /** Doubles as long as no connection lasts for as long as the pause before it. */
  #nextTakeoverPauseMs(periodMs: number, nowMs: number): number {
    const leastMs = Math.max(TAKEOVER_PAUSE_LEAST_MS, periodMs * 3);
    const lastedMs = nowMs - (this.#attemptStartMs ?? nowMs);
    const isOver = lastedMs >= this.#takeoverPauseMs;
    const mostMs = Math.max(TAKEOVER_PAUSE_MAX_MS, leastMs);
    this.#takeoverPauseMs = isOver ? leastMs : Math.min(mostMs, this.#takeoverPauseMs * 2);
    return this.#takeoverPauseMs;
  }
}
