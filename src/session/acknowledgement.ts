/**
 * What an acknowledgement does to its message [MQTT 5.0 §4.3, §4.4].
 *
 * Called for every PUBACK, PUBREC and PUBCOMP; what concerns all of a turn is summed up and looked at once.
 */

import { NorthError } from '../core/error.js';
import type { QoS } from '../core/message.js';
import { type AcknowledgementType, PUBACK, PUBCOMP, PUBREC } from '../wire/packet-reader.js';
import { LatencyHistogram } from './latency.js';
import type { Ledger } from './ledger.js';
import type { Answered } from './liveness.js';
import type { PausedTopics } from './paused-topics.js';
import {
  NO_MATCHING_SUBSCRIBERS,
  PACKET_ID_IN_USE,
  PACKET_ID_NOT_FOUND,
  REFUSALS_MAX,
  refusalOf,
  retryPauseMs,
} from './refusal.js';
import type { ConnectionTerms, Sender } from './sender.js';
import { CONDEMNED, RECEIVED, RELEASABLE, RELEASED, SENT, WAITING } from './slots.js';

export interface AcknowledgementEvents {
  /** A QoS 2 message was acknowledged as one of QoS 1. */
  downgraded(): void;
  topicPaused(topic: string, reason: string): void;
}

export class Acknowledgements {
  readonly latency = new LatencyHistogram();
  /** All that came, over all connections: it tells whether anything passes at all. */
  count = 0;
  /** What was answered on this connection. */
  readonly answered: Answered = { publishOrders: [0, 0, 0], releaseOrder: 0, atMs: [0, 0, 0] };
  /** The broker has sent a PUBREC. */
  isQos2Proven = false;
  /** Of this turn: everything that came, and the exchanges that ended, with the times that they took. */
  turnCount = 0;
  turnLatencySumMs = 0;
  turnEndedCount = 0;
  turnEndedSumMs = 0;
  #beganMs = 0;
  readonly #ledger: Ledger;
  readonly #sender: Sender;
  readonly #events: AcknowledgementEvents;
  readonly #pausedTopics: PausedTopics;

  constructor(ledger: Ledger, sender: Sender, pausedTopics: PausedTopics, events: AcknowledgementEvents) {
    this.#ledger = ledger;
    this.#sender = sender;
    this.#pausedTopics = pausedTopics;
    this.#events = events;
  }

  begin(nowMs: number): void {
    this.#beganMs = nowMs;
    this.answered.publishOrders.fill(0);
    this.answered.releaseOrder = 0;
  }

  beginTurn(): void {
    this.turnCount = 0;
    this.turnLatencySumMs = 0;
    this.turnEndedCount = 0;
    this.turnEndedSumMs = 0;
  }

