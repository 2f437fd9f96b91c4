/** What the broker says on a connection, from its CONNACK on, and to whom it is of concern. */
import type { IConnackPacket, Packet } from 'mqtt-packet';
import { NorthError } from '../core/error.js';
import { type AcknowledgementType, PacketReader } from '../wire/packet-reader.js';
import { answerToUnasked } from '../wire/unasked-delivery.js';
import { disconnectError } from './connect-error.js';
import type { Handshake, HandshakeOutcome } from './handshake.js';
import type { SessionParts } from './parts.js';
import type { ConnectionTerms } from './sender.js';

export interface InboundEvents {
  accepted(outcome: Extract<HandshakeOutcome, { kind: 'accepted' }>, protocolVersion: 4 | 5): void;
  /** The connection is to be ended in order, and another one opened at once. */
  redial(): void;
  /** The connection has to be ended. */
  fail(error: NorthError): void;
}

export class Inbound {
  /** On which terms the broker has accepted us; undefined: it has not, on this connection. */
  terms: ConnectionTerms | undefined;
  readonly #parts: SessionParts;
  readonly #handshake: Handshake;
  readonly #events: InboundEvents;
  #reader: PacketReader | undefined;
  #protocolVersion: 4 | 5 = 5;
  #nowMs = 0;

  constructor(parts: SessionParts, handshake: Handshake, events: InboundEvents) {
    this.#parts = parts;
    this.#handshake = handshake;
    this.#events = events;
  }

  /** A new connection. */
  begin(protocolVersion: 4 | 5): void {
    this.#protocolVersion = protocolVersion;
    this.terms = undefined;
    this.#reader = new PacketReader(protocolVersion, {
      acknowledged: (type, id, code, text) => this.#acknowledged(type, id, code, text),
      packet: (packet) => this.#packet(packet),
      malformed: (problem) =>
        this.#events.fail(
          this.terms === undefined
            ? new NorthError('BROKER_NOT_MQTT', `What answers does not speak MQTT: ${problem}.`)
            : new NorthError('BROKER_PROTOCOL', `The broker sent what is not MQTT: ${problem}.`),
        ),
    });
  }

  /** Whatever comes from now on is of no concern. */
  stop(): void {
    this.#reader = undefined;
  }

  /** The connection has ended. */
  end(): void {
    this.stop();
    this.terms = undefined;
  }

  read(bytes: Buffer, nowMs: number): void {
    this.#nowMs = nowMs;
    this.#reader?.read(bytes);
  }

  get #isStopped(): boolean {
    return this.#reader === undefined;
  }

  #packet(packet: Packet): void {
    if (this.#isStopped) return;
    const { liveness, experience } = this.#parts;
    if (packet.cmd === 'connack') this.#connack(packet);
    else if (this.terms === undefined) this.#breach(`The broker sent ${packet.cmd} before CONNACK.`);
    else if (packet.cmd === 'pingresp') liveness.pingAnswered();
    else if (packet.cmd === 'disconnect') {
      experience.told(packet.reasonCode ?? 0);
      this.#events.fail(disconnectError(packet.reasonCode ?? 0, packet.properties?.reasonString));
    } else if (packet.cmd === 'auth') this.#breach('The broker sent AUTH, for which we did not ask.');
    else this.#refuseDelivery(packet);
  }

  #breach(text: string): void {
    this.#events.fail(new NorthError('BROKER_PROTOCOL', text));
  }

  #refuseDelivery(packet: Packet): void {
    const { output } = this.#parts.sender;
    const answer = answerToUnasked(packet, this.#protocolVersion);
    if (answer === 'malformed') this.#breach(`The broker sent ${packet.cmd} without a packet identifier.`);
    else if (answer !== undefined && output.isWritable) output.write(answer, this.#nowMs);
  }

  #connack(packet: IConnackPacket): void {
    if (this.terms !== undefined) {
      this.#breach('The broker sent a second CONNACK.');
      return;
    }
    const outcome = this.#handshake.judge(packet);
    if (outcome.kind === 'refused') this.#events.fail(outcome.error);
    else if (outcome.kind === 'redial') this.#events.redial();
    else {
      this.terms = outcome.terms;
      this.#events.accepted(outcome, this.#protocolVersion);
    }
  }

  #acknowledged(type: AcknowledgementType, id: number, reasonCode: number, text: string | undefined): void {
    if (this.#isStopped) return;
    if (this.terms === undefined) {
      this.#breach('The broker sent an acknowledgement before CONNACK.');
      return;
    }
    const error = this.#parts.acknowledgements.take(type, id, reasonCode, text, this.terms, this.#nowMs);
    if (error !== undefined) this.#events.fail(error);
  }
}
