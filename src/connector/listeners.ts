/** Who wants to know what: a small typed emitter whose listeners cannot disturb each other. */
import type { Logger } from '../core/logger.js';

type Listener<Args> = (payload: Args) => void;

/** `Events` maps each event's name to what its listeners are told. */
export class Listeners<Events extends object> {
  readonly #listeners: { [K in keyof Events]?: Set<Listener<Events[K]>> } = {};
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Gives a function that ends it. */
  on<K extends keyof Events>(event: K, listener: Listener<Events[K]>): () => void {
    const set = this.#listeners[event] ?? new Set<Listener<Events[K]>>();
    this.#listeners[event] = set;
    set.add(listener);
    return () => {
      set.delete(listener);
    };
  }

  emit<K extends keyof Events>(event: K, payload: Events[K]): void {
    for (const listener of this.#listeners[event] ?? []) {
      try {
        listener(payload);
      } catch (error) {
        this.#logger.error({ err: error, event: String(event) }, 'a listener failed');
      }
    }
  }
}
