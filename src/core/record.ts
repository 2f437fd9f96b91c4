/**
 * The stored form of messages: a batch is records, one after the other.
 *
 *     byte 0      4        5          6            8             12              16
 *     | size u32 | flags  | reserved | topic size | props size  | expiry s u32  | [origin f64] | topic | props | payload |
 *
 * - All numbers are big-endian. `size` counts the whole record, its own four bytes included.
 * - flags: bits 0-1 QoS, bit 2 retain, bit 3 "has an origin".
 * - `props` are MQTT 5 properties already in their wire form, without the leading length and without the message
 *   expiry, which is computed when the message is sent.
 * - `origin` is the key of the place where the message was first accepted. A message that is retried from quarantine
 *   gets a new offset but keeps its id through it.
 *
 * A record is written once, at acceptance, and is copied to the wire as it is: a re-send is byte-identical because
 * nothing is rendered a second time. A record never changes, and the format only grows by flags.
 */
import { LANES, type LaneIndex, laneIndex } from './lane.js';
import type { Message, MessageProperties, QoS } from './message.js';
import { encodeProperties } from './properties.js';

export const RECORD_HEADER_SIZE_BYTES = 16;
const ORIGIN_SIZE_BYTES = 8;
const FLAG_RETAIN = 0b100;
const FLAG_ORIGIN = 0b1000;

/** The largest MQTT packet is 268,435,455 bytes after its header [MQTT 5.0 §1.5.5]; this leaves room for the rest. */
export const RECORD_SIZE_MAX_BYTES = 268_000_000;

/** Offsets per lane; three lanes of them fit into a safe integer. */
const LANE_SPAN = 2 ** 50;

/** One number for a place in a cache: lane and offset. It orders first by lane, then by offset. */
export function placeKey(lane: LaneIndex, offset: number): number {
  return lane * LANE_SPAN + offset;
}

export function placeOfKey(key: number): { lane: LaneIndex; offset: number } {
  const lane = Math.floor(key / LANE_SPAN) as LaneIndex;
  return { lane, offset: key - lane * LANE_SPAN };
}

/** A view of one record inside a batch. The bytes are not copied. */
export interface RecordView {
  qos: QoS;
  retain: boolean;
  expirySeconds: number;
  /** Key of the first place of a retried message; undefined for all others. */
  originKey: number | undefined;
  topic: Uint8Array;
  properties: Uint8Array;
  payload: Uint8Array;
  sizeBytes: number;
}

const EMPTY: Uint8Array = new Uint8Array(0);

/** Collects messages of one lane into one growing buffer. */
export class BatchBuilder {
  count = 0;
  sizeBytes = 0;
  #buffer: Buffer;
  /** The properties encoded last: those of the connection are one object for all its messages. */
  #properties: MessageProperties | undefined;
  #encodedProperties = EMPTY;

  constructor(initialSizeBytes = 4096) {
    this.#buffer = Buffer.allocUnsafeSlow(initialSizeBytes);
  }

  /**
   * Appends one message. The caller has checked the topic, and does not change the properties afterwards.
   * Throws a RangeError when the record would exceed `RECORD_SIZE_MAX_BYTES` or one of its numbers its field; the
   * batch is then unchanged.
   */
  push(message: Message, originKey?: number): void {
    const props = message.properties === undefined ? EMPTY : this.#encode(message.properties);
    const topicSize = Buffer.byteLength(message.topic);
    const originSize = originKey === undefined ? 0 : ORIGIN_SIZE_BYTES;
    const size = RECORD_HEADER_SIZE_BYTES + originSize + topicSize + props.length + message.payload.length;
    if (size > RECORD_SIZE_MAX_BYTES) {
      throw new RangeError(`The message is ${size} bytes long; at most ${RECORD_SIZE_MAX_BYTES} are possible.`);
    }
    const at = this.#reserve(size);
    const buffer = this.#buffer;
    buffer.writeUInt32BE(size, at);
    buffer[at + 4] = message.qos | (message.retain ? FLAG_RETAIN : 0) | (originKey === undefined ? 0 : FLAG_ORIGIN);
    buffer[at + 5] = 0;
    buffer.writeUInt16BE(topicSize, at + 6);
    buffer.writeUInt32BE(props.length, at + 8);
    buffer.writeUInt32BE(message.expirySeconds, at + 12);
    let next = at + RECORD_HEADER_SIZE_BYTES;
    if (originKey !== undefined) next = buffer.writeDoubleBE(originKey, next);
    next += buffer.write(message.topic, next, topicSize, 'utf8');
    buffer.set(props, next);
    buffer.set(message.payload, next + props.length);
    this.sizeBytes = at + size;
    this.count++;
  }

  /** Appends a record that already has its stored form, such as one that comes out of quarantine. */
  pushRecord(record: Uint8Array): void {
    this.pushRecords(record, 1);
  }

  /** Appends so many records that follow each other. */
  pushRecords(records: Uint8Array, count: number): void {
    const at = this.#reserve(records.length);
    this.#buffer.set(records, at);
    this.sizeBytes = at + records.length;
    this.count += count;
  }

  /** The records so far, in bytes that stay valid: the builder must not be used after this. */
  finish(): Buffer {
    const records = this.#buffer.subarray(0, this.sizeBytes);
    // A single value would otherwise hold on to a buffer that is many times as large.
    return this.sizeBytes * 2 < this.#buffer.length ? Buffer.from(records) : records;
  }

