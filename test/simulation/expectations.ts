/** What may become of a message in a world, at any moment of it. */

import { LANES, type Lane } from '../../src/core/lane.js';
import { LAZY_SAVE_MS } from '../../src/session/saving.js';
import { type Key, keyOf } from './key.js';
import { CACHE_ID } from './simulated-disk.js';
import type { World } from './world.js';
import { keyRetentionMsOf, longestSaveMs } from './world-config.js';

export class Expectations {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Whether the message at this place may expire. */
  expires(key: Key): boolean {
    for (const lane of LANES) {
      if (key.charAt(0) !== lane.charAt(0)) continue;
      const name = this.#world.places.nameAt(lane, Number(key.slice(1)));
      return name !== undefined && (this.#world.messages.get(name)?.message.expirySeconds ?? 0) > 0;
    }
    return false;
  }

  /** Its producer asked for the first time so long ago that its key may be forgotten. */
  mayBeStoredAgain(name: Key): boolean {
    const producer = this.#world.messages.get(name)?.producer;
    if (producer?.isKeyed !== true) return false;
    return this.#world.faults.latestWallMs >= producer.earliestAskedAtMs + keyRetentionMsOf(this.#world.plan);
  }

  /** Whether a message that is settled now was delivered, or needed not be. */
  isJustified(lane: Lane, offset: number): boolean {
    const name = this.#world.places.nameAt(lane, offset);
    const accepted = name === undefined ? undefined : this.#world.messages.get(name);
    if (name === undefined || accepted === undefined) return false;
    const { message, producer } = accepted;
    const { reception, watcher, faults, places } = this.#world;
    if ((reception.deliveredCount.get(name) ?? 0) > 0) return true;
    const { expirySeconds } = message;
    const key = keyOf(lane, offset);
    // Messages that are accepted within a second share a row, which has the time of the first one.
    const acceptedAtMs = producer.earliestAskedAtMs - 1000;
    const hasAged = faults.latestWallMs >= acceptedAtMs + expirySeconds * 1000;
    // One that is put back has the time of that, by a clock that may have been set back since it was handed in.
    const isOld = expirySeconds > 0 && (hasAged || places.isMoved(name));
    // What may have been sent must be sent again, however old it is [MQTT-4.3.3-7].
    if (isOld && !watcher.sentToBeAnswered.has(key)) return true;
    if (Math.min(message.qos, this.lowestQos) === 0) return watcher.sent.has(key);
    return this.isExcused(name);
  }

  /** The lowest Maximum QoS of all connections so far. */
  get lowestQos(): number {
    return this.#world.reception.grants.reduce((lowest, { maximumQos }) => Math.min(lowest, maximumQos), 2);
  }

  /** What may be left of the life of the message at this place when it is sent now; undefined: nobody can tell. */
  lifeLeftOf(lane: Lane, offset: number): { leastSeconds: number; mostSeconds: number } | undefined {
    const name = this.#world.places.nameAt(lane, offset);
    const { message, producer } = (name === undefined ? undefined : this.#world.messages.get(name)) ?? {};
    const isTimeClear =
      !this.#world.faults.hasHappened('clockJump') && name !== undefined && !this.#world.places.isMoved(name);
    if (message === undefined || producer === undefined || message.expirySeconds === 0 || !isTimeClear)
      return undefined;
    const { wallMs } = this.#world.timeline;
    const after = (acceptedAtMs: number): number =>
      Math.max(1, message.expirySeconds - Math.floor(Math.max(0, wallMs - acceptedAtMs) / 1000));
    return {
      leastSeconds: after(producer.earliestAskedAtMs - 1000),
      mostSeconds: after(producer.lastAskedAtMs ?? producer.earliestAskedAtMs),
    };
  }

  /** The QoS of the message at this place, when it must go out in its turn: it can neither expire nor be set aside unsent. */
  qosInTurn(lane: Lane, offset: number): number | undefined {
    const { places, messages, plan } = this.#world;
    const { broker } = plan;
    const name = places.nameAt(lane, offset);
    const message = name === undefined ? undefined : messages.get(name)?.message;
    const isSetAsideUnsent = broker.refused !== undefined || this.hasSizeLimit;
    return message === undefined || message.expirySeconds > 0 || isSetAsideUnsent ? undefined : message.qos;
  }

  /** Bits of a PUBLISH that another connection may set in another way: DUP, and what a broker has come not to take. */
  get flagsThatMayChange(): number {
    const grants = this.#world.reception.grants;
    const qosBits = grants.some(({ maximumQos }) => maximumQos < 2) ? 0b110 : 0;
    const retainBit = grants.some(({ retainAvailable }) => !retainAvailable) ? 1 : 0;
    return 0b1000 | qosBits | retainBit;
  }

  /** Some connection has a Maximum Packet Size. */
  get hasSizeLimit(): boolean {
    return this.#world.reception.grants.some(({ maximumPacketSizeBytes }) => maximumPacketSizeBytes !== undefined);
  }

  /**
   * A message that was acknowledged and whose settlement should be on the disk: it lags behind for `LAZY_SAVE_MS`, and for
   * two saves, the one that was under way and its own.
   */
  laggingSettlement(): string | undefined {
    const { faults, watcher, timeline, plan } = this.#world;
    if (faults.concernDisk) return undefined;
    const lagMs = LAZY_SAVE_MS + 2 * (longestSaveMs(plan) + faults.slowestCommitMs);
    const [key] = watcher.unsettled(timeline.nowMs - lagMs);
    return key === undefined ? undefined : `${key} was acknowledged more than ${lagMs} ms ago and is not settled.`;
  }

  /** The id of the message in its user property may be one of these. */
  idsOf(name: Key): string[] {
    return this.#world.places.originsOf(name).map(({ lane, offset }) => `${CACHE_ID}-${lane.charAt(0)}-${offset}`);
  }

  /**
   * The one loss that MQTT cannot prevent: the broker lost its session, and the CONNACK that said so was lost, too, or we
   * with it. The next one says that there is a session, and its PUBCOMP means nothing.
   */
  isExcused(name: Key): boolean {
    const { reception, plan, messages } = this.#world;
    const isHeldLost = reception.maskedLossCount > 0 && reception.lostInSession.has(name);
    return isHeldLost && messages.get(name)?.message.qos === 2 && plan.broker.deliversAt === 'pubrel';
  }
}
