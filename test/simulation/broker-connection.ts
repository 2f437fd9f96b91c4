/** One connection at a broker. It reads with `mqtt-packet` and writes down every rule that a client breaks. */
import mqttPacket, { type IConnackPacket, type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet';
import { keyOfPublish } from './broker-habits.js';
import { type Grant, ORDINARY_GRANT } from './broker-traits.js';
import type { BrokerSession, ModelBroker } from './model-broker.js';
import type { LinkEnd, ModelLink } from './model-link.js';
import { Framer } from './packet-stream.js';

type AckPacket = Packet & { cmd: 'puback' | 'pubrec' | 'pubcomp' };

const UNASKED = {
  unknownPuback: 'puback',
  unknownPubrec: 'pubrec',
  unknownPubcomp: 'pubcomp',
  unaskedPubrel: 'pubrel',
} as const;

const NOTHING = Buffer.alloc(0);

export class BrokerConnection implements LinkEnd {
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
  /** Identifiers whose PUBREC was sent on this connection, or was due. */
  readonly #received = new Set<number>();
  /** PUBRELs that belonged to nothing: each may be answered once. */
  readonly #unaskedPubrels: number[] = [];
  #lastReplyMs = 0;
  /** Replies that wait for their time; none overtakes another. */
  #replyCount = 0;
  readonly #number: number;
  /**
   * Whether what the broker holds from former connections counts against its Receive Maximum, as with Mosquitto. When that
   * has shrunk since, nobody could send again what was in flight; and the quota begins anew with every connection
   * [MQTT 5.0 §4.9].
   */
  #countsAll = true;
  /** Goes out behind the reply that is being sent, in the same piece. */
  #earlyBytes: Buffer = NOTHING;
  /** As it is announced on this connection. */
  #grant: Grant = ORDINARY_GRANT;
  /** Nothing is read or answered any more. */
  #isSilent = false;

  constructor(broker: ModelBroker, link: ModelLink) {
    this.#broker = broker;
    this.#link = link;
    this.#number = broker.reception.connectionCount++;
    this.#parser.on('packet', (packet) => {
      if (this.#isOpen && !this.#isSilent) this.#handle(packet);
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
    const asked = connect.properties?.sessionExpiryInterval ?? 0;
    const isEphemeral = connect.protocolVersion === 5 ? asked === 0 : connect.clean === true;
    this.#broker.leave(connect.clientId, this, isEphemeral ? 0 : this.#grant.sessionExpirySeconds);
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
    this.#broker.reception.problems.push(`Broker: ${text}`);
  }

  /** Sends an acknowledgement, or what this broker makes of it. */
  #acknowledge(packet: AckPacket, whenSent?: () => void): void {
    const { traits, reception } = this.#broker;
    const fault = traits.ackFaultOf(reception.ackCount++);
    const wasReceived = this.#received.has(packet.messageId ?? 0);
    if (packet.cmd === 'pubrec') this.#received.add(packet.messageId ?? 0);
    if (fault === undefined) {
      this.#reply(packet, whenSent);
      return;
    }
    const mayBeEarly = packet.cmd === 'pubrec' && !wasReceived;
    if (fault.how !== 'earlyPubcomp' || mayBeEarly) fault.happened();
    const held = this.#session?.held.get(packet.messageId ?? 0);
    if (packet.cmd === 'pubrec' && held !== undefined && ['never', 'wrongType'].includes(fault.how)) {
      reception.late.add(held.key);
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
      case 'earlyPubcomp':
        // Both at once: what comes after the PUBREL has gone out cannot be told from its answer.
        this.#reply(packet, () => {
          whenSent?.();
          if (mayBeEarly) this.#earlyBytes = this.#bytesOf({ cmd: 'pubcomp', messageId: packet.messageId ?? 0 });
        });
        return;
      case 'wrongType':
        this.#reply({ ...packet, cmd: packet.cmd === 'pubrec' ? 'pubcomp' : 'pubrec' }, whenSent);
        return;
      default:
        if (fault.how === 'unaskedPubrel') this.#unaskedPubrels.push(fault.unknownId);
        this.#reply({ cmd: UNASKED[fault.how], messageId: fault.unknownId });
        this.#reply(packet, whenSent);
    }
  }

  #reply(packet: Packet, whenSent?: () => void, laterMs = 0): void {
    const { timeline, random, traits } = this.#broker;
    const [least, most] = traits.ackDelayMs;
    const delayMs = laterMs + (most === 0 ? 0 : random.between(least, most));
    this.#lastReplyMs = Math.max(this.#lastReplyMs, timeline.nowMs + delayMs);
    const bytes = this.#bytesOf(packet);
    const send = (): void => {
      this.#replyCount--;
      if (!this.#isOpen || this.#isSilent) return;
      whenSent?.();
      this.#link.write('broker', Buffer.concat([bytes, this.#earlyBytes]));
      this.#earlyBytes = NOTHING;
    };
    if (this.#replyCount++ === 0 && this.#lastReplyMs === timeline.nowMs) send();
    else timeline.after(this.#lastReplyMs - timeline.nowMs, send);
  }

  #bytesOf(packet: Packet): Buffer {
    return mqttPacket.generate(packet, { protocolVersion: this.#version });
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
    else if (packet.cmd === 'pubcomp') this.#completed(packet.messageId ?? 0);
    else this.#problem(`an unexpected ${packet.cmd} came`);
  }

  #completed(id: number): void {
    const at = this.#unaskedPubrels.indexOf(id);
    if (at < 0) this.#problem(`a PUBCOMP came for ${id}, which was not asked for`);
    else this.#unaskedPubrels.splice(at, 1);
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
    const { traits, reception } = this.#broker;
    if (this.#version === 5) this.#grant = traits.grantOf(this.#number);
    const grant = this.#grant;
    reception.grants.push(grant);
    this.#countsAll = !session.isCrowded(grant.receiveMaximum ?? 65_535);
    const connack: IConnackPacket = { cmd: 'connack', sessionPresent: present };
    if (this.#version === 4) connack.returnCode = 0;
    else {
      connack.reasonCode = 0;
      connack.properties = {
        ...(grant.receiveMaximum === undefined ? {} : { receiveMaximum: grant.receiveMaximum }),
        ...(grant.maximumQos === 2 ? {} : { maximumQoS: grant.maximumQos }),
        ...(grant.maximumPacketSizeBytes === undefined ? {} : { maximumPacketSize: grant.maximumPacketSizeBytes }),
        ...(grant.retainAvailable ? {} : { retainAvailable: false }),
        ...(grant.sessionExpirySeconds === undefined ? {} : { sessionExpiryInterval: grant.sessionExpirySeconds }),
        ...(grant.serverKeepAliveSeconds === undefined ? {} : { serverKeepAlive: grant.serverKeepAliveSeconds }),
      };
    }
    this.#reply(connack);
    this.#sendDuePubrecs(session);
  }

  #publish(packet: IPublishPacket, session: BrokerSession): void {
    const { traits, reception } = this.#broker;
    const { attempts } = reception;
    const grant = this.#grant;
    const key = keyOfPublish(packet);
    const attempt = (attempts.get(key) ?? 0) + 1;
    attempts.set(key, attempt);
    if (traits.closesOn(packet)) {
      this.drop();
      return;
    }
    if (traits.fallsSilentOn(packet)) {
      this.#isSilent = true;
      return;
    }
    const delivery = { key, qos: packet.qos, packet, grant, session: session.number };
    if (packet.qos > grant.maximumQos) this.#problem(`${key} came with QoS ${packet.qos}`);
    const { maximumPacketSizeBytes, receiveMaximum } = grant;
    if (maximumPacketSizeBytes !== undefined && (packet.length ?? 0) + 2 > maximumPacketSizeBytes) {
      this.#problem(`${key} came in a packet of more than ${maximumPacketSizeBytes} bytes`);
    }
    if (packet.retain && !grant.retainAvailable) this.#problem(`${key} came with RETAIN`);
    if (packet.qos === 0) {
      reception.deliver(delivery);
      return;
    }
    const id = packet.messageId ?? 0;
    const held = session.held.get(id);
    if (this.#open.has(id) || this.#seen.has(id)) this.#problem(`identifier ${id} came twice on one connection`);
    if (held !== undefined && held.key !== key) {
      this.#problem(`${key} came with identifier ${id}, which still means ${held.key}`);
    }
    if (receiveMaximum !== undefined && held === undefined) {
      const count = this.#open.size + (this.#countsAll ? session.held.size : this.#seen.size);
      if (count >= receiveMaximum) {
        reception.overruns.push(`${key} came while ${count} of ${receiveMaximum} were under way`);
        this.kick(0x93);
        return;
      }
    }
    if (traits.ignores(packet)) return;
    const code = this.#version === 5 ? traits.codeOf(packet, attempt) : 0;
    if (code >= 0x80) reception.refused.add(key);
    if (packet.qos === 1 || traits.downgrades) {
      this.#open.add(id);
      if (packet.qos === 2) reception.downgradedCount++;
      if (code < 0x80) reception.deliver(delivery);
      this.#acknowledge({ cmd: 'puback', messageId: id, ...this.#code(code) }, () => this.#open.delete(id));
      return;
    }
    if (held !== undefined) {
      // The exchange ends with 0x91, so that the identifier may come again.
      if (!traits.saysInUse) this.#seen.add(id);
      if (held.isPubrecDue) return;
      if (traits.saysInUse) reception.inUseCount++;
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
      reception.droppedSilently.push(key);
      this.#acknowledge({ cmd: 'pubrec', messageId: id });
      return;
    }
    session.held.set(id, { key, packet, grant, session: session.number, isPubrecDue: true });
    if (traits.deliversAt === 'publish') reception.deliver(delivery);
    this.#sendDuePubrecs(session, code);
  }

  #sendDuePubrecs(session: BrokerSession, code = 0): void {
    const { pubrecsMax } = this.#broker.traits;
    let count = 0;
    for (const [id, held] of session.held) {
      if (pubrecsMax !== undefined && ++count > pubrecsMax) {
        if (held.isPubrecDue) this.#broker.reception.late.add(held.key);
        continue;
      }
      if (!held.isPubrecDue) continue;
      held.isPubrecDue = false;
      this.#acknowledge({ cmd: 'pubrec', messageId: id, ...this.#code(code) });
    }
  }

  #release(id: number, session: BrokerSession): void {
    const { traits, reception } = this.#broker;
    const held = session.held.get(id);
    const fate = held === undefined ? 'taken' : traits.pubrelFateOf(held.key);
    if (fate === 'closes') this.drop();
    if (fate !== 'taken') return;
    if (held !== undefined && traits.deliversAt === 'pubrel') reception.deliver({ ...held, qos: held.packet.qos });
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
