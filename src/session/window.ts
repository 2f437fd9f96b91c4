/**
 * How many messages may be in flight, between 1 and a limit.
 *
 * What the line and the broker hold at full speed is their rate times the shortest time from a PUBLISH to the end of its
 * exchange. The window is a little more than that: a quarter, and what passes in a few milliseconds, so that the broker
 * always has something to do while we are busy, and an alert never stands behind more telemetry than passes in that time.
 * The rate is the best of the last rounds, and a round counts only when the window was what held us back. While the rate
 * still rises, twice as much is tried, so that a long line is filled in a few round trips.
 *
 * A queue that always stands hides how short the time is without it. So the window is made very small now and then, for two
 * of the times that an exchange takes at present: one in which the queue empties, and one to measure.
 *
 * Nothing is judged by whether more window brought more: on a busy machine the rates of two rounds differ by more than
 * that. The measures are those of congestion control by bottleneck bandwidth and round-trip time (BBR).
 */
const START_SIZE = 20;
/** What may stand in queues, besides what is under way. */
const QUEUE_MS = 5;
const GAIN = 1.25;
const GAIN_RISING = 2;
/** The rate rises when a round is so much better than the best before it. */
const RISING = 1.25;
/** After so many rounds without a rise, the line is full. */
const ROUNDS_UNTIL_FULL = 3;
const ROUND_LEAST_MS = 5;
/** Of so many rounds the best rate counts. */
const ROUNDS_KEPT = 10;
/** A shortest time that was not met for so long is measured anew. */
const SHORTEST_KEPT_MS = 30_000;
const PROBE_SIZE = 4;
/** What comes so near to the shortest time has met it. */
const MET = 1.05;
/** A window that the broker found too large is not exceeded for so long. */
const HALVED_FOR_MS = 10_000;

export class Window {
  size: number;
  #limit: number;
  #roundCount = 0;
  #roundSumMs = 0;
  #roundStartMs: number | undefined;
  #wasFull = false;
  /** Messages per millisecond of the last rounds, in a ring. */
  readonly #rates = new Float64Array(ROUNDS_KEPT);
  #rateIndex = 0;
  #bestRate = 0;
  #flatRounds = 0;
  #shortestMs = Number.POSITIVE_INFINITY;
  #shortestMetMs = 0;
  /** Average of the last round. */
  #usualMs = 0;
  #probe: { sizeBefore: number; cleanFromMs: number; untilMs: number; shortestMs: number } | undefined;
  #halvedAtMs = Number.NEGATIVE_INFINITY;
  #halvedSize = Number.POSITIVE_INFINITY;

  /** @param limit the smallest of what the broker announced, what it was seen to bear and what the settings allow. */
  constructor(limit: number) {
    this.#limit = Math.max(1, limit);
    this.size = Math.min(START_SIZE, this.#limit);
  }

  get limit(): number {
    return this.#limit;
  }

  /** For what must not wait while the shortest time is measured. */
  get urgentSize(): number {
    return this.#probe?.sizeBefore ?? this.size;
  }

  /** More than this is never tried. */
  limitTo(limit: number): void {
    this.#limit = Math.max(1, Math.min(this.#limit, limit));
    this.size = Math.min(this.size, this.#limit);
    if (this.#probe !== undefined) this.#probe.sizeBefore = Math.min(this.#probe.sizeBefore, this.#limit);
  }

  /** The window, and nothing else, kept a message from being sent. */
  full(): void {
    this.#wasFull = true;
  }

  /** Called once per turn with how many exchanges ended in it, and the sum of the times that they took. */
  acknowledged(count: number, latencySumMs: number, nowMs: number): void {
    const tookMs = latencySumMs / count;
    if (this.#probe !== undefined) {
      this.#measure(tookMs, nowMs);
      return;
    }
    if (tookMs < this.#shortestMs * MET) this.#shortestMetMs = nowMs;
    this.#shortestMs = Math.min(this.#shortestMs, tookMs);
    this.#roundStartMs ??= nowMs;
    this.#roundCount += count;
    this.#roundSumMs += latencySumMs;
    const passedMs = nowMs - this.#roundStartMs;
    if (this.#roundCount < this.size || passedMs < ROUND_LEAST_MS) return;
    this.#usualMs = this.#roundSumMs / this.#roundCount;
    if (this.#wasFull) {
      this.#judge(this.#roundCount / passedMs, nowMs);
      if (nowMs > this.#shortestMetMs + SHORTEST_KEPT_MS) this.#beginProbe(nowMs);
    }
    this.#beginRound(nowMs);
  }

  /**
   * The broker asked us to slow down when it got a message that was sent at `sentMs`. What was in flight together is
   * refused together, and says it once.
   */
  halve(sentMs: number, nowMs: number): void {
    if (sentMs <= this.#halvedAtMs) return;
    this.#halvedAtMs = nowMs;
    this.size = Math.max(1, Math.floor((this.#probe?.sizeBefore ?? this.size) / 2));
    this.#probe = undefined;
    this.#halvedSize = this.size;
    this.#rates.fill(0);
    this.#bestRate = 0;
  }

  #beginRound(nowMs: number): void {
    this.#roundCount = 0;
    this.#roundSumMs = 0;
    this.#roundStartMs = nowMs;
    this.#wasFull = false;
  }

  #beginProbe(nowMs: number): void {
    this.#probe = {
      sizeBefore: this.size,
      cleanFromMs: nowMs + this.#usualMs,
      untilMs: nowMs + 2 * this.#usualMs,
      shortestMs: Number.POSITIVE_INFINITY,
    };
    this.size = Math.min(PROBE_SIZE, this.size);
  }

  #measure(tookMs: number, nowMs: number): void {
    const probe = this.#probe!;
    if (nowMs >= probe.cleanFromMs) probe.shortestMs = Math.min(probe.shortestMs, tookMs);
    if (nowMs < probe.untilMs || probe.shortestMs === Number.POSITIVE_INFINITY) return;
    this.#shortestMs = probe.shortestMs;
    this.#shortestMetMs = nowMs;
    this.size = probe.sizeBefore;
    this.#probe = undefined;
    this.#beginRound(nowMs);
  }

  #judge(rate: number, nowMs: number): void {
    if (rate > this.#bestRate * RISING) {
      this.#bestRate = rate;
      this.#flatRounds = 0;
    } else this.#flatRounds++;
    this.#rates[this.#rateIndex] = rate;
    this.#rateIndex = (this.#rateIndex + 1) % ROUNDS_KEPT;
    let best = 0;
    for (const kept of this.#rates) best = Math.max(best, kept);
    // What was best long ago is no measure any more for whether the rate rises.
    this.#bestRate = Math.min(this.#bestRate, best);
    const gain = this.#flatRounds < ROUNDS_UNTIL_FULL ? GAIN_RISING : GAIN;
    const wanted = Math.ceil(best * (this.#shortestMs * gain + QUEUE_MS));
    const least = Math.min(START_SIZE, this.#limit);
    const most = nowMs < this.#halvedAtMs + HALVED_FOR_MS ? this.#halvedSize : this.#limit;
    this.size = Math.min(most, Math.max(least, Math.min(wanted, this.size * 2)));
  }
}
