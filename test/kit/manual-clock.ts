import type { Clock } from '../../src/core/clock.js';

/** Time that stands still until the test moves it on. */
export class ManualClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs: number;
  readonly #timers = new Set<{ dueMs: number; callback: () => void }>();

  constructor(wallStartMs: number = Date.now()) {
    this.#wallOffsetMs = wallStartMs;
  }

  /** Timers that are waiting, with the times until they are due. */
  get waitsMs(): number[] {
    return [...this.#timers].map(({ dueMs }) => dueMs - this.#nowMs).sort((one, other) => one - other);
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, callback: () => void): () => void {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Calls what becomes due, in the order of its time; also what is scheduled meanwhile. */
  advance(durationMs: number): void {
    const endMs = this.#nowMs + durationMs;
    for (;;) {
      const [next] = [...this.#timers]
        .filter(({ dueMs }) => dueMs <= endMs)
        .sort((one, other) => one.dueMs - other.dueMs);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = next.dueMs;
      next.callback();
    }
    this.#nowMs = endMs;
  }

  /** The wall clock alone jumps, as an administrator or NTP makes it; may be negative. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }
}
