/**
 * Opens a connector again and again whose cache could not be opened for a cause that may pass: room comes back on a full
 * disk, a file system is mounted late. The pause between two attempts doubles up to a minute.
 */
import type { Connector } from '../connector/connector.js';
import type { Clock } from '../core/clock.js';

const PAUSE_LEAST_MS = 1000;
const PAUSE_MOST_MS = 60_000;

export interface ReopeningOptions {
  clock: Clock;
  /** Gives undefined when it cannot be opened yet; never rejects. */
  open: () => Promise<Connector | undefined>;
  /** It is open; nothing more is tried. */
  opened: (connector: Connector) => void;
}

export class Reopening {
  readonly #options: ReopeningOptions;
  #pauseMs = PAUSE_LEAST_MS;
  #isEnded = false;
  #cancel: () => void = () => undefined;
  #attempt: Promise<void> = Promise.resolve();

  constructor(options: ReopeningOptions) {
    this.#options = options;
    this.#wait();
  }

  /** Nothing is tried any more. Resolves when an attempt that is under way is over, and what it opened is closed. */
  async end(): Promise<void> {
    this.#isEnded = true;
    this.#cancel();
    await this.#attempt;
  }

  #wait(): void {
    this.#cancel = this.#options.clock.schedule(this.#pauseMs, () => {
      this.#attempt = this.#try();
    });
    this.#pauseMs = Math.min(PAUSE_MOST_MS, this.#pauseMs * 2);
  }

  async #try(): Promise<void> {
    const connector = await this.#options.open();
    if (this.#isEnded) await connector?.close(0);
    else if (connector !== undefined) this.#options.opened(connector);
    else this.#wait();
  }
}
