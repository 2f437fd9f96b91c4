/**
 * A small reader of MQTT packets for the watchers of a world, independent of the one under test. It knows only what the
 * rules need: type, flags, identifier, reason code and, of a PUBLISH, the key in the payload.
 */
import { type Key, keyIn } from './key.js';

export interface SeenPacket {
  type: number;
  qos: number;
  isDuplicate: boolean;
  /** 0 where the packet has none. */
  packetId: number;
  reasonCode: number;
  /** CONNACK only. */
  sessionPresent: boolean;
  /** PUBLISH only. */
  key: Key | undefined;
  /** PUBLISH of MQTT 5 only: what is left of the message's life, when it has an end. */
  expirySeconds: number | undefined;
  bytes: Buffer;
}

export const CONNECT = 1;
export const CONNACK = 2;
export const PUBLISH = 3;
export const PUBACK = 4;
export const PUBREC = 5;
export const PUBREL = 6;
export const PUBCOMP = 7;
export const PINGREQ = 12;
export const DISCONNECT = 14;

/** The product writes it before all other properties. */
const MESSAGE_EXPIRY_INTERVAL = 0x02;

/** Cuts a stream of bytes into whole packets, however small the pieces are in which it comes. */
export class Framer {
  #rest = Buffer.alloc(0);
  #restSize = 0;
  #neededSize = 0;

  push(bytes: Uint8Array): Buffer[] {
    let all = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    if (this.#restSize > 0) {
      this.#keep(all);
      if (this.#restSize < this.#neededSize) return [];
      all = Buffer.from(this.#rest.subarray(0, this.#restSize));
      this.#restSize = 0;
    }
    const packets: Buffer[] = [];
    let at = 0;
    for (;;) {
      const [length, headerEnd] = variableAt(all, at + 1);
      this.#neededSize = headerEnd === 0 ? 0 : headerEnd - at + length;
      if (headerEnd === 0 || all.length < headerEnd + length) break;
      packets.push(all.subarray(at, headerEnd + length));
      at = headerEnd + length;
    }
    if (at < all.length) this.#keep(all.subarray(at));
    return packets;
  }

  #keep(bytes: Buffer): void {
    const size = this.#restSize + bytes.length;
    if (size > this.#rest.length) {
      const larger = Buffer.allocUnsafe(Math.max(size, this.#neededSize, 2 * this.#rest.length));
      this.#rest.copy(larger, 0, 0, this.#restSize);
      this.#rest = larger;
    }
    bytes.copy(this.#rest, this.#restSize);
    this.#restSize = size;
  }
}

export class PacketStream {
  readonly #framer = new Framer();
  readonly #isVersion5: boolean;

  constructor(protocolVersion: 4 | 5) {
    this.#isVersion5 = protocolVersion === 5;
  }

  read(bytes: Uint8Array): SeenPacket[] {
    return this.#framer.push(bytes).map((packet) => this.#packet(packet, variableAt(packet, 1)[1]));
  }

  #packet(bytes: Buffer, start: number): SeenPacket {
    const type = bytes[0]! >> 4;
    const packet: SeenPacket = {
      type,
      qos: (bytes[0]! >> 1) & 3,
      isDuplicate: (bytes[0]! & 8) !== 0,
      packetId: 0,
      reasonCode: 0,
      sessionPresent: false,
      key: undefined,
      expirySeconds: undefined,
      bytes,
    };
    if (type === PUBLISH) {
      let at = start + 2 + bytes.readUInt16BE(start);
      if (packet.qos > 0) {
        packet.packetId = bytes.readUInt16BE(at);
        at += 2;
      }
      if (this.#isVersion5) {
        const [propertiesSize, end] = variableAt(bytes, at);
        if (propertiesSize > 0 && bytes[end] === MESSAGE_EXPIRY_INTERVAL)
          packet.expirySeconds = bytes.readUInt32BE(end + 1);
        at = end + propertiesSize;
      }
      packet.key = keyIn(bytes.subarray(at));
    } else if (type >= PUBACK && type <= PUBCOMP) {
      packet.packetId = bytes.readUInt16BE(start);
      packet.reasonCode = bytes[start + 2] ?? 0;
    } else if (type === CONNACK) {
      packet.sessionPresent = (bytes[start]! & 1) === 1;
      packet.reasonCode = bytes[start + 1]!;
    }
    return packet;
  }
}

/** A Variable Byte Integer and the position after it; the position is 0 when it is incomplete. */
function variableAt(bytes: Buffer, at: number): [value: number, end: number] {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return [0, 0];
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return [value, at + i + 1];
  }
  throw new Error('A length has more than four bytes.');
}
