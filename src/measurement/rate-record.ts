/**
 * A count as it grew. The rate is that of the second half: the first half belongs to the start, when caches are cold,
 * code is not compiled yet and the allowance still grows.
 */
export class RateRecord {
  readonly #counts: number[] = [0];
  readonly #timesMs: number[];
  #endMs: number | undefined;

  constructor(startMs: number) {
    this.#timesMs = [startMs];
  }

  /** @param count so many until now; never less than before. */
  note(count: number, timeMs: number): void {
    if (count === this.count) return;
    this.#counts.push(count);
    this.#timesMs.push(timeMs);
  }

  get count(): number {
    return this.#counts.at(-1)!;
  }

  /** When the count had come to its half; it may have jumped over it. */
  get halfwayMs(): number {
    return this.#timesMs[this.#halfway()]!;
  }

  /** It ended before it had come to where it should: the time in which it did not grow any more counts, too. */
  breakOff(timeMs: number): void {
    this.#endMs = timeMs;
  }

  /** When it grew last. */
  get grownMs(): number {
    return this.#timesMs.at(-1)!;
  }

  get endMs(): number {
    return this.#endMs ?? this.grownMs;
  }

  /** Undefined when nothing was counted. */
  perSecond(): number | undefined {
    const from = this.#halfway();
    const passedMs = this.endMs - this.#timesMs[from]!;
    if (passedMs <= 0 || this.count === 0) return undefined;
    return Math.round(((this.count - this.#counts[from]!) * 10_000) / passedMs) / 10;
  }

  /** The last note at or below the half; the last note of all is never it. */
  #halfway(): number {
    const half = this.count / 2;
    let index = 0;
    while (index + 2 < this.#counts.length && this.#counts[index + 1]! <= half) index++;
    return index;
  }
}
