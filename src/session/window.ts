/**
 * How many messages may be in flight, between 1 and a limit, found by trying.
 *
 * The window starts small and is judged in rounds. A round counts only when the window was what held us back. While
 * more window gives more acknowledgements per second, it grows by half; growth that brought nothing is taken back, because
 * the messages only wait somewhere else then. When a round brings less than the best and the time to an acknowledgement
 * has doubled, it shrinks. Now and then it tries to grow again, because the broker's load changes.
 */
const START_SIZE = 20;
const GROWTH = 1.5;
const BETTER = 1.05;
const WORSE = 0.8;
const ROUNDS_BETWEEN_TRIALS = 10;
const ROUND_LEAST_MS = 20;

export class Window {
  size: number;
  #limit: number;
  #roundAcknowledged = 0;
  #roundStartMs: number | undefined;
  #wasFull = false;
  #bestRate = 0;
  #latencySumMs = 0;
  #latencyLeastMs = Number.POSITIVE_INFINITY;
  #roundsSinceGrowth = 0;
  /** What the window was before it grew; until the next round has shown whether that was worth it. */
  #grownFrom: number | undefined;
  #halvedAtMs = Number.NEGATIVE_INFINITY;

  /** @param limit the smallest of what the broker announced, what it was seen to bear and what the settings allow. */
  constructor(limit: number) {
    this.#limit = Math.max(1, limit);
    this.size = Math.min(START_SIZE, this.#limit);
  }

  get limit(): number {
    return this.#limit;
  }

  /** More than this is never tried. */
  limitTo(limit: number): void {
    this.#limit = Math.max(1, Math.min(this.#limit, limit));
    this.size = Math.min(this.size, this.#limit);
  }

  /** The window, and nothing else, kept a message from being sent. */
  full(): void {
    this.#wasFull = true;
  }

  /** Called once per turn with what was acknowledged in it and the sum of the times that took. */
  acknowledged(count: number, latencySumMs: number, nowMs: number): void {
    this.#roundStartMs ??= nowMs;
    this.#roundAcknowledged += count;
    this.#latencySumMs += latencySumMs;
    const passedMs = nowMs - this.#roundStartMs;
    if (this.#roundAcknowledged < this.size * 2 || passedMs < ROUND_LEAST_MS) return;
    if (this.#wasFull) this.#judge(this.#roundAcknowledged / passedMs, this.#latencySumMs / this.#roundAcknowledged);
    this.#roundAcknowledged = 0;
    this.#latencySumMs = 0;
    this.#roundStartMs = nowMs;
    this.#wasFull = false;
  }

  /**
   * The broker asked us to slow down when it got a message that was sent at `sentMs`. What was in flight together is
   * refused together, and says it once.
   */
  halve(sentMs: number, nowMs: number): void {
    if (sentMs <= this.#halvedAtMs) return;
    this.#halvedAtMs = nowMs;
    this.size = Math.max(1, Math.floor(this.size / 2));
    this.#bestRate = 0;
    this.#grownFrom = undefined;
  }

  #judge(rate: number, latencyMs: number): void {
    this.#latencyLeastMs = Math.min(this.#latencyLeastMs, latencyMs);
    this.#roundsSinceGrowth++;
    const grownFrom = this.#grownFrom;
    this.#grownFrom = undefined;
    if (rate > this.#bestRate * BETTER) {
      this.#bestRate = rate;
      this.#grow();
    } else if (grownFrom !== undefined) this.size = grownFrom;
    else if (rate < this.#bestRate * WORSE && latencyMs > this.#latencyLeastMs * 2) {
      this.size = Math.max(Math.min(START_SIZE, this.#limit), Math.floor(this.size / GROWTH));
      this.#bestRate = rate;
    } else if (this.#roundsSinceGrowth >= ROUNDS_BETWEEN_TRIALS) {
      this.#bestRate = rate;
      this.#grow();
    }
  }

  #grow(): void {
    const grown = Math.min(this.#limit, Math.ceil(this.size * GROWTH));
    if (grown > this.size) this.#grownFrom = this.size;
    this.size = grown;
    this.#roundsSinceGrowth = 0;
  }
}
