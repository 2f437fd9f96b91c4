/**
 * Finds packets in what arrives from the broker, however it is split, and reads acknowledgements in place.
 *
 * Acknowledgements come once or twice per message, so that they are read from the raw bytes without an object for
 * each. Everything else is rare and goes through `mqtt-packet`.
 */
import mqttPacket, { type Packet } from 'mqtt-packet';
import { errorText } from '../core/error.js';

export const PUBACK = 4;
export const PUBREC = 5;
export const PUBCOMP = 7;
export type AcknowledgementType = typeof PUBACK | typeof PUBREC | typeof PUBCOMP;

const CONNACK = 2;

/** A broker has no reason to send us more than this in one packet: what we subscribe to are answers to commands. */
export const INCOMING_PACKET_SIZE_MAX_BYTES = 16 * 1024 * 1024;

export interface PacketReaderEvents {
  /**
   * @param reasonCode 0 under MQTT 3.1.1, which has none.
   * @param reasonText the broker's Reason String, only looked for when the code is an error.
   */
  acknowledged(type: AcknowledgementType, packetId: number, reasonCode: number, reasonText: string | undefined): void;
  packet(packet: Packet): void;
  /** The bytes are no MQTT; nothing is read any more. */
  malformed(problem: string): void;
}

export class PacketReader {
  #protocolVersion: 4 | 5;
  #rest: Buffer | undefined;
  #broken = false;
  readonly #events: PacketReaderEvents;

  constructor(protocolVersion: 4 | 5, events: PacketReaderEvents) {
    this.#protocolVersion = protocolVersion;
    this.#events = events;
  }

  /** Reads what is complete and keeps the rest. The bytes are not used after the call, except as that rest. */
  read(chunk: Buffer): void {
    if (this.#broken) return;
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    let at = 0;
    while (at < bytes.length && !this.#broken) {
      const type = bytes[at]! >> 4;
      // Almost all acknowledgements are four bytes: type, length 2, packet identifier.
      if (bytes[at + 1] === 2 && at + 4 <= bytes.length && (type === PUBACK || type === PUBREC || type === PUBCOMP)) {
        this.#events.acknowledged(type, (bytes[at + 2]! << 8) | bytes[at + 3]!, 0, undefined);
        at += 4;
        continue;
      }
      const end = this.#packetEnd(bytes, at);
      if (end === undefined) break;
      if (end > bytes.length) break;
      this.#readPacket(bytes.subarray(at, end), type);
      at = end;
    }
    if (at < bytes.length && !this.#broken) this.#rest = Buffer.from(bytes.subarray(at));
  }

  /** The position after the packet at `at`, which may lie beyond the bytes; undefined when its length is incomplete. */
  #packetEnd(bytes: Buffer, at: number): number | undefined {
    let length = 0;
    for (let i = 0; i < 4; i++) {
      const byte = bytes[at + 1 + i];
      if (byte === undefined) return undefined;
      length += (byte & 0x7f) * 2 ** (7 * i);
      if ((byte & 0x80) === 0) {
        if (length > INCOMING_PACKET_SIZE_MAX_BYTES) {
          this.#fail(`a packet of ${length} bytes was announced; at most ${INCOMING_PACKET_SIZE_MAX_BYTES} are read`);
          return undefined;
        }
        return at + 2 + i + length;
      }
    }
    this.#fail('a packet length has more than four bytes');
    return undefined;
  }

  #readPacket(packet: Buffer, type: number): void {
    if (type === PUBACK || type === PUBREC || type === PUBCOMP) {
      this.#readAcknowledgement(packet, type);
      return;
    }
    // A broker that does not know MQTT 5 refuses in the old form: return code and no properties.
    const version = type === CONNACK && packet.length === 4 ? 4 : this.#protocolVersion;
    const parser = mqttPacket.parser({ protocolVersion: version });
    let error: unknown;
    let count = 0;
    parser.on('packet', (parsed) => {
      count++;
      this.#events.packet(parsed);
    });
    parser.on('error', (problem: unknown) => {
      error = problem;
    });
    try {
      parser.parse(packet);
    } catch (problem) {
      error = problem;
    }
    if (error !== undefined) this.#fail(errorText(error));
    else if (count === 0) this.#fail(`a packet of type ${type} could not be read`);
  }

  #readAcknowledgement(packet: Buffer, type: AcknowledgementType): void {
    const start = packet[1]! < 128 ? 2 : packet[2]! < 128 ? 3 : packet[3]! < 128 ? 4 : 5;
    if (packet.length < start + 2) {
      this.#fail('an acknowledgement has no packet identifier');
      return;
    }
    const packetId = packet.readUInt16BE(start);
    const reasonCode = this.#protocolVersion === 5 && packet.length > start + 2 ? packet[start + 2]! : 0;
    const hasProperties = packet.length > start + 3;
    const text = reasonCode >= 0x80 && hasProperties ? this.#reasonText(packet) : undefined;
    this.#events.acknowledged(type, packetId, reasonCode, text);
  }

  #reasonText(packet: Buffer): string | undefined {
    let text: string | undefined;
    const parser = mqttPacket.parser({ protocolVersion: 5 });
    parser.on('packet', (parsed) => {
      if ('properties' in parsed && parsed.properties !== undefined && 'reasonString' in parsed.properties) {
        text = parsed.properties.reasonString;
      }
    });
    // The text only helps a reader: an acknowledgement whose properties cannot be read is still an acknowledgement.
    parser.on('error', () => undefined);
    parser.parse(packet);
    return text;
  }

  #fail(problem: string): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#events.malformed(problem);
  }
}
