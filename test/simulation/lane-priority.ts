/**
 * A higher lane never waits behind a lower one. Whenever a message goes out for the first time, the oldest unsent message
 * of each higher lane is looked at: when it could have gone out for long enough, it should have gone first.
 */
import { LANES, type Lane, laneIndex } from '../../src/core/lane.js';
import { type Key, keyOf, rangeSizeOf } from './key.js';
import type { StoredProgress } from './stored-progress.js';

interface Offer {
  to: number;
  atMs: number;
}

interface HigherLane {
  /** Nothing below this is unsent. */
  from: number;
  /** Ends of what was offered, ascending. */
  offers: Offer[];
  /** What is here or beyond waits for a commit, or for an identifier, as far as the client knows; and since when. */
  limits: { limit: number; atMs: number }[];
}

export interface PriorityOptions {
  stored: StoredProgress;
  nowMs: () => number;
  /** Reading a message and raising its bound take no longer. */
  patienceMs: () => number;
  sent: ReadonlySet<Key>;
  /** Messages that the broker has refused: their lane goes back to them, and is read again from there. */
  refused: ReadonlySet<Key>;
  /** The QoS of the message at a place; undefined for one that need not be sent: it may expire or be refused unsent. */
  qosOf: (lane: Lane, offset: number) => number | undefined;
}

export class LanePriority {
  readonly #options: PriorityOptions;
  #lanes: Record<Lane, HigherLane>;
  #isSendingAgain = false;

  constructor(options: PriorityOptions) {
    this.#options = options;
    this.#lanes = this.#begin();
  }

  /** A new process, which is offered everything that is stored when its connection stands. */
  restarted(): void {
    this.#lanes = this.#begin();
  }

  #begin(): Record<Lane, HigherLane> {
    const { stored } = this.#options;
    const lane = (name: Lane): HigherLane => ({
      from: stored.progress.lanes[name].firstUnsettled,
      offers: [{ to: stored.nextOffsets[name], atMs: Number.POSITIVE_INFINITY }],
      limits: [{ limit: this.#limitOf(name), atMs: Number.NEGATIVE_INFINITY }],
    });
    return { command: lane('command'), alert: lane('alert'), telemetry: lane('telemetry') };
  }

  #limitOf(lane: Lane): number {
    const { firstUnsettled, boundOffset } = this.#options.stored.progress.lanes[lane];
    return Math.min(boundOffset, firstUnsettled + rangeSizeOf(lane));
  }

  /** What is stored is known to the client now. */
  told(): void {
    const nowMs = this.#options.nowMs();
    for (const name of LANES) {
      const { limits } = this.#lanes[name];
      const limit = this.#limitOf(name);
      if (limit !== limits.at(-1)?.limit) limits.push({ limit, atMs: nowMs });
      while (limits.length > 1 && limits[1]!.atMs + this.#options.patienceMs() <= nowMs) limits.shift();
    }
  }

  /** Below this, the client has known for long enough that it need not wait. */
  #limitKnown(lane: Lane): number {
    const { limits } = this.#lanes[lane];
    const untilMs = this.#options.nowMs() - this.#options.patienceMs();
    const known = limits.findLastIndex(({ atMs }) => atMs <= untilMs);
    return Math.min(...limits.slice(known).map(({ limit }) => limit));
  }

  /** The session was told of messages up to `to`. */
  offered(lane: Lane, to: number): void {
    this.#lanes[lane].offers.push({ to, atMs: this.#options.nowMs() });
  }

  /** The connection stands: what was offered before can go out when what was sent before has been sent again. */
  connected(): void {
    this.#isSendingAgain = true;
  }

  /** The first new message goes out: now everything that waits is read, and can go. */
  #sentAgain(): void {
    this.#isSendingAgain = false;
    const atMs = this.#options.nowMs();
    for (const lane of LANES) {
      const { offers } = this.#lanes[lane];
      const last = offers.at(-1);
      this.#lanes[lane].offers = last === undefined ? [] : [{ to: last.to, atMs }];
    }
  }

  /**
   * A message of this lane goes out for the first time. Gives the key of one that should have gone before it.
   *
   * @param lastOf the last offset of a lane that went out on this connection.
   */
  waitingBefore(lane: Lane, qos: number, lastOf: (lane: Lane) => number): Key | undefined {
    const { nowMs, patienceMs, qosOf, stored, refused } = this.#options;
    if (refused.size > 0) return undefined;
    if (this.#isSendingAgain) this.#sentAgain();
    for (const higher of LANES.slice(0, laneIndex(lane))) {
      const oldest = this.#oldestUnsent(higher);
      if (oldest === undefined || nowMs() < oldest.atMs + patienceMs()) continue;
      const { offset } = oldest;
      const oldestQos = qosOf(higher, offset);
      // The broker's quota for QoS 2 may be used up while there is room for others.
      if (oldestQos === undefined || (oldestQos === 2 && qos < 2)) continue;
      // Whoever has to wait for a commit, or for an identifier, is gone past.
      const mustWait = offset >= this.#limitKnown(higher);
      const former = keyOf(higher, offset - rangeSizeOf(higher));
      if (mustWait || stored.quarantine.has(former)) continue;
      if (!this.#hasResendsBefore(higher, offset, lastOf(higher))) return keyOf(higher, offset);
    }
    return undefined;
  }

  /** In a session that is new, what was sent in the former one goes first, and may have to wait for the quota of QoS 2. */
  #hasResendsBefore(lane: Lane, offset: number, last: number): boolean {
    const { stored } = this.#options;
    for (let before = Math.max(last + 1, stored.progress.lanes[lane].firstUnsettled); before < offset; before++) {
      if (!stored.isSettled(lane, before) && !stored.quarantine.has(keyOf(lane, before))) return true;
    }
    return false;
  }

  #oldestUnsent(lane: Lane): { offset: number; atMs: number } | undefined {
    const state = this.#lanes[lane];
    const { stored, sent } = this.#options;
    for (;;) {
      const [offer] = state.offers;
      if (offer === undefined) return undefined;
      if (state.from >= offer.to) {
        state.offers.shift();
        continue;
      }
      const key = keyOf(lane, state.from);
      if (!sent.has(key) && !stored.quarantine.has(key) && !stored.isSettled(lane, state.from)) {
        return { offset: state.from, atMs: offer.atMs };
      }
      state.from++;
    }
  }
}
