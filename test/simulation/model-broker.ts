/**
 * A broker by the book, and with the habits of those in the field: it delivers at PUBLISH or at PUBREL, keeps or loses its
 * sessions, refuses, withholds, closes. What it does on one connection is in `broker-connection.ts`.
 */
import type { IConnectPacket } from 'mqtt-packet';
import { BrokerConnection } from './broker-connection.js';
import type { BrokerTraits } from './broker-traits.js';
import type { Key } from './key.js';
import type { ModelLink } from './model-link.js';
import type { Random } from './random.js';
import type { Delivery, Reception } from './reception.js';
import type { Timeline } from './timeline.js';

export interface Held extends Omit<Delivery, 'qos'> {
  isPubrecDue: boolean;
}

/** What a broker has on its disk, and what has been delivered, at one moment. */
export interface BrokerMemory {
  sessions: ReadonlyMap<string, { number: number; held: ReadonlyMap<number, Held>; isKnownToClient: boolean }>;
  deliveries: readonly Delivery[];
  attempts: ReadonlyMap<Key, number>;
}

export class BrokerSession {
  /** QoS 2 messages between PUBLISH and PUBREL, by identifier, oldest first. */
  readonly held = new Map<number, Held>();
  /** False until the client is known to have stored that this session is a new one. */
  isKnownToClient = false;
  /** When its last connection ended. */
  leftAtMs = 0;
  /** Counted over all brokers. */
  readonly number: number;
  #receiveMaximum = 0;
  #isCrowded = false;

  constructor(number: number) {
    this.number = number;
  }

  /** A new connection, with this Receive Maximum: true while anything is held from one that had a larger one. */
  isCrowded(receiveMaximum: number): boolean {
    this.#isCrowded = this.held.size > 0 && (this.#isCrowded || receiveMaximum < this.#receiveMaximum);
    this.#receiveMaximum = receiveMaximum;
    return this.#isCrowded;
  }
}

export class ModelBroker {
  readonly traits: BrokerTraits;
  isUp = true;
  /** It has accepted a connection; and one more after another broker had. */
  hasServed = false;
  hasServedAgain = false;
  readonly reception: Reception;
  readonly timeline: Timeline;
  readonly random: Random;
  readonly #sessions = new Map<string, BrokerSession>();
  readonly #sessionOfLink = new WeakMap<ModelLink, BrokerSession>();
  readonly #connections = new Map<string, BrokerConnection>();
  /** All of them, those before their CONNECT as well. */
  readonly #open = new Set<BrokerConnection>();

  constructor(traits: BrokerTraits, reception: Reception, timeline: Timeline, random: Random) {
    this.traits = traits;
    this.reception = reception;
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
    if (!keepsSessions) for (const clientId of [...this.#sessions.keys()]) this.#lose(clientId);
  }

  #lose(clientId: string): void {
    const { reception } = this;
    for (const { key } of this.#sessions.get(clientId)?.held.values() ?? []) reception.lostInSession.add(key);
    reception.lostSessionCount++;
    this.#sessions.delete(clientId);
  }

  /** Ends all connections, under MQTT 5 with a reason: another client has our id, or the broker is shutting down. */
  kick(reasonCode: number): void {
    for (const connection of this.#open) connection.kick(reasonCode);
  }

  /** A copy of what would survive a restart of the broker. */
  remember(): BrokerMemory {
    const sessions = new Map(
      Array.from(this.#sessions, ([clientId, { number, held, isKnownToClient }]) => [
        clientId,
        { number, held: new Map(Array.from(held, ([id, one]) => [id, { ...one }])), isKnownToClient },
      ]),
    );
    const { deliveries, attempts } = this.reception;
    return { sessions, deliveries: [...deliveries], attempts: new Map(attempts) };
  }

  /** Takes over what another broker remembered. */
  recall(memory: BrokerMemory): void {
    const { reception } = this;
    for (const [clientId, { number, held, isKnownToClient }] of memory.sessions) {
      const session = new BrokerSession(number);
      reception.sessionCount = Math.max(reception.sessionCount, number + 1);
      for (const [id, one] of held) session.held.set(id, { ...one });
      session.isKnownToClient = isKnownToClient;
      this.#sessions.set(clientId, session);
    }
    for (const delivery of memory.deliveries) reception.deliver(delivery);
    for (const [key, count] of memory.attempts) reception.attempts.set(key, count);
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
    this.hasServedAgain ||= this.hasServed && this.reception.lastServedBy !== this;
    this.hasServed = true;
    this.reception.lastServedBy = this;
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
      if (!known.isKnownToClient && this.reception.lostInSession.size > 0) this.reception.maskedLossCount++;
      return { session: known, present: true };
    }
    const session = new BrokerSession(this.reception.sessionCount++);
    this.#sessions.set(clientId, session);
    return { session, present: false };
  }

  ended(connection: BrokerConnection): void {
    this.#open.delete(connection);
  }

  /** @param expirySeconds how long the session outlives the connection; undefined: for good. */
  leave(clientId: string, connection: BrokerConnection, expirySeconds: number | undefined): void {
    if (this.#connections.get(clientId) !== connection) return;
    this.#connections.delete(clientId);
    if (expirySeconds === undefined) return;
    if (expirySeconds === 0) {
      this.#sessions.delete(clientId);
      return;
    }
    const session = this.#sessions.get(clientId);
    if (session === undefined) return;
    session.leftAtMs = this.timeline.nowMs;
    this.timeline.after(expirySeconds * 1000, () => {
      if (this.#connections.has(clientId) || this.#sessions.get(clientId) !== session) return;
      // It may have been in use again meanwhile.
      if (session.leftAtMs + expirySeconds * 1000 <= this.timeline.nowMs) this.#lose(clientId);
    });
  }
}
