/**
 * Virtual time: a queue of what happens when. What is due at the same time happens in the order in which it was asked
 * for, so that a world runs the same way every time.
 */
interface Entry {
  timeMs: number;
  order: number;
  action: (() => void) | undefined;
}

/** More steps than this without time passing are taken for a machine that spins. */
const STEPS_AT_ONCE_MAX = 20_000;

export class Timeline {
  nowMs = 0;
  /** What the wall clock is ahead of the monotonic one; it may jump. */
  wallAheadMs = 1_700_000_000_000;
  #heap: Entry[] = [];
  #order = 0;
  #stepsAtOnce = 0;

  get wallMs(): number {
    return this.nowMs + this.wallAheadMs;
  }

  /** Calls `action` once; the returned function cancels it. */
  after(delayMs: number, action: () => void): () => void {
    const entry: Entry = { timeMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, action };
    this.#push(entry);
    return () => {
      entry.action = undefined;
    };
  }

  /** Does what is next, and gives false when nothing is left before `untilMs`. */
  step(untilMs = Number.POSITIVE_INFINITY): boolean {
    for (;;) {
      const entry = this.#heap[0];
      if (entry === undefined || entry.timeMs > untilMs) return false;
      this.#pop();
      const { action } = entry;
      if (action === undefined) continue;
      if (entry.timeMs > this.nowMs) {
        this.nowMs = entry.timeMs;
        this.#stepsAtOnce = 0;
      } else if (++this.#stepsAtOnce > STEPS_AT_ONCE_MAX) throw new Error(`It spins at ${this.nowMs} ms.`);
      action();
      return true;
    }
  }

  /** Lets the time pass, with all that happens in it. */
  pass(durationMs: number): void {
    const untilMs = this.nowMs + durationMs;
    while (this.step(untilMs));
    this.nowMs = untilMs;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(entry, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.order < b.order);
}
