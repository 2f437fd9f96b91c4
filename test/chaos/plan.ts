/**
 * What is done in which round, from a seed.
 *
 * The kinds are dealt like cards: all of them once, in random order, before the first comes again. So a short run has seen
 * every kind. The seed decides kinds, parameters and what is handed in; at which instruction a signal finds a process is up
 * to the machine, so that the same seed repeats the plan, not every accident.
 */
import { Random } from '../simulation/random.js';

export const ACTION_KINDS = [
  'service killed in append',
  'service killed in publish',
  'service killed at acknowledgement',
  'service killed in archive',
  'service killed at start',
  'service stopped',
  'broker restarted',
  'broker killed, state kept',
  'broker killed, state lost',
  'cut to broker',
  'cut to service',
  'reads stalled',
  'half-open',
  'disk full',
  'second service',
  'configuration reloaded',
  'clock set back',
] as const;
export type ActionKind = (typeof ACTION_KINDS)[number];

export interface RoundPlan {
  /** In this order. A loss of the broker's state comes last: it needs a calm beginning and is followed by a check. */
  kinds: readonly ActionKind[];
  /** One for each kind. */
  randoms: readonly Random[];
  /** Before each kind, milliseconds. */
  delaysMs: readonly number[];
  dropsFile: boolean;
}

const DELAY_MAX_MS = 250;
const FILE_CHANCE = 0.4;

export class Plan {
  readonly #random: Random;
  readonly #kinds: readonly ActionKind[];
  #deck: ActionKind[] = [];

  constructor(seed: number, kinds: readonly ActionKind[]) {
    this.#random = new Random(seed);
    this.#kinds = kinds;
  }

  next(): RoundPlan {
    const random = this.#random;
    const chance = random.next();
    const count = chance < 0.4 ? 1 : chance < 0.8 ? 2 : 3;
    const kinds = Array.from({ length: count }, () => this.#deal());
    const lostIndex = kinds.indexOf('broker killed, state lost');
    if (lostIndex >= 0) kinds.push(...kinds.splice(lostIndex, 1));
    return {
      kinds: kinds.filter((kind, index) => kind !== 'broker killed, state lost' || index === kinds.length - 1),
      randoms: kinds.map(() => new Random(random.between(0, 0xffff_ffff))),
      delaysMs: kinds.map(() => random.between(0, DELAY_MAX_MS)),
      dropsFile: random.chance(FILE_CHANCE),
    };
  }

  #deal(): ActionKind {
    if (this.#deck.length === 0) {
      const rest = [...this.#kinds];
      while (rest.length > 0) this.#deck.push(...rest.splice(this.#random.between(0, rest.length - 1), 1));
    }
    // The deck was just filled, and there are kinds.
    return this.#deck.pop() as ActionKind;
  }
}
