/**
 * How what may have been sent before is sent again at the beginning of a connection.
 *
 * In the same process it goes out as it did before: together. A new process does not know which messages the broker still
 * holds of the former one; they count against the broker's quota before they have come again, and what is sent beside
 * them may be too much. What is known is that they are among the first of their lanes.
 *
 * - Where the quota is small, the first QoS 2 messages of each lane go one at a time, and the window leaves a few places for
 *   them. Mosquitto refuses what is too much with 0x97 under MQTT 5, so that it loses its place in the order, and under
 *   3.1.1 acknowledges and drops it. Where the quota is large, the window is the quota's rest.
 * - Other MQTT 5 brokers end the connection [MQTT-3.3.4-7]. Then all go one at a time. When even the first one is too much,
 *   the broker is full of what a former process sent, or takes less than before. It takes nothing but what it holds then:
 *   the next connections begin with one candidate each, until one is found that makes room.
 */
import { LANES } from '../core/lane.js';
import type { QoS } from '../core/message.js';
import type { LaneCursor } from './lane-cursor.js';
import type { Ledger } from './ledger.js';

/** Within the places that the window leaves. */
const CAUTION_WIDTH_MAX = 4;
/** With the time-outs that grow, so many take about two hours: a broker that only hangs for a while is waited for. */
const FRUITLESS_MAX = 12;

/** So many candidates in a row are too much. What the broker holds is among the first of the lanes. */
const OVERRUNS_MAX = 200;

export interface Candidate {
  cursor: LaneCursor;
  /** So many QoS 2 messages of the lane are passed over. */
  passCount: number;
  /** Messages of other QoS go, too, in their order; otherwise they are passed over. */
  isOfAnyQos: boolean;
  isSent: boolean;
}

