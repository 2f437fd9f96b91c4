/**
 * PUBLISH packets straight from stored records [MQTT 3.1.1 and 5.0 §3.3].
 *
 * This is the hot path of the product: a record is copied to the output as it is, between a fixed header and a packet
 * identifier. What can be decided once per connection is decided in the constructor.
 */
import { type LaneIndex, laneAt } from '../core/lane.js';
import { messageId } from '../core/message.js';
import { placeOfKey, qosAt, RECORD_HEADER_SIZE_BYTES } from '../core/record.js';

const PUBLISH = 0x30;
const DUP = 0x08;
const RETAIN = 0x01;
const FLAG_RECORD_RETAIN = 0b100;
const FLAG_RECORD_ORIGIN = 0b1000;
const ORIGIN_SIZE_BYTES = 8;
const MESSAGE_EXPIRY_INTERVAL = 0x02;
const USER_PROPERTY = 0x26;

/** A loop beats the call into a typed array's `set` below about this size. */
const LOOP_COPY_MAX_BYTES = 48;

export interface PublishEncoderOptions {
  protocolVersion: 4 | 5;
  /** The broker's Maximum QoS; a record with more is sent with this. */
  maximumQos: 0 | 1 | 2;
  retainAvailable: boolean;
  cacheId: string;
  /** MQTT 5 user property that carries the message id; undefined: none does. */
  messageIdProperty: string | undefined;
}

export class PublishEncoder {
  readonly #isVersion5: boolean;
  readonly maximumQos: 0 | 1 | 2;
  readonly #retainAvailable: boolean;
  readonly #cacheId: string;
  readonly #idName: Uint8Array | undefined;

  constructor(options: PublishEncoderOptions) {
    this.#isVersion5 = options.protocolVersion === 5;
    this.maximumQos = options.maximumQos;
    this.#retainAvailable = options.retainAvailable;
    this.#cacheId = options.cacheId;
    this.#idName = options.messageIdProperty === undefined ? undefined : Buffer.from(options.messageIdProperty);
  }

  /** The QoS that the record at `at` is sent with. */
  qosOf(batch: Uint8Array, at: number): 0 | 1 | 2 {
    return Math.min(qosAt(batch, at), this.maximumQos) as 0 | 1 | 2;
  }

  /** An upper bound of the bytes that `encode` will write for the record of `recordSize` bytes. */
  sizeMax(recordSize: number): number {
    return recordSize + 16 + (this.#idName === undefined ? 0 : 64 + this.#idName.length);
  }

  /**
   * Writes the PUBLISH of the record at `at` into `out` at `outAt` and gives the position after it. `out` has room for
   * `sizeMax` bytes.
   *
   * @param packetId 1 to 65,535; not written at QoS 0.
   * @param expirySeconds what is left of the message's life; 0 leaves the property out. Only MQTT 5 has it.
   */
  encode(
    out: Buffer,
    outAt: number,
    batch: Uint8Array,
    at: number,
    recordSize: number,
    packetId: number,
    isDuplicate: boolean,
    expirySeconds: number,
    lane: LaneIndex,
    offset: number,
  ): number {
    const recordFlags = batch[at + 4]!;
    const qos = Math.min(recordFlags & 0b11, this.maximumQos);
    const topicSize = (batch[at + 6]! << 8) | batch[at + 7]!;
    const propsSize = readU32(batch, at + 8);
    const hasOrigin = (recordFlags & FLAG_RECORD_ORIGIN) !== 0;
    const topicAt = at + RECORD_HEADER_SIZE_BYTES + (hasOrigin ? ORIGIN_SIZE_BYTES : 0);
    const payloadAt = topicAt + topicSize + propsSize;
    const payloadSize = at + recordSize - payloadAt;

    let idText: string | undefined;
    let wirePropsSize = 0;
    let remaining = 2 + topicSize + payloadSize + (qos === 0 ? 0 : 2);
    if (this.#isVersion5) {
      wirePropsSize = propsSize + (expirySeconds > 0 ? 5 : 0);
      if (this.#idName !== undefined) {
        idText = this.#idOf(batch, at, hasOrigin, lane, offset);
        wirePropsSize += 5 + this.#idName.length + idText.length;
      }
      remaining += wirePropsSize + variableSize(wirePropsSize);
    }

    let to = outAt;
    out[to++] =
      PUBLISH |
      (isDuplicate && qos > 0 ? DUP : 0) |
      (qos << 1) |
      ((recordFlags & FLAG_RECORD_RETAIN) !== 0 && this.#retainAvailable ? RETAIN : 0);
    to = writeVariable(out, to, remaining);
    out[to++] = topicSize >> 8;
    out[to++] = topicSize & 0xff;
    to = copy(batch, topicAt, topicSize, out, to);
    if (qos > 0) {
      out[to++] = packetId >> 8;
      out[to++] = packetId & 0xff;
    }
    if (this.#isVersion5) {
      to = writeVariable(out, to, wirePropsSize);
      if (expirySeconds > 0) {
        out[to++] = MESSAGE_EXPIRY_INTERVAL;
        to = out.writeUInt32BE(expirySeconds, to);
      }
      if (propsSize > 0) to = copy(batch, topicAt + topicSize, propsSize, out, to);
      if (idText !== undefined) to = this.#writeId(out, to, idText);
    }
    return copy(batch, payloadAt, payloadSize, out, to);
  }

  #idOf(batch: Uint8Array, at: number, hasOrigin: boolean, lane: LaneIndex, offset: number): string {
    if (!hasOrigin) return messageId(this.#cacheId, laneAt(lane), offset);
    const view = new DataView(batch.buffer, batch.byteOffset + at + RECORD_HEADER_SIZE_BYTES, ORIGIN_SIZE_BYTES);
    const origin = placeOfKey(view.getFloat64(0));
    return messageId(this.#cacheId, laneAt(origin.lane), origin.offset);
  }

  #writeId(out: Buffer, at: number, idText: string): number {
    const name = this.#idName!;
    out[at] = USER_PROPERTY;
    let to = out.writeUInt16BE(name.length, at + 1);
    out.set(name, to);
    to = out.writeUInt16BE(idText.length, to + name.length);
    return to + out.write(idText, to, 'latin1');
  }
}

/** Bytes of a Variable Byte Integer [MQTT 5.0 §1.5.5]. */
export function variableSize(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

function writeVariable(out: Uint8Array, at: number, value: number): number {
  let rest = value;
  let to = at;
  while (rest >= 128) {
    out[to++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[to++] = rest;
  return to;
}

function copy(from: Uint8Array, fromAt: number, size: number, to: Uint8Array, toAt: number): number {
  if (size <= LOOP_COPY_MAX_BYTES) {
    for (let i = 0; i < size; i++) to[toAt + i] = from[fromAt + i]!;
  } else {
    to.set(from.subarray(fromAt, fromAt + size), toAt);
  }
  return toAt + size;
}

function readU32(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 0x1000000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
}
