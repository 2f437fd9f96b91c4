/**
 * Finds the message that a broker cannot bear.
 *
 * A 3.1.1 broker, and several platforms, refuse a message by closing the socket: everything in flight is suspect then.
 * When connections die again and again with the same messages in flight, the window is narrowed, first to the root of
 * what was in flight and then to one. Innocent messages are acknowledged on the way; the culprit is alone in flight when
 * the connection dies again, and goes to quarantine. A PUBREL is a suspect like a PUBLISH, and a broker that answers nothing
 * any more, not even a ping, counts like one that closes. A broker that is ill kills connections, too, and so does a bad
 * line: a message is only condemned when it was alone three times in a row, and from the second time on the connection had
 * lived quietly for a while before it was sent, and a ping had been answered on it. While one condemnation follows the other and nothing is acknowledged in between,
 * it is rather the broker that refuses everything: each needs twice as many deaths as the one before. Under MQTT 3.1.1 a
 * broker cannot say that it takes no QoS 2: as long as it has taken none, a message of QoS 2 needs eight times as many.
 *
 * Others never answer a message that they do not like. Acknowledgements of one QoS come in the order of the messages
 * [MQTT-4.6.0-2], so that the culprit is known without narrowing: it is overdue, and one of its QoS that was sent later is
 * not; or nothing of its QoS is answered any more, and it is the first. While that is so for one after the other, it is
 * rather the broker that does not answer this QoS: each needs twice as many connections as the one before. A broker that
 * answers nothing at all gives no such sign, and everything waits for it.
 */
import { ERRORS } from '../core/error-codes.js';
import type { QoS } from '../core/message.js';
import type { LaneCursor } from './lane-cursor.js';
import type { Ledger } from './ledger.js';
import type { Answered } from './liveness.js';
import { RELEASED, SENT } from './slots.js';

const DEATHS_UNTIL_SUSPECT = 2;
const DEATHS_ALONE_MAX = 3;
const DOUBLINGS_MAX = 6;
/** A broker that takes no QoS 2 at all must not get one message after the other into quarantine. */
const UNKNOWN_QOS_DOUBLINGS = 3;
/** So few suspects are tried one at a time at once. */
const FEW_SUSPECTS = 32;
/** With the time-outs that grow, so many take about two hours. */
const RELEASES_MISSED_MAX = 12;
/** So often a message is passed over before it is condemned. */
const SILENCES_MAX = 3;

export class Suspicion {
  /** The narrowed window, or undefined when nothing is suspect. */
  narrowedTo: number | undefined;
  readonly #ledger: Ledger;
  /** Per lane, one past the last suspect. */
  #suspectEnds: number[] = [0, 0, 0];
  /** Condemnations since the last acknowledgement. */
  #condemnedInARow = 0;
  #hasCondemned = false;
  /** Messages condemned as the first of a QoS of which nothing is answered, since something of both was on a connection. */
  #stuckInARow = 0;
  /** Fewest messages that were in flight at a death which began this search. */
  #searchInflight = Number.POSITIVE_INFINITY;
  #alone: { id: number; offset: number; deaths: number } | undefined;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** True when a connection has to show first that it lives without the suspect. */
  get wantsQuiet(): boolean {
    return this.#alone !== undefined && this.narrowedTo === 1;
  }

  /** Something was acknowledged: the broker does not refuse everything. */
  passed(): void {
    this.#condemnedInARow = 0;
  }

