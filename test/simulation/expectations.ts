/** What may become of a message in a world, at any moment of it. */
import { LANES, type Lane } from '../../src/core/lane.js';
import { type Key, keyOf } from './key.js';
import type { World } from './world.js';

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

  /** Whether a message that is settled now was delivered, or needed not be. */
  isJustified(lane: Lane, offset: number): boolean {
    const name = this.#world.places.nameAt(lane, offset);
    const accepted = name === undefined ? undefined : this.#world.messages.get(name);
    if (name === undefined || accepted === undefined) return false;
    const { message, producer } = accepted;
    if ((this.#world.broker.deliveredCount.get(name) ?? 0) > 0) return true;
    const { expirySeconds } = message;
    // Messages that are accepted within a second share a row, which has the time of the first one.
    const acceptedAtMs = producer.earliestAskedAtMs - 1000;
    if (expirySeconds > 0 && this.#world.faults.latestWallMs >= acceptedAtMs + expirySeconds * 1000) return true;
    if (message.qos === 0 || this.#world.broker.traits.maximumQos === 0)
      return this.#world.watcher.sent.has(keyOf(lane, offset));
    return this.isExcused(name);
  }

  /**
   * The one loss that MQTT cannot prevent: the broker lost its session, and the CONNACK that said so was lost, too, or we
   * with it. The next one says that there is a session, and its PUBCOMP means nothing.
   */
  isExcused(name: Key): boolean {
    const { message } = this.#world.messages.get(name) ?? {};
    return (
      this.#world.broker.maskedLossCount > 0 && message?.qos === 2 && this.#world.broker.traits.deliversAt === 'pubrel'
    );
  }
}