  #encode(properties: MessageProperties): Uint8Array {
    if (properties !== this.#properties) {
      this.#encodedProperties = encodeProperties(properties);
      this.#properties = properties;
    }
    return this.#encodedProperties;
  }

  /** Makes room, and gives the position where the next record begins. */
  #reserve(size: number): number {
    const at = this.sizeBytes;
    const needed = at + size;
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    return at;
  }
}

/** The three batches that one piece of content fills, one per lane. */
export class LaneBatches {
  readonly builders: [BatchBuilder | undefined, BatchBuilder | undefined, BatchBuilder | undefined] = [
    undefined,
    undefined,
    undefined,
  ];
  count = 0;

  push(message: Message): void {
    const index = laneIndex(message.lane);
    let builder = this.builders[index];
    if (builder === undefined) {
      builder = new BatchBuilder();
      this.builders[index] = builder;
    }
    builder.push(message);
    this.count++;
  }

  get sizeBytes(): number {
    let size = 0;
    for (const builder of this.builders) size += builder?.sizeBytes ?? 0;
    return size;
  }
}

/** The size of the record at `at`, or undefined when the bytes there cannot be a record. */
export function recordSizeAt(batch: Uint8Array, at: number): number | undefined {
  if (at + RECORD_HEADER_SIZE_BYTES > batch.length) return undefined;
  const size = readU32(batch, at);
  const topicSize = (batch[at + 6]! << 8) | batch[at + 7]!;
  const hasOrigin = (batch[at + 4]! & FLAG_ORIGIN) !== 0;
  const least = RECORD_HEADER_SIZE_BYTES + (hasOrigin ? ORIGIN_SIZE_BYTES : 0) + topicSize + readU32(batch, at + 8);
  if (size < least || at + size > batch.length || (batch[at + 4]! & 0b11) === 3) return undefined;
  return hasOrigin && !isPlaceKey(originKeyAt(batch, at)) ? undefined : size;
}

function originKeyAt(batch: Uint8Array, at: number): number {
  return new DataView(batch.buffer, batch.byteOffset + at + RECORD_HEADER_SIZE_BYTES, 8).getFloat64(0);
}

/** A damaged origin would otherwise be met when the message is sent, as a lane that there is not. */
function isPlaceKey(key: number): boolean {
  return Number.isInteger(key) && key >= 0 && key < LANES.length * LANE_SPAN;
}

/** Reads the record at `at`; undefined when the bytes there cannot be one. */
export function readRecord(batch: Uint8Array, at: number): RecordView | undefined {
  const size = recordSizeAt(batch, at);
  if (size === undefined) return undefined;
  const flags = batch[at + 4]!;
  const topicSize = (batch[at + 6]! << 8) | batch[at + 7]!;
  const propsSize = readU32(batch, at + 8);
  let start = at + RECORD_HEADER_SIZE_BYTES;
  let originKey: number | undefined;
  if ((flags & FLAG_ORIGIN) !== 0) {
    originKey = originKeyAt(batch, at);
    start += ORIGIN_SIZE_BYTES;
  }
  return {
    qos: (flags & 0b11) as QoS,
    retain: (flags & FLAG_RETAIN) !== 0,
    expirySeconds: readU32(batch, at + 12),
    originKey,
    topic: batch.subarray(start, start + topicSize),
    properties: batch.subarray(start + topicSize, start + topicSize + propsSize),
    payload: batch.subarray(start + topicSize + propsSize, at + size),
    sizeBytes: size,
  };
}

/** The QoS of the record at `at`, where `recordSizeAt` has found one. */
export function qosAt(batch: Uint8Array, at: number): QoS {
  return (batch[at + 4]! & 0b11) as QoS;
}

/** A view of the topic of the record at `at`, where `recordSizeAt` has found one. */
export function topicAt(batch: Uint8Array, at: number): Uint8Array {
  const start = at + RECORD_HEADER_SIZE_BYTES + ((batch[at + 4]! & FLAG_ORIGIN) === 0 ? 0 : ORIGIN_SIZE_BYTES);
  return batch.subarray(start, start + ((batch[at + 6]! << 8) | batch[at + 7]!));
}

/** The same record with an origin, so that it keeps its message id under a new offset. */
export function withOrigin(record: Uint8Array, originKey: number): Uint8Array {
  if ((record[4]! & FLAG_ORIGIN) !== 0) return record;
  const out = Buffer.allocUnsafe(record.length + ORIGIN_SIZE_BYTES);
  out.set(record.subarray(0, RECORD_HEADER_SIZE_BYTES), 0);
  out.writeUInt32BE(out.length, 0);
  out[4] = record[4]! | FLAG_ORIGIN;
  out.writeDoubleBE(originKey, RECORD_HEADER_SIZE_BYTES);
  out.set(record.subarray(RECORD_HEADER_SIZE_BYTES), RECORD_HEADER_SIZE_BYTES + ORIGIN_SIZE_BYTES);
  return out;
}

/** The same record with another topic, which the caller has checked, for a message that is mended in quarantine. */
export function withTopic(record: Uint8Array, topic: string): Uint8Array {
  const view = readRecord(record, 0);
  if (view === undefined) throw new RangeError('The bytes are not a record.');
  const bytes = Buffer.from(topic);
  const fixedSize = RECORD_HEADER_SIZE_BYTES + (view.originKey === undefined ? 0 : ORIGIN_SIZE_BYTES);
  const out = Buffer.concat([record.subarray(0, fixedSize), bytes, view.properties, view.payload]);
  out.writeUInt32BE(out.length, 0);
  out.writeUInt16BE(bytes.length, 6);
  return out;
}

function readU32(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 0x1000000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
}
