/**
 * Log lines for what may happen a million times: the first of a kind at once, then one line per period with the count
 * and the last example. Nothing goes unlogged, and an outage does not fill the disk with its log.
 */
import type { Clock } from '../core/clock.js';

const PERIOD_MS = 10_000;

interface Kind {
  count: number;
  example: string;
  cancel: () => void;
}

export class Digest {
  readonly #clock: Clock;
  readonly #write: (kind: string, count: number, example: string) => void;
  /** Kinds that were told within the running period. */
  readonly #kinds = new Map<string, Kind>();

  constructor(clock: Clock, write: (kind: string, count: number, example: string) => void) {
    this.#clock = clock;
    this.#write = write;
  }

  /** @param kind what is told together, such as an error code. */
  note(kind: string, example: string, count = 1): void {
    const known = this.#kinds.get(kind);
    if (known !== undefined) {
      known.count += count;
      known.example = example;
      return;
    }
    const cancel = this.#clock.schedule(PERIOD_MS, () => this.#endPeriod(kind));
    this.#kinds.set(kind, { count: 0, example, cancel });
    this.#write(kind, count, example);
  }

  /** Tells what has not been told; for the end. */
  flush(): void {
    for (const [kind, { count, example, cancel }] of this.#kinds) {
      cancel();
      if (count > 0) this.#write(kind, count, example);
    }
    this.#kinds.clear();
  }

  #endPeriod(kind: string): void {
    const known = this.#kinds.get(kind);
    this.#kinds.delete(kind);
    if (known !== undefined && known.count > 0) this.note(kind, known.example, known.count);
  }
}
