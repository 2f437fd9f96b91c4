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
const PUBLISH = 3;

/**
 * First bytes of what a broker sends, besides PUBLISH: their flags are fixed [MQTT-2.2.2-2]. Looking at them at once
 * tells an answer in HTTP or TLS from MQTT before the length that it seems to announce has come.
 */
const FIRST_BYTES: ReadonlySet<number> = new Set([0x20, 0x40, 0x50, 0x62, 0x70, 0x90, 0xb0, 0xd0, 0xe0, 0xf0]);
const PUBACK_FIRST_BYTE = 0x40;
const PUBREC_FIRST_BYTE = 0x50;
const PUBCOMP_FIRST_BYTE = 0x70;

/** A CONNACK has flags and a code; shorter ones would pass `mqtt-packet` as a success. */
const CONNACK_SIZE_MIN_BYTES = 4;

/** A broker has no reason to send us more than this in one packet: what we subscribe to are answers to commands. */
export const INCOMING_PACKET_SIZE_MAX_BYTES = 16 * 1024 * 1024;

export interface PacketReaderEvents {
  /**
   * @param packetId 1 to 65,535.
   * @param reasonCode 0 under MQTT 3.1.1, which has none.
   * @param reasonText the broker's Reason String, only looked for when the code is an error.
   */
  acknowledged(type: AcknowledgementType, packetId: number, reasonCode: number, reasonText: string | undefined): void;
  packet(packet: Packet): void;
  /** The bytes are no MQTT; nothing is read any more. */
  malformed(problem: string): void;
}

const EMPTY = Buffer.alloc(0);

export class PacketReader {
  #protocolVersion: 4 | 5;
  /** The beginning of a packet whose end has not come, in a buffer that grows by doubling. */
  #rest: Buffer = EMPTY;
  #restSize = 0;
  /** Size of that packet, or 0 while its length has not come either. */
  #neededSize = 0;
  #broken = false;
  readonly #events: PacketReaderEvents;

  constructor(protocolVersion: 4 | 5, events: PacketReaderEvents) {
    this.#protocolVersion = protocolVersion;
    this.#events = events;
  }

  /** Reads what is complete and keeps a copy of the rest. The bytes are not used after the call. */
  read(chunk: Buffer): void {
    if (this.#broken) return;
    let bytes = chunk;
    if (this.#restSize > 0) {
      this.#keep(chunk);
      if (this.#restSize < this.#neededSize) return;
      bytes = this.#rest.subarray(0, this.#restSize);
      this.#rest = EMPTY;
      this.#restSize = 0;
    }
    this.#neededSize = 0;
    let at = 0;
    while (at < bytes.length && !this.#broken) {
      const first = bytes[at]!;
      // Almost all acknowledgements are four bytes: type, length 2, packet identifier.
      if (
        bytes[at + 1] === 2 &&
        at + 4 <= bytes.length &&
        (first === PUBACK_FIRST_BYTE || first === PUBREC_FIRST_BYTE || first === PUBCOMP_FIRST_BYTE)
      ) {
        this.#acknowledge((first >> 4) as AcknowledgementType, (bytes[at + 2]! << 8) | bytes[at + 3]!, 0, undefined);
        at += 4;
        continue;
      }
      if (first >> 4 !== PUBLISH && !FIRST_BYTES.has(first)) {
        this.#fail(`a packet cannot begin with 0x${first.toString(16).padStart(2, '0')}`);
        return;
      }
      const end = this.#packetEnd(bytes, at);
      if (end === undefined) break;
      if (end > bytes.length) {
        this.#neededSize = end - at;
        break;
      }
      this.#readPacket(bytes.subarray(at, end), first >> 4);
      at = end;
    }
    if (at < bytes.length && !this.#broken) this.#keep(bytes.subarray(at));
  }

  #keep(bytes: Buffer): void {
    const size = this.#restSize + bytes.length;
    if (size > this.#rest.length) {
      const larger = Buffer.allocUnsafe(Math.max(size, Math.min(this.#neededSize, this.#rest.length * 2)));
      this.#rest.copy(larger, 0, 0, this.#restSize);
      this.#rest = larger;
    }
    bytes.copy(this.#rest, this.#restSize);
    this.#restSize = size;
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

  #readPacket(bytes: Buffer, type: number): void {
    if (type === PUBACK || type === PUBREC || type === PUBCOMP) {
      this.#readAcknowledgement(bytes, type);
      return;
    }
    if (type === CONNACK && bytes.length < CONNACK_SIZE_MIN_BYTES) {
      this.#fail('a CONNACK has no code');
      return;
    }
    // A broker that does not know MQTT 5 refuses in the old form: return code and no properties.
    const version = type === CONNACK && bytes.length === CONNACK_SIZE_MIN_BYTES ? 4 : this.#protocolVersion;
    const { packet, problem } = parse(bytes, version);
    if (packet !== undefined) this.#events.packet(packet);
    else this.#fail(problem ?? `a packet of type ${type} could not be read`);
  }

  #readAcknowledgement(bytes: Buffer, type: AcknowledgementType): void {
    const start = bytes[1]! < 128 ? 2 : bytes[2]! < 128 ? 3 : bytes[3]! < 128 ? 4 : 5;
    if (bytes.length < start + 2) {
      this.#fail('an acknowledgement has no packet identifier');
      return;
    }
    const packetId = bytes.readUInt16BE(start);
    const reasonCode = this.#protocolVersion === 5 && bytes.length > start + 2 ? bytes[start + 2]! : 0;
    const hasProperties = bytes.length > start + 3;
    this.#acknowledge(type, packetId, reasonCode, reasonCode >= 0x80 && hasProperties ? reasonText(bytes) : undefined);
  }

  #acknowledge(type: AcknowledgementType, packetId: number, reasonCode: number, text: string | undefined): void {
    if (packetId === 0) this.#fail('an acknowledgement is for the packet identifier 0');
    else this.#events.acknowledged(type, packetId, reasonCode, text);
  }

  #fail(problem: string): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#rest = EMPTY;
    this.#events.malformed(problem);
  }
}

/** What `mqtt-packet` makes of the bytes of one packet. */
function parse(bytes: Buffer, protocolVersion: 4 | 5): { packet: Packet | undefined; problem: string | undefined } {
  let packet: Packet | undefined;
  let problem: string | undefined;
  const parser = mqttPacket.parser({ protocolVersion });
  parser.on('packet', (parsed) => {
    packet = parsed;
  });
  parser.on('error', (error: unknown) => {
    problem = errorText(error);
  });
  try {
    parser.parse(bytes);
  } catch (error) {
    problem = errorText(error);
  }
  return problem === undefined ? { packet, problem } : { packet: undefined, problem };
}

/** The text only helps a reader: an acknowledgement whose properties cannot be read is still an acknowledgement. */
function reasonText(bytes: Buffer): string | undefined {
  const { packet } = parse(bytes, 5);
  if (packet === undefined || !('properties' in packet) || packet.properties === undefined) return undefined;
  const text: unknown = 'reasonString' in packet.properties ? packet.properties.reasonString : undefined;
  // A property that occurs twice comes as a list, a truncated one as null.
  return typeof text === 'string' ? text : undefined;
}
