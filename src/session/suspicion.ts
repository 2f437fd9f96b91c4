/**
 * Finds the message that makes a broker close the connection.
 *
 * A 3.1.1 broker, and several platforms, refuse a message by closing the socket: everything in flight is suspect then.
 * When connections die again and again with the same messages in flight, the window is narrowed, first to the root of
 * what was in flight and then to one. Innocent messages are acknowledged on the way; the culprit is alone in flight when
 * the connection dies again, and goes to quarantine. A broker that is ill kills connections, too: a message is only
 * condemned when it was alone twice, and after a silence only when others were acknowledged meanwhile.
 */
import { ERRORS } from '../core/error-codes.js';
import type { LaneCursor } from './lane-cursor.js';
import type { Ledger } from './ledger.js';
import { SENT } from './slots.js';

const DEATHS_UNTIL_SUSPECT = 2;
const DEATHS_ALONE_MAX = 2;

export type Death = 'closedByBroker' | 'silence';

export class Suspicion {
  /** The narrowed window, or undefined when nothing is suspect. */
  narrowedTo: number | undefined;
  readonly #ledger: Ledger;
  /** Per lane, one past the last suspect. */
  #suspectEnds: number[] = [0, 0, 0];
  #alone: { id: number; offset: number; deaths: number; acknowledgedCount: number } | undefined;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /**
   * A connection died that had been online.
   *
   * @param acknowledgedCount all acknowledgements so far: it tells whether others pass.
   * @param cause how the end looked, for the reason in quarantine.
   */
  connectionDied(death: Death, acknowledgedCount: number, cause: string): void {
    const { slots, cursors } = this.#ledger;
    let inflight = 0;
    let mostDeaths = 0;
    let lastId = 0;
    let lastCursor: LaneCursor | undefined;
    let lastOffset = 0;
    for (const cursor of cursors) {
      let id = cursor.headId;
      for (let offset = cursor.head; offset < cursor.next; offset++, id = cursor.idAfter(id)) {
        if (slots.state[id] !== SENT) continue;
        inflight++;
        slots.deaths[id] = Math.min(255, slots.deaths[id]! + 1);
        mostDeaths = Math.max(mostDeaths, slots.deaths[id]!);
        if (slots.deaths[id]! >= DEATHS_UNTIL_SUSPECT) this.#suspectEnds[cursor.index] = offset + 1;
        lastId = id;
        lastCursor = cursor;
        lastOffset = offset;
      }
    }
    if (inflight === 0) return;
    if (inflight === 1 && lastCursor !== undefined && this.narrowedTo === 1) {
      this.#diedAlone(lastId, lastOffset, death, acknowledgedCount, cause);
      return;
    }
    if (mostDeaths < DEATHS_UNTIL_SUSPECT) return;
    this.narrowedTo = this.narrowedTo === undefined ? Math.max(1, Math.floor(Math.sqrt(inflight))) : 1;
    if (inflight <= 4) this.narrowedTo = 1;
  }

  #diedAlone(id: number, offset: number, death: Death, acknowledgedCount: number, cause: string): void {
    const known = this.#alone;
    if (known === undefined || known.id !== id || known.offset !== offset) {
      this.#alone = { id, offset, deaths: 1, acknowledgedCount };
      return;
    }
    known.deaths++;
    if (known.deaths < DEATHS_ALONE_MAX) return;
    if (death === 'silence' && acknowledgedCount === known.acknowledgedCount) return;
    const reason = `${ERRORS.PUBLISH_POISONOUS.meaning} It was alone in flight ${known.deaths} times. Last: ${cause}`;
    this.#ledger.condemn(id, offset, { code: 'PUBLISH_POISONOUS', reason }, true);
    this.#alone = undefined;
  }

  /** Widens the window again when all suspects are done. */
  review(): void {
    if (this.narrowedTo === undefined) return;
    for (const cursor of this.#ledger.cursors) {
      if (cursor.head < this.#suspectEnds[cursor.index]!) return;
    }
    this.narrowedTo = undefined;
    this.#alone = undefined;
    this.#suspectEnds = [0, 0, 0];
  }
}