  /** Gives an error when the broker has broken the protocol with it. */
  take(
    type: AcknowledgementType,
    id: number,
    reasonCode: number,
    text: string | undefined,
    terms: ConnectionTerms,
    nowMs: number,
  ): NorthError | undefined {
    const { slots } = this.#ledger;
    const state = slots.state[id];
    if (type === PUBCOMP) {
      if (this.#ledger.openExchanges.complete(id)) return undefined;
      // Whatever its code, the exchange is over: 0x92 says that it was before, and no other one is an error that there is
      // something to be done about [MQTT 5.0 §3.7.2.1].
      if (state !== RELEASED) return undefined;
      this.answered.releaseOrder = Math.max(this.answered.releaseOrder, slots.sentOrder[id]!);
      this.answered.atMs[2] = nowMs;
      this.#settle(id, nowMs);
      return undefined;
    }
    if (state === WAITING && this.#ledger.mayBeHeld(id)) {
      // The broker had queued it and answers before it was sent again. A PUBACK is as good as any. A PUBREC is not taken:
      // the re-send is answered, too, and in the order of all the others, which the PUBRELs have to keep. And of what a
      // former process has sent it is not known at which QoS.
      if (type !== PUBACK || reasonCode >= 0x80 || slots.qos[id] === 0) return undefined;
      if (slots.qos[id] === 1) this.#ledger.leaveLowered(id);
      this.#settleUnsent(id, nowMs);
      return undefined;
    }
    if (state !== SENT) {
      // What goes to quarantine is released when it is there on disk.
      const isUnderWay = state === RECEIVED || state === RELEASABLE || state === RELEASED || state === CONDEMNED;
      const isUnknown = !isUnderWay && !this.#ledger.openExchanges.withholds(id);
      if (type !== PUBACK && isUnknown && reasonCode < 0x80) {
        this.#sender.releases.sendUnknown(id, terms.protocolVersion === 5 ? PACKET_ID_NOT_FOUND : 0, nowMs);
      }
      return undefined;
    }
    const qos = slots.qos[id] as QoS;
    // It belongs to the exchange that the message began at QoS 2, before the broker came to take less.
    if (type === PUBREC && qos === 1 && slots.isHeld[id] === 1) return undefined;
    this.answered.publishOrders[qos] = Math.max(this.answered.publishOrders[qos], slots.sentOrder[id]!);
    this.answered.atMs[qos] = nowMs;
    // "Packet identifier in use" in answer to a re-send says that the broker has the message already.
    const isHeld = reasonCode === PACKET_ID_IN_USE && slots.isRepeated[id] === 1 && type === PUBREC;
    if (reasonCode >= 0x80 && !isHeld) {
      this.#refused(id, reasonCode, text, terms, nowMs);
      return undefined;
    }
    if (reasonCode === NO_MATCHING_SUBSCRIBERS) {
      this.#sender.counts[this.#ledger.cursorOf(id).index].noSubscribers++;
    }
    if (type === PUBACK) {
      // Some brokers answer a QoS 2 PUBLISH with PUBACK: they have taken it, but only at QoS 1.
      // Unless it was sent at a lower QoS meanwhile, which is what is answered then.
      if (qos === 2 && slots.isLowered[id] === 0) this.#events.downgraded();
      else this.#ledger.leaveLowered(id);
      this.#settle(id, nowMs);
      return undefined;
    }
    if (qos === 1) {
      return new NorthError('BROKER_PROTOCOL', 'The broker answered a QoS 1 message with PUBREC.');
    }
    this.isQos2Proven = true;
    this.#passed(nowMs - slots.timeMs[id]!);
    this.#ledger.receive(id);
    return undefined;
  }

  #settleUnsent(id: number, nowMs: number): void {
    this.count++;
    this.#sender.counts[this.#ledger.cursorOf(id).index].published++;
    this.#ledger.settleUnsent(id, nowMs);
  }

  #passed(tookMs: number): void {
    this.count++;
    this.turnCount++;
    this.turnLatencySumMs += tookMs;
  }

  #settle(id: number, nowMs: number): void {
    const { slots } = this.#ledger;
    this.#passed(nowMs - slots.timeMs[id]!);
    const startedMs = slots.startedMs[id]!;
    // An exchange that began on a former connection says nothing of this one.
    if (startedMs >= this.#beganMs) {
      const tookMs = nowMs - startedMs;
      this.turnEndedCount++;
      this.turnEndedSumMs += tookMs;
      this.latency.observe(tookMs);
    }
    this.#sender.counts[this.#ledger.cursorOf(id).index].published++;
    this.#ledger.settle(id, nowMs);
  }

  #refused(id: number, reasonCode: number, text: string | undefined, terms: ConnectionTerms, nowMs: number): void {
    const { slots } = this.#ledger;
    const offset = this.#ledger.cursorOf(id).offsetOf(id);
    if (offset === undefined) return;
    const refusal = refusalOf(reasonCode);
    // The refusal of a PUBLISH ends its exchange [MQTT-4.3.3-4], and not the one of QoS 2 that it may have begun with.
    // One that calls the identifier in use says that something is held.
    if (slots.qos[id] === 2 && reasonCode !== PACKET_ID_IN_USE) slots.isHeld[id] = 0;
    const reason = `The broker answered 0x${reasonCode.toString(16)}${text === undefined ? '' : `: ${text}`}.`;
    if (refusal.action === 'retry') {
      if (refusal.slowDown) terms.window.halve(slots.timeMs[id]!, nowMs);
      const refusals = Math.min(255, slots.refusals[id]! + 1);
      // Only when others have passed meanwhile is it perhaps the fault of this one.
      if (refusals === 1 || slots.passedCount[id] !== this.count) slots.blames[id]!++;
      slots.refusals[id] = refusals;
      slots.passedCount[id] = this.count;
      if (slots.blames[id]! < REFUSALS_MAX) this.#ledger.defer(id, nowMs + retryPauseMs(refusals));
      else this.#ledger.condemn(id, offset, { code: 'PUBLISH_RETRIES_EXHAUSTED', reason }, true);
      return;
    }
    this.#ledger.condemn(id, offset, { code: refusal.code, reason }, true);
    if (refusal.action !== 'pauseTopic') return;
    const topic = this.#pausedTopics.refused(id, reason, nowMs);
    if (topic !== undefined) this.#events.topicPaused(topic, reason);
  }
}