export class Resend {
  /** True from the beginning of a connection until everything that may have been sent before has been sent again. */
  isUnderWay = false;
  /** Everything goes one at a time. */
  isAlone = false;
  /** What is sent first on this connection, because the broker is full; undefined: as usual. */
  candidate: Candidate | undefined;
  readonly #ledger: Ledger;
  /** True in a new process until all that is settled which a former one may have sent. */
  isUnsure = true;
  /** Which candidate is next, from 1; 0: none has been needed. */
  #turn = 0;
  #windowMax = 0;
  /** The lane whose first message goes before all others, because nothing was answered on the connection before. */
  #firstLane = 0;
  /** Connections in a row on which nothing was answered although as many as possible went out. */
  #fruitlessCount = 0;
  /** Overruns in a row by a single message, with nothing answered in between. */
  #overrunsCount = 0;
  /** Lanes in a row without a candidate. */
  #missingCount = 0;
  /** Per lane, messages of QoS 2 that still go one at a time. */
  readonly #cautionCounts: [number, number, number] = [0, 0, 0];
  #isCautiousInFlight = false;
  /** So many go at a time where caution is needed: more than one only when a message is never answered. */
  #cautionWidth = 1;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** A new connection on which so many may be in flight; for `heldMax` see `ConnectionTerms`. */
  begin(heldMax: number, windowMax: number, isSessionKept: boolean): void {
    this.isUnderWay = true;
    if (!isSessionKept) {
      this.#fruitlessCount = 0;
      this.#overrunsCount = 0;
    }
    // With more room than at the last overrun the broker is perhaps not full any more.
    if (windowMax > this.#windowMax) this.#turn = 0;
    this.#windowMax = windowMax;
    this.#cautionCounts.fill(this.isUnsure ? heldMax : 0);
    this.#isCautiousInFlight = false;
    this.#missingCount = 0;
    if (this.isAlone && this.#turn > 0) this.candidate = this.#candidateOf(this.#turn - 1, false);
    else this.candidate = this.#firstLane > 0 ? this.#candidateOf(this.#firstLane, true) : undefined;
  }

  /** Lane after lane, then again one deeper: nobody knows where it is what the broker holds. */
  #candidateOf(turn: number, isOfAnyQos: boolean): Candidate {
    const passCount = Math.floor(turn / LANES.length);
    return { cursor: this.#ledger.cursors[turn % LANES.length]!, passCount, isOfAnyQos, isSent: false };
  }

  /**
   * The connection has ended.
   *
   * @param isByBroker perhaps it was too much for it.
   * @param isOverrun the broker has said that it was [MQTT 5.0 §3.14.2.1, 0x93].
   */
  ended(isByBroker: boolean, isOverrun: boolean): void {
    this.#firstLane = 0;
    if (isOverrun && this.isAlone) this.#turn++;
    if (isOverrun && this.#ledger.inflight <= 1) this.#overrunsCount++;
    this.#cautionWidth = 1;
    this.isAlone = isOverrun || (this.isUnsure && isByBroker);
  }

  /**
   * The connection was given up because an acknowledgement was overdue. That a message is never answered shows only by
   * others that are: a few are let go beside it. And a broker that answers only so many at a time may wait for the PUBREL
   * of one that we have not come to yet: the first message of another lane goes before the others then.
   */
  unanswered(): void {
    if (this.isUnderWay) this.#firstLane = (this.#firstLane + 1) % LANES.length;
    const isCautious = this.#cautionCounts.some((count) => count > 0);
    // With care, more is tried at once first.
    if (this.isUnderWay && (!isCautious || this.#cautionWidth === CAUTION_WIDTH_MAX)) this.#fruitlessCount++;
    this.#cautionWidth = Math.min(CAUTION_WIDTH_MAX, this.#cautionWidth + 1);
    this.isAlone = false;
  }

  /** Something was answered. */
  answered(): void {
    this.#fruitlessCount = 0;
    this.#overrunsCount = 0;
  }

  /**
   * True when care leads nowhere: all that may go out at once is never answered, or whatever goes out is too much. Then only
   * a new session helps, in which nothing is held, at the price that what is in doubt may arrive twice.
   */
  get needsNewSession(): boolean {
    return this.#fruitlessCount >= FRUITLESS_MAX || this.#overrunsCount >= OVERRUNS_MAX;
  }

  /** The lane has none so deep; when none of them has, the search begins anew with the next connection. */
  missCandidate(): void {
    this.#missingCount++;
    if (this.#missingCount >= LANES.length || this.#turn === 0) {
      this.endSearch();
      return;
    }
    this.#turn++;
    this.candidate = this.#candidateOf(this.#turn - 1, false);
  }

  /** The broker has taken the candidate: there is room for one more. */
  endSearch(): void {
    this.#turn = 0;
    this.candidate = undefined;
  }

  /** True in the pass over the first messages of all lanes, which comes before everything else. */
  isCautiousIn(cursor: LaneCursor): boolean {
    return this.#cautionCounts[cursor.index] > 0;
  }

  /** True when a message of this QoS must not go beside what is in flight. */
  holdsBack(cursor: LaneCursor, qos: QoS): boolean {
    const { inflight } = this.#ledger;
    if (inflight === 0) this.#isCautiousInFlight = false;
    if (inflight < this.#cautionWidth) return false;
    return this.#isCautiousInFlight || (qos === 2 && this.isCautiousIn(cursor));
  }

  sent(cursor: LaneCursor, qos: QoS): void {
    if (qos !== 2 || !this.isCautiousIn(cursor)) return;
    this.#cautionCounts[cursor.index]--;
    this.#isCautiousInFlight = true;
  }

  /** The lane has no more that may have been sent. */
  passed(cursor: LaneCursor): void {
    this.#cautionCounts[cursor.index] = 0;
  }

  completed(): void {
    this.isUnderWay = false;
    this.isAlone = false;
    this.#turn = 0;
    this.#firstLane = 0;
  }

  /** Called when nothing is to be sent again: what was sent by a former process may be settled by now. */
  review(): void {
    if (this.isUnsure) this.isUnsure = this.#ledger.cursors.some(({ head, resendHigh }) => head < resendHigh);
  }
}
