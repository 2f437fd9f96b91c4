/**
 * How many messages may be handed over and not acknowledged yet, found by starting small.
 *
 * A broker that belongs to somebody else is not to be hammered. The allowance doubles in rounds, as long as each round
 * brings clearly more acknowledgements per second than the best before it. Two rounds in a row without a gain end the
 * growth; two in a row in which acknowledgements take far longer than they did end it for good, and half of the allowance
 * is given back. Where only the gain was missing, it is tried again now and then, because other work on the machine can hide
 * one.
 *
 * The session has a window of its own below this; it can never have more in flight than it was given.
 */

const GAIN = 1.15;
const ROUND_LEAST_MS = 30;
const ROUNDS_WITHOUT_GAIN_MAX = 2;
/** One can be a moment in which this machine did something else. */
const SLOW_ROUNDS_MAX = 2;
const ROUNDS_BETWEEN_TRIALS = 8;
/** Acknowledgements are slow when they take so many times as long as in the best round, and so much longer. */
const SLOW_FACTOR = 5;
const SLOW_LEAST_MS = 100;

/**
 * `open`: every round so far has brought more. `ended`: more under way brings no more. `slowed`: the acknowledgements
 * became slow, or the connection was lost.
 */
export type Growth = 'open' | 'ended' | 'slowed';

export class Allowance {
  size: number;
  growth: Growth = 'open';
  readonly #max: number;
  #roundStartMs: number;
  #roundCount = 0;
  #roundAckCount = 0;
  #roundAckSumMs = 0;
  #bestRate = 0;
  #leastAckMs = Number.POSITIVE_INFINITY;
  #roundsWithoutGain = 0;
  #slowRounds = 0;
  #roundsSinceEnd = 0;
  /** Before the trial that is under way. */
  #triedFrom: number | undefined;

  constructor(startSize: number, max: number, nowMs: number) {
    this.#max = Math.max(1, max);
    this.size = Math.max(1, Math.min(startSize, this.#max));
    this.#roundStartMs = nowMs;
  }

  /**
   * So many messages are done since the last call; of them `ackCount` were acknowledged one by one, after `ackSumMs`
   * together.
   */
  acknowledged(count: number, ackCount: number, ackSumMs: number, nowMs: number): void {
    this.#roundCount += count;
    this.#roundAckCount += ackCount;
    this.#roundAckSumMs += ackSumMs;
    const passedMs = nowMs - this.#roundStartMs;
    if (this.#roundCount < this.size * 2 || passedMs < ROUND_LEAST_MS) return;
    const ackMs = this.#roundAckCount === 0 ? 0 : this.#roundAckSumMs / this.#roundAckCount;
    this.#judge(this.#roundCount / passedMs, ackMs);
    this.#beginRound(nowMs);
  }

  /** The broker showed that it was too much: it never grows again. */
  slowDown(nowMs: number): void {
    this.growth = 'slowed';
    this.size = Math.max(1, Math.floor(this.size / 2));
    this.#triedFrom = undefined;
    this.#beginRound(nowMs);
  }

  #beginRound(nowMs: number): void {
    this.#roundCount = 0;
    this.#roundAckCount = 0;
    this.#roundAckSumMs = 0;
    this.#roundStartMs = nowMs;
  }

  #judge(rate: number, ackMs: number): void {
    this.#leastAckMs = Math.min(this.#leastAckMs, ackMs);
    if (this.growth === 'slowed') return;
    if (ackMs > this.#leastAckMs * SLOW_FACTOR && ackMs > this.#leastAckMs + SLOW_LEAST_MS) {
      if (++this.#slowRounds >= SLOW_ROUNDS_MAX) this.slowDown(this.#roundStartMs);
      return;
    }
    this.#slowRounds = 0;
    const isBetter = rate > this.#bestRate * GAIN;
    this.#bestRate = Math.max(this.#bestRate, rate);
    if (this.growth === 'open') this.#judgeGrowth(isBetter);
    else this.#judgeTrial(isBetter);
  }

  #judgeGrowth(isBetter: boolean): void {
    this.#roundsWithoutGain = isBetter ? 0 : this.#roundsWithoutGain + 1;
    if (this.#roundsWithoutGain >= ROUNDS_WITHOUT_GAIN_MAX || this.size >= this.#max) this.growth = 'ended';
    else this.#grow();
  }

  #judgeTrial(isBetter: boolean): void {
    if (this.#triedFrom !== undefined) {
      if (isBetter) this.growth = 'open';
      else this.size = this.#triedFrom;
      this.#triedFrom = undefined;
      this.#roundsWithoutGain = 0;
      this.#roundsSinceEnd = 0;
      return;
    }
    this.#roundsSinceEnd++;
    if (this.#roundsSinceEnd < ROUNDS_BETWEEN_TRIALS || this.size >= this.#max) return;
    this.#triedFrom = this.size;
    this.#grow();
  }

  #grow(): void {
    this.size = Math.min(this.#max, this.size * 2);
  }
}