  /**
   * The broker has closed a connection that had been online, or says nothing on it any more.
   *
   * @param cause how the end looked, for the reason in quarantine.
   * @param isByBroker there may have been too many messages for it.
   * @param isQos2Known whether it takes QoS 2 at all.
   * @returns true when it may be the QoS of the message that it does not bear, and not the message.
   */
  connectionDied(cause: string, isByBroker: boolean, isQos2Known: boolean): boolean {
    const { slots } = this.#ledger;
    let inflight = 0;
    let mostDeaths = 0;
    let last = { id: 0, offset: 0 };
    this.#eachUnanswered((cursor, id, offset) => {
      inflight++;
      slots.deaths[id] = Math.min(255, slots.deaths[id]! + 1);
      mostDeaths = Math.max(mostDeaths, slots.deaths[id]!);
      if (slots.deaths[id]! >= DEATHS_UNTIL_SUSPECT) this.#suspectEnds[cursor.index] = offset + 1;
      last = { id, offset };
    });
    if (inflight === 0) {
      // It dies without the suspect, too.
      this.#alone = undefined;
      return false;
    }
    if (this.narrowedTo === undefined && isByBroker) this.#searchInflight = Math.min(this.#searchInflight, inflight);
    if (inflight === 1 && this.narrowedTo === 1) {
      return this.#diedAlone(last.id, last.offset, cause, isQos2Known || slots.qos[last.id] !== 2);
    }
    if (mostDeaths < DEATHS_UNTIL_SUSPECT) return false;
    this.narrowedTo = this.narrowedTo === undefined ? Math.max(1, Math.floor(Math.sqrt(inflight))) : 1;
    if (inflight <= FEW_SUSPECTS) this.narrowedTo = 1;
    return false;
  }

  /**
   * A connection was given up because an acknowledgement was overdue.
   *
   * @param overdueMs what was sent until then is overdue.
   */
  answerMissing(overdueMs: number, answered: Readonly<Answered>): void {
    const { slots } = this.#ledger;
    if (answered.publishOrders[1] > 0 && answered.publishOrders[2] > 0) this.#stuckInARow = 0;
    const stuckId = this.#stuckId(overdueMs, answered);
    // A broker that answers some only when it has got others would wait for them for ever in a narrow window.
    this.#widen();
    this.#eachUnanswered((_cursor, id, offset) => {
      const isReleased = slots.state[id] === RELEASED;
      const publishOrder = answered.publishOrders[slots.qos[id] as QoS];
      const answeredOrder = isReleased ? Math.max(publishOrder, answered.releaseOrder) : publishOrder;
      if (slots.timeMs[id]! > overdueMs) return;
      if (answeredOrder < slots.sentOrder[id]! && id !== stuckId) {
        if (isReleased) this.#missRelease(id, offset);
        return;
      }
      const isStuck = id === stuckId;
      const silences = Math.min(255, slots.silences[id]! + 1);
      slots.silences[id] = silences;
      if (silences < SILENCES_MAX * (isStuck ? 2 ** Math.min(DOUBLINGS_MAX, this.#stuckInARow) : 1)) return;
      if (isStuck) this.#stuckInARow++;
      const reason = `The broker did not answer it in ${silences} connections, but answered others that were sent later.`;
      this.#condemn(id, offset, reason);
    });
  }

  /**
   * The oldest message of a QoS of which nothing at all is answered any more, while messages of the other one are that were
   * sent later. It stands before all others of its QoS.
   */
  #stuckId(overdueMs: number, { publishOrders, atMs }: Readonly<Answered>): number | undefined {
    const { slots, isReceiving } = this.#ledger;
    let stuckId: number | undefined;
    let stuckOrder = Number.POSITIVE_INFINITY;
    this.#eachUnanswered((_cursor, id) => {
      const qos = slots.qos[id] as QoS;
      const order = slots.sentOrder[id]!;
      if (order > stuckOrder || slots.timeMs[id]! > overdueMs || atMs[qos] > overdueMs) return;
      // A broker that takes one message of QoS 2 at a time waits for us then.
      if (qos === 2 && isReceiving) return;
      if (publishOrders[qos === 1 ? 2 : 1] < order) return;
      stuckId = id;
      stuckOrder = order;
    });
    return stuckId;
  }

  /** Nothing came after the PUBREL by which it could be told. It had been taken before; it is not waited for, for ever. */
  #missRelease(id: number, offset: number): void {
    const { slots } = this.#ledger;
    slots.deaths[id] = Math.min(255, slots.deaths[id]! + 1);
    if (slots.deaths[id]! < RELEASES_MISSED_MAX) return;
    this.#condemn(id, offset, `The broker did not answer its PUBREL in ${RELEASES_MISSED_MAX} connections.`);
  }

  /** Everything whose PUBREL is not answered: a broker that bears one PUBREL badly may bear others as badly. */
  condemnReleased(): void {
    const { slots } = this.#ledger;
    this.#eachUnanswered((_cursor, id, offset) => {
      if (slots.state[id] !== RELEASED) return;
      this.#condemn(id, offset, `${ERRORS.PUBLISH_POISONOUS.meaning} Its PUBREL was never answered.`);
    });
  }

  #condemn(id: number, offset: number, reason: string): void {
    const { slots, openExchanges } = this.#ledger;
    // What a broker does not bear is not the message then, but its PUBREL, which must not be sent any more.
    if (slots.state[id] === RELEASED) openExchanges.withholdUnbearable();
    this.#ledger.condemn(id, offset, { code: 'PUBLISH_POISONOUS', reason }, true);
  }

  /** Visits what was sent on this connection, or whose PUBREL was, and is not answered. */
  #eachUnanswered(visit: (cursor: LaneCursor, id: number, offset: number) => void): void {
    const { slots, cursors } = this.#ledger;
    for (const cursor of cursors) {
      // After a rewind, messages are in flight beyond `next`.
      const limit = Math.max(cursor.next, cursor.sentHigh);
      let id = cursor.headId;
      for (let offset = cursor.head; offset < limit; offset++, id = cursor.idAfter(id)) {
        if (slots.state[id] === SENT || slots.state[id] === RELEASED) visit(cursor, id, offset);
      }
    }
  }

  /** Gives true when the message has died often enough, but it may be its QoS. */
  #diedAlone(id: number, offset: number, cause: string, isQosKnown: boolean): boolean {
    const known = this.#alone;
    if (known === undefined || known.id !== id || known.offset !== offset) {
      this.#alone = { id, offset, deaths: 1 };
      return false;
    }
    known.deaths++;
    const doublings = isQosKnown
      ? Math.min(DOUBLINGS_MAX, this.#condemnedInARow)
      : UNKNOWN_QOS_DOUBLINGS + this.#condemnedInARow;
    if (known.deaths < DEATHS_ALONE_MAX * 2 ** doublings) return !isQosKnown && known.deaths >= DEATHS_ALONE_MAX;
    this.#condemnedInARow++;
    this.#hasCondemned = true;
    const reason = `${ERRORS.PUBLISH_POISONOUS.meaning} It was alone in flight ${known.deaths} times. Last: ${cause}`;
    this.#condemn(id, offset, reason);
    this.#alone = undefined;
    return false;
  }

  /**
   * Widens the window again when all suspects are done. Gives how many were in flight when a search ended that has found
   * nobody: they may have been too many; undefined otherwise.
   */
  review(): number | undefined {
    if (this.narrowedTo === undefined) return undefined;
    for (const cursor of this.#ledger.cursors) {
      if (cursor.head < this.#suspectEnds[cursor.index]!) return undefined;
    }
    const inflight = this.#hasCondemned ? undefined : this.#searchInflight;
    this.#widen();
    return inflight;
  }

  #widen(): void {
    this.narrowedTo = undefined;
    this.#alone = undefined;
    this.#suspectEnds = [0, 0, 0];
    this.#searchInflight = Number.POSITIVE_INFINITY;
    this.#hasCondemned = false;
  }
}
