/** A clock that stands still until the test moves it. */
import type { Clock } from '../../src/core/clock.js';

export class DrivenClock implements Clock {
  nowMs = 1_768_471_200_000;
  #nextId = 1;
  readonly #timers = new Map<number, { atMs: number; callback: () => void }>();

  wallMs(): number {
    return this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  schedule(delayMs: number, callback: () => void): () => void {
    const id = this.#nextId++;
    this.#timers.set(id, { atMs: this.nowMs + delayMs, callback });
    return () => this.#timers.delete(id);
  }

  get timerCount(): number {
    return this.#timers.size;
  }

  /** Runs what falls due, in order; what the callbacks schedule within the time, too. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { atMs }]) => atMs <= endMs).sort(([, a], [, b]) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      const [id, { atMs, callback }] = due;
      this.#timers.delete(id);
      this.nowMs = Math.max(this.nowMs, atMs);
      callback();
    }
    this.nowMs = endMs;
  }
}
