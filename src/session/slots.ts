/**
 * What is known of each message between its first look and its durable settlement, one slot per packet identifier.
 *
 * Packet identifiers are derived: each lane owns a range of them, and a message's identifier is the start of the range
 * plus its offset modulo the size of the range. After a crash the same message gets the same identifier with nothing
 * written before it was sent. A slot is used again only when the settlement of its former message is on disk, so that
 * an identifier never means two messages that the broker could still mix up [MQTT-2.2.1-3].
 *
 *     waiting -> sent -> settled                    QoS 1 (QoS 0: waiting -> settled)
 *     waiting -> sent -> received -> releasable -> released -> settled      QoS 2
 *                        PUBREC      it is on disk   PUBREL      PUBCOMP
 *     sent -> deferred -> waiting                   refused for a passing reason
 *     sent | waiting -> condemned -> settled        to quarantine; settled when that is on disk
 */
import type { LaneIndex } from '../core/lane.js';

export type SlotState = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7;

export const WAITING = 0;
export const SENT = 1;
export const RECEIVED = 2;
export const RELEASABLE = 3;
export const RELEASED = 4;
export const SETTLED = 5;
export const DEFERRED = 6;
export const CONDEMNED = 7;

/** The ranges of packet identifiers. They are part of what a broker's session remembers and never change. */
export const ID_RANGES: readonly { start: number; size: number }[] = [
  { start: 1, size: 2047 },
  { start: 2048, size: 6144 },
  { start: 8192, size: 57_344 },
];

export function laneIndexOfId(packetId: number): LaneIndex {
  return packetId >= ID_RANGES[2]!.start ? 2 : packetId >= ID_RANGES[1]!.start ? 1 : 0;
}

/** Parallel arrays, indexed by packet identifier. */
export class Slots {
  readonly state = new Uint8Array(65_536);
  /** QoS that the message was sent with last; 0: not by this process. */
  readonly qos = new Uint8Array(65_536);
  /** When its PUBLISH went out. */
  readonly startedMs = new Float64Array(65_536);
  /** When its last packet went out, or for a deferred one when it is due; milliseconds of the monotonic clock. */
  readonly timeMs = new Float64Array(65_536);
  /** Place of its last packet in the order of sending. */
  readonly sentOrder = new Float64Array(65_536);
  /** Place in the order of PUBRECs. */
  readonly receivedOrder = new Float64Array(65_536);
  /** How often the broker refused it for a passing reason. */
  readonly refusals = new Uint8Array(65_536);
  /** How many of these refusals came although others had passed since the one before. */
  readonly blames = new Uint8Array(65_536);
  /** How many acknowledgements there had been at its last refusal. */
  readonly passedCount = new Float64Array(65_536);
  /** How many connections in a row died while it was in flight. */
  readonly deaths = new Uint8Array(65_536);
  /** How many connections in a row it was not answered on, although others after it were. */
  readonly silences = new Uint8Array(65_536);
  /** 1: the broker ended its exchange with a refusal, so that its next PUBLISH is the first of a new one, without DUP. */
  readonly isEnded = new Uint8Array(65_536);
  /** 1: the broker may hold it, because it was sent at QoS 2 in its present session, and that exchange is not over. */
  readonly isHeld = new Uint8Array(65_536);
  /** 1: it was sent at a lower QoS after that, which the broker may yet answer. */
  readonly isLowered = new Uint8Array(65_536);
  /** 1: its last PUBLISH had DUP. */
  readonly isRepeated = new Uint8Array(65_536);
  /** Message Expiry Interval that it was first sent with, because a re-send is byte-identical; 0: none yet. */
  readonly expirySeconds = new Uint32Array(65_536);

  /** Makes the slot ready for the message that will have this identifier next. */
  clear(packetId: number): void {
    this.state[packetId] = WAITING;
    this.refusals[packetId] = 0;
    this.blames[packetId] = 0;
    this.deaths[packetId] = 0;
    this.silences[packetId] = 0;
    this.isEnded[packetId] = 0;
    this.isHeld[packetId] = 0;
    this.isLowered[packetId] = 0;
    this.qos[packetId] = 0;
    this.expirySeconds[packetId] = 0;
  }
}
