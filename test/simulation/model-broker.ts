/**
 * A broker by the book, and with the habits of those in the field: it delivers at PUBLISH or at PUBREL, keeps or loses its
 * sessions, refuses, withholds, closes. What it does on one connection is in `broker-connection.ts`.
 */
import type { IConnectPacket, IPublishPacket } from 'mqtt-packet';
import { BrokerConnection } from './broker-connection.js';
import type { BrokerTraits } from './broker-traits.js';
import type { Key } from './key.js';
import type { ModelLink } from './model-link.js';
import type { Random } from './random.js';
import type { Timeline } from './timeline.js';

export interface Delivery {
  key: Key;
  qos: number;
  packet: IPublishPacket;
}

export interface Held {
  key: Key;
  packet: IPublishPacket;
  isPubrecDue: boolean;
}

/** What a broker has on its disk, and what has been delivered, at one moment. */
export interface BrokerMemory {
  sessions: ReadonlyMap<string, { held: ReadonlyMap<number, Held>; isKnownToClient: boolean }>;
  deliveries: readonly Delivery[];
  attempts: ReadonlyMap<Key, number>;
}

export class BrokerSession {
  /** QoS 2 messages between PUBLISH and PUBREL, by identifier, oldest first. */
  readonly held = new Map<number, Held>();
  /** False until the client is known to have stored that this session is a new one. */
  isKnownToClient = false;
  #receiveMaximum = 0;
  #isCrowded = false;

  /** A new connection, with this Receive Maximum: true while anything is held from one that had a larger one. */
  isCrowded(receiveMaximum: number): boolean {
    this.#isCrowded = this.held.size > 0 && (this.#isCrowded || receiveMaximum < this.#receiveMaximum);
    this.#receiveMaximum = receiveMaximum;
    return this.#isCrowded;
  }
}

export class ModelBroker {
  traits: BrokerTraits;
  isUp = true;
  readonly deliveries: Delivery[] = [];
  readonly deliveredCount = new Map<Key, number>();
  /** PUBLISH packets received, per message. */
  readonly attempts = new Map<Key, number>();
  readonly problems: string[] = [];
  readonly refused = new Set<Key>();
  /** PUBLISHes above the Receive Maximum; each ended its connection. */
  readonly overruns: string[] = [];
  /** Acknowledged and dropped, because the broker held as many as it takes. */
  readonly droppedSilently: Key[] = [];
  /** Connections on which Session Present was 1 although the client cannot know that the session is a new one. */
  maskedLossCount = 0;
  ackCount = 0;
  connectionCount = 0;
  readonly timeline: Timeline;
  readonly random: Random;
  readonly #sessions = new Map<string, BrokerSession>();
  readonly #sessionOfLink = new WeakMap<ModelLink, BrokerSession>();
  readonly #connections = new Map<string, BrokerConnection>();
  /** All of them, those before their CONNECT as well. */
  readonly #open = new Set<BrokerConnection>();

  constructor(traits: BrokerTraits, timeline: Timeline, random: Random) {
    this.traits = traits;
    this.timeline = timeline;
    this.random = random;
  }

  accept(link: ModelLink): void {
    const connection = new BrokerConnection(this, link);
    this.#open.add(connection);
    link.join('broker', connection);
  }

  /** The process of the broker ends and begins again; with `keepsSessions` it has all on its disk. */
  crash(keepsSessions: boolean): void {
    for (const connection of this.#open) connection.drop();
    if (!keepsSessions) this.#sessions.clear();
  }

  /** Ends all connections, under MQTT 5 with a reason: another client has our id, or the broker is shutting down. */
  kick(reasonCode: number): void {
    for (const connection of this.#open) connection.kick(reasonCode);
  }

  /** A copy of what would survive a restart of the broker. */
  remember(): BrokerMemory {
    const sessions = new Map(
      Array.from(this.#sessions, ([clientId, { held, isKnownToClient }]) => [
        clientId,
        { held: new Map(Array.from(held, ([id, one]) => [id, { ...one }])), isKnownToClient },
      ]),
    );
    return { sessions, deliveries: [...this.deliveries], attempts: new Map(this.attempts) };
  }

  /** Takes over what another broker remembered. */
  recall(memory: BrokerMemory): void {
    for (const [clientId, { held, isKnownToClient }] of memory.sessions) {
      const session = new BrokerSession();
      for (const [id, one] of held) session.held.set(id, { ...one });
      session.isKnownToClient = isKnownToClient;
      this.#sessions.set(clientId, session);
    }
    for (const { key, packet } of memory.deliveries) this.deliver(key, packet);
    for (const [key, count] of memory.attempts) this.attempts.set(key, count);
  }

  /** The session of the connection, once its CONNECT has come. */
  sessionOf(link: ModelLink): BrokerSession | undefined {
    return this.#sessionOfLink.get(link);
  }

  join(
    connect: IConnectPacket,
    connection: BrokerConnection,
    link: ModelLink,
  ): { session: BrokerSession; present: boolean } {
    const joined = this.#join(connect.clientId, connection, connect.clean === true);
    this.#sessionOfLink.set(link, joined.session);
    return joined;
  }

  #join(
    clientId: string,
    connection: BrokerConnection,
    isClean: boolean,
  ): { session: BrokerSession; present: boolean } {
    this.#connections.get(clientId)?.drop();
    this.#connections.set(clientId, connection);
    if (isClean) this.#sessions.delete(clientId);
    const known = this.#sessions.get(clientId);
    if (known !== undefined) {
      if (!known.isKnownToClient) this.maskedLossCount++;
      return { session: known, present: true };
    }
    const session = new BrokerSession();
    this.#sessions.set(clientId, session);
    return { session, present: false };
  }

  ended(connection: BrokerConnection): void {
    this.#open.delete(connection);
  }

  leave(clientId: string, connection: BrokerConnection, isEphemeral: boolean): void {
    if (this.#connections.get(clientId) !== connection) return;
    this.#connections.delete(clientId);
    if (isEphemeral) this.#sessions.delete(clientId);
  }

  deliver(key: Key, packet: IPublishPacket): void {
    this.deliveries.push({ key, qos: packet.qos, packet });
    this.deliveredCount.set(key, (this.deliveredCount.get(key) ?? 0) + 1);
  }
}
