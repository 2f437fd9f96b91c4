/**
 * A broker by the book, and with the habits of those in the field: it delivers at PUBLISH or at PUBREL, keeps or loses its
 * sessions, refuses, withholds, closes. It reads with `mqtt-packet` and writes down every rule that a client breaks.
 */
import mqttPacket, { type IConnackPacket, type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet';
import { type Key, keyIn } from './key.js';
import type { LinkEnd, ModelLink } from './model-link.js';
import { Framer } from './packet-stream.js';
import type { Random } from './random.js';
import type { Timeline } from './timeline.js';

export interface BrokerTraits {
  deliversAt: 'publish' | 'pubrel';
  /** MQTT 5 announces these; undefined: not. */
  receiveMaximum: number | undefined;
  maximumQos: 0 | 1 | 2;
  maximumPacketSizeBytes: number | undefined;
  retainAvailable: boolean;
  /** Shortest and longest time to an acknowledgement. */
  ackDelayMs: readonly [number, number];
  /** A 3.1.1 broker that holds so many QoS 2 messages acknowledges one more like the others, and drops it (Mosquitto: 20). */
  heldMax: number | undefined;
  /** With more than this many held, a PUBREC waits until others are released, on whatever connection (Mosquitto). */
  pubrecsMax: number | undefined;
  /** What a PUBREL of an unknown identifier is answered with under MQTT 5. */
  unknownPubrelCode: 0 | 0x92;
  /** Answers a repeated PUBLISH of a message that it holds with 0x91 (EMQX before 6.2). */
  saysInUse: boolean;
  /** Acknowledges QoS 2 with PUBACK (RabbitMQ under 3.1.1). */
  downgrades: boolean;
  /** The reason code for a message, or 0; `attempt` counts from 1. */
  codeOf: (publish: IPublishPacket, attempt: number) => number;
  closesOn: (publish: IPublishPacket) => boolean;
  ignores: (publish: IPublishPacket) => boolean;
  /** What becomes of the acknowledgement with this number, counted from 0 over all connections; undefined: it is sent. */
  ackFaultOf: (ack: number) => AckFault | undefined;
  /**
   * What the connection with this number, counted from 0, gets in answer to its CONNECT: a reason code, a return code under
   * 3.1.1, or nothing but its end.
   */
  connectCodeOf: (connection: number, version: 4 | 5) => number | 'close';
}

/** What brokers in the field, and the networks of their clusters, do with acknowledgements. */
export interface AckFault {
  how:
    | 'late'
    | 'never'
    | 'twice'
    /** PUBREC for PUBACK and for PUBCOMP, PUBCOMP for PUBREC. */
    | 'wrongType'
    /** One more, for an identifier that is not in use. */
    | 'unknownPuback'
    | 'unknownPubrec'
    | 'unknownPubcomp'
    /** A PUBREL for a message that the broker never sent. */
    | 'unaskedPubrel';
  delayMs: number;
  unknownId: number;
}

export const ORDINARY_BROKER: BrokerTraits = {
  deliversAt: 'publish',
  receiveMaximum: undefined,
  maximumQos: 2,
  maximumPacketSizeBytes: undefined,
  retainAvailable: true,
  ackDelayMs: [0, 0],
  heldMax: undefined,
  pubrecsMax: undefined,
  unknownPubrelCode: 0x92,
  saysInUse: false,
  downgrades: false,
  codeOf: () => 0,
  closesOn: () => false,
  ignores: () => false,
  ackFaultOf: () => undefined,
  connectCodeOf: () => 0,
};

export interface Delivery {
  key: Key;
  qos: number;
  packet: IPublishPacket;
}

interface Held {
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

type AckPacket = Packet & { cmd: 'puback' | 'pubrec' | 'pubcomp' };

const UNASKED = {
  unknownPuback: 'puback',
  unknownPubrec: 'pubrec',
  unknownPubcomp: 'pubcomp',
  unaskedPubrel: 'pubrel',
} as const;

class BrokerConnection implements LinkEnd {
  readonly #broker: ModelBroker;
  readonly #link: ModelLink;
  readonly #framer = new Framer();
  readonly #parser = mqttPacket.parser();
  #connect: IConnectPacket | undefined;
  #session: BrokerSession | undefined;
  #isOpen = true;
  /** QoS 1 messages whose PUBACK is not sent yet. */
  readonly #open = new Set<number>();
  /** Identifiers of QoS 2 that came on this connection and are not complete. */
  readonly #seen = new Set<number>();
  #lastReplyMs = 0;
  /** Replies that wait for their time; none overtakes another. */
  #replyCount = 0;
  readonly #number: number;
  /** As it is announced on this connection. */
  readonly #receiveMaximum: number | undefined;

  constructor(broker: ModelBroker, link: ModelLink) {
    this.#broker = broker;
    this.#link = link;
    this.#number = broker.connectionCount++;
    this.#receiveMaximum = broker.traits.receiveMaximum;
    this.#parser.on('packet', (packet) => {
      if (this.#isOpen) this.#handle(packet);
    });
    this.#parser.on('error', (error: unknown) => this.#problem(`the bytes are no MQTT: ${String(error)}`));
  }

  received(bytes: Buffer): void {
    if (!this.#isOpen || !this.#broker.isUp) return;
    for (const packet of this.#framer.push(bytes)) this.#parser.parse(packet);
  }

  drained(): void {}

  closed(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#broker.ended(this);
    const connect = this.#connect;
    if (connect === undefined) return;
    const isEphemeral =
      connect.protocolVersion === 5 ? (connect.properties?.sessionExpiryInterval ?? 0) === 0 : connect.clean === true;
    this.#broker.leave(connect.clientId, this, isEphemeral);
  }

  /** Ends the connection from the broker's side. */
  drop(): void {
    this.closed();
    this.#link.end('broker');
  }

  kick(reasonCode: number): void {
    if (this.#session !== undefined && this.#version === 5) {
      this.#link.write('broker', mqttPacket.generate({ cmd: 'disconnect', reasonCode }, { protocolVersion: 5 }));
    }
    this.drop();
  }

  #problem(text: string): void {
    this.#broker.problems.push(`Broker: ${text}`);
  }

  /** Sends an acknowledgement, or what this broker makes of it. */
  #acknowledge(packet: AckPacket, whenSent?: () => void): void {
    const fault = this.#broker.traits.ackFaultOf(this.#broker.ackCount++);
    if (fault === undefined) {
      this.#reply(packet, whenSent);
      return;
    }
    switch (fault.how) {
      case 'late':
        this.#reply(packet, whenSent, fault.delayMs);
        return;
      case 'never':
        whenSent?.();
        return;
      case 'twice':
        this.#reply(packet, whenSent);
        this.#reply(packet);
        return;
      case 'wrongType':
        this.#reply({ ...packet, cmd: packet.cmd === 'pubrec' ? 'pubcomp' : 'pubrec' }, whenSent);
        return;
      default:
        this.#reply({ cmd: UNASKED[fault.how], messageId: fault.unknownId });
        this.#reply(packet, whenSent);
    }
  }

  #reply(packet: Packet, whenSent?: () => void, laterMs = 0): void {
    const { timeline, random, traits } = this.#broker;
    const [least, most] = traits.ackDelayMs;
    const delayMs = laterMs + (most === 0 ? 0 : random.between(least, most));
    this.#lastReplyMs = Math.max(this.#lastReplyMs, timeline.nowMs + delayMs);
    const bytes = mqttPacket.generate(packet, { protocolVersion: this.#version });
    const send = (): void => {
      this.#replyCount--;
      if (!this.#isOpen) return;
      whenSent?.();
      this.#link.write('broker', bytes);
    };
    if (this.#replyCount++ === 0 && this.#lastReplyMs === timeline.nowMs) send();
    else timeline.after(this.#lastReplyMs - timeline.nowMs, send);
  }

  get #version(): 4 | 5 {
    return this.#connect?.protocolVersion === 5 ? 5 : 4;
  }

  #handle(packet: Packet): void {
    if (packet.cmd === 'connect') {
      this.#accept(packet);
      return;
    }
    if (this.#session === undefined) {
      this.#problem(`${packet.cmd} came before CONNECT`);
      return;
    }
    if (packet.cmd === 'publish') this.#publish(packet, this.#session);
    else if (packet.cmd === 'pubrel') this.#release(packet.messageId ?? 0, this.#session);
    else if (packet.cmd === 'pingreq') this.#reply({ cmd: 'pingresp' });
    else if (packet.cmd === 'disconnect') this.drop();
    else this.#problem(`an unexpected ${packet.cmd} came`);
  }

  #accept(packet: IConnectPacket): void {
    if (this.#connect !== undefined) this.#problem('a second CONNECT came');
    this.#connect = packet;
    const code = this.#broker.traits.connectCodeOf(this.#number, this.#version);
    if (code !== 0) {
      const answer = { cmd: 'connack', sessionPresent: false } as const;
      // A broker that does not know MQTT 5 answers in the old form.
      const isOld = this.#version === 4 || code === 1;
      if (code !== 'close') {
        const refusal = mqttPacket.generate(
          { ...answer, ...(isOld ? { returnCode: code } : { reasonCode: code }) },
          { protocolVersion: isOld ? 4 : 5 },
        );
        this.#link.write('broker', refusal);
      }
      this.#connect = undefined;
      this.drop();
      return;
    }
    const { session, present } = this.#broker.join(packet, this, this.#link);
    this.#session = session;
    const { traits } = this.#broker;
    const connack: IConnackPacket = { cmd: 'connack', sessionPresent: present };
    if (this.#version === 4) connack.returnCode = 0;
    else {
      connack.reasonCode = 0;
      connack.properties = {
        ...(this.#receiveMaximum === undefined ? {} : { receiveMaximum: this.#receiveMaximum }),
        ...(traits.maximumQos === 2 ? {} : { maximumQoS: traits.maximumQos }),
        ...(traits.maximumPacketSizeBytes === undefined ? {} : { maximumPacketSize: traits.maximumPacketSizeBytes }),
        ...(traits.retainAvailable ? {} : { retainAvailable: false }),
      };
    }
    this.#reply(connack);
    this.#sendDuePubrecs(session);
  }

  #publish(packet: IPublishPacket, session: BrokerSession): void {
    const { traits, attempts } = this.#broker;
    const payload = Buffer.from(packet.payload);
    const key = keyIn(payload);
    const attempt = (attempts.get(key) ?? 0) + 1;
    attempts.set(key, attempt);
    if (traits.closesOn(packet)) {
      this.drop();
      return;
    }
    if (packet.qos > traits.maximumQos) this.#problem(`${key} came with QoS ${packet.qos}`);
    if (packet.retain && !traits.retainAvailable) this.#problem(`${key} came with RETAIN`);
    if (packet.qos === 0) {
      this.#broker.deliver(key, packet);
      return;
    }
    const id = packet.messageId ?? 0;
    const held = session.held.get(id);
    if (this.#open.has(id) || this.#seen.has(id)) this.#problem(`identifier ${id} came twice on one connection`);
    if (held !== undefined && held.key !== key) {
      this.#problem(`${key} came with identifier ${id}, which still means ${held.key}`);
    }
    const receiveMaximum = this.#receiveMaximum;
    if (this.#version === 5 && receiveMaximum !== undefined && held === undefined) {
      const count = this.#open.size + session.held.size;
      if (count >= receiveMaximum) {
        this.#broker.overruns.push(`${key} came while ${count} of ${receiveMaximum} were under way`);
        this.kick(0x93);
        return;
      }
    }
    if (traits.ignores(packet)) return;
    const code = this.#version === 5 ? traits.codeOf(packet, attempt) : 0;
    if (code >= 0x80) this.#broker.refused.add(key);
    if (packet.qos === 1 || traits.downgrades) {
      this.#open.add(id);
      if (code < 0x80) this.#broker.deliver(key, packet);
      this.#acknowledge({ cmd: 'puback', messageId: id, ...this.#code(code) }, () => this.#open.delete(id));
      return;
    }
    if (held !== undefined) {
      // The exchange ends with 0x91, so that the identifier may come again.
      if (!traits.saysInUse) this.#seen.add(id);
      if (!held.isPubrecDue)
        this.#acknowledge({ cmd: 'pubrec', messageId: id, ...this.#code(traits.saysInUse ? 0x91 : 0) });
      return;
    }
    if (code >= 0x80) {
      this.#open.add(id);
      this.#acknowledge({ cmd: 'pubrec', messageId: id, ...this.#code(code) }, () => this.#open.delete(id));
      return;
    }
    this.#seen.add(id);
    if (traits.heldMax !== undefined && this.#version === 4 && session.held.size >= traits.heldMax) {
      this.#broker.droppedSilently.push(key);
      this.#acknowledge({ cmd: 'pubrec', messageId: id });
      return;
    }
    session.held.set(id, { key, packet, isPubrecDue: true });
    if (traits.deliversAt === 'publish') this.#broker.deliver(key, packet);
    this.#sendDuePubrecs(session, code);
  }

  #sendDuePubrecs(session: BrokerSession, code = 0): void {
    const { pubrecsMax } = this.#broker.traits;
    let count = 0;
    for (const [id, held] of session.held) {
      if (pubrecsMax !== undefined && ++count > pubrecsMax) return;
      if (!held.isPubrecDue) continue;
      held.isPubrecDue = false;
      this.#acknowledge({ cmd: 'pubrec', messageId: id, ...this.#code(code) });
    }
  }

  #release(id: number, session: BrokerSession): void {
    const { traits } = this.#broker;
    const held = session.held.get(id);
    if (held !== undefined && traits.deliversAt === 'pubrel') this.#broker.deliver(held.key, held.packet);
    session.held.delete(id);
    this.#seen.delete(id);
    this.#acknowledge({
      cmd: 'pubcomp',
      messageId: id,
      ...this.#code(held === undefined ? traits.unknownPubrelCode : 0),
    });
    this.#sendDuePubrecs(session);
  }

  #code(reasonCode: number): { reasonCode?: number } {
    return this.#version === 5 ? { reasonCode } : {};
  }
}
