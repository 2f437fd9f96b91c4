/**
 * What the session reads of the cache. After a read that failed, its lane is left alone for a while: the session would
 * otherwise ask again with the next acknowledgement, and a disk that fails would be asked thousands of times a second.
 *
 * The session counts on the answers of a lane coming in the order of its reads. Those that come while the lane is left
 * alone are therefore held, and asked for in their order afterwards.
 */
import type { Cache } from '../cache/cache.js';
import type { Clock } from '../core/clock.js';
import type { Lane } from '../core/lane.js';
import type { Batch } from '../core/progress.js';

export const READ_RETRY_MS = 1000;

export interface SessionReadsOptions {
  cache: Pick<Cache, 'read'>;
  clock: Clock;
  supply: (lane: Lane, fromOffset: number, batches: readonly Batch[]) => void;
  /** It is answered without batches; the session may ask for it again. */
  failed: (lane: Lane, fromOffset: number, error: Error | undefined) => void;
  /** A lane can be read again, and nothing that was held has asked for it. */
  resumed: () => void;
}

interface Pause {
  cancel: () => void;
  held: { fromOffset: number; sizeBytesMax: number }[];
}

export class SessionReads {
  readonly #options: SessionReadsOptions;
  readonly #pauses = new Map<Lane, Pause>();

  constructor(options: SessionReadsOptions) {
    this.#options = options;
  }

  ask(lane: Lane, fromOffset: number, sizeBytesMax: number): void {
    const pause = this.#pauses.get(lane);
    if (pause !== undefined) {
      pause.held.push({ fromOffset, sizeBytesMax });
      return;
    }
    this.#options.cache.read(lane, fromOffset, sizeBytesMax, (error, batches) => {
      if (error === undefined) {
        this.#options.supply(lane, fromOffset, batches);
        return;
      }
      this.#pause(lane);
      this.#options.failed(lane, fromOffset, error);
    });
  }

  /** Answers what is held at once, as if it had failed: nothing is left behind that keeps the process alive. */
  release(): void {
    for (const [lane, { cancel, held }] of [...this.#pauses]) {
      cancel();
      this.#pauses.delete(lane);
      for (const { fromOffset } of held) this.#options.failed(lane, fromOffset, undefined);
    }
  }

  #pause(lane: Lane): void {
    // Several reads may have been under way.
    if (this.#pauses.has(lane)) return;
    const cancel = this.#options.clock.schedule(READ_RETRY_MS, () => this.#resume(lane));
    this.#pauses.set(lane, { cancel, held: [] });
  }

  #resume(lane: Lane): void {
    const held = this.#pauses.get(lane)?.held ?? [];
    this.#pauses.delete(lane);
    for (const { fromOffset, sizeBytesMax } of held) this.ask(lane, fromOffset, sizeBytesMax);
    if (held.length === 0) this.#options.resumed();
  }
}
