/** One connection at a broker. It reads with `mqtt-packet` and writes down every rule that a client breaks. */
import mqttPacket, { type IConnackPacket, type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet';
import { keyOfPublish } from './broker-habits.js';
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
    this.#countsAll = !session.isCrowded(this.#receiveMaximum ?? 65_535);
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
    const key = keyOfPublish(packet);
    const attempt = (attempts.get(key) ?? 0) + 1;
    attempts.set(key, attempt);
    if (traits.closesOn(packet)) {
      this.drop();
      return;
    }
    if (packet.qos > traits.maximumQos) this.#problem(`${key} came with QoS ${packet.qos}`);
    const { maximumPacketSizeBytes } = traits;
    if (
      this.#version === 5 &&
      maximumPacketSizeBytes !== undefined &&
      (packet.length ?? 0) + 2 > maximumPacketSizeBytes
    ) {
      this.#problem(`${key} came in a packet of more than ${maximumPacketSizeBytes} bytes`);
    }
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
      const count = this.#open.size + (this.#countsAll ? session.held.size : this.#seen.size);
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
