/** What a broker may send, rightly, wrongly or out of its mind: packets with broken parts, and bytes that are none. */
import fc from 'fast-check';
import { type ByteText, fromBytes, type Mutation, mutate, mutations, toBytes } from './mutation.js';
import { weighted } from './weighted.js';

/** One packet. An acknowledgement is for one of the messages in flight, or for whatever identifier it names. */
export type BrokerPacket =
  | {
      kind: 'acknowledgement';
      type: 4 | 5 | 6 | 7;
      of: number;
      code: number | null;
      properties: ByteText;
      padding: number;
    }
  | { kind: 'stray'; type: 4 | 5 | 6 | 7; id: number; code: number | null; properties: ByteText }
  | { kind: 'other'; first: number; body: ByteText; slip: number; padding: number };

export interface BrokerSpeech {
  packets: BrokerPacket[];
  mutations: Mutation[];
  /** Where the bytes are cut into pieces that arrive one after the other. */
  cuts: number[];
}

const acknowledgementType = fc.constantFrom<4 | 5 | 6 | 7>(4, 4, 5, 5, 7, 7, 6);
const code = weighted<number | null>(
  [4, fc.constant(null)],
  [2, fc.constantFrom(0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x92, 0x97, 0x99)],
  [1, fc.nat(255)],
);

function utf8(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

/** A property of MQTT 5: identifier and value, the value at times of another type's form. */
const property = fc.oneof(
  fc.constantFrom(
    Buffer.concat([Buffer.from([0x1f]), utf8('not now')]),
    Buffer.concat([Buffer.from([0x26]), utf8('name'), utf8('value')]),
    Buffer.concat([Buffer.from([0x12]), utf8('assigned-id')]),
    Buffer.concat([Buffer.from([0x1f]), utf8('x'.repeat(200))]),
    Buffer.concat([Buffer.from([0x1f]), utf8('x'.repeat(20_000))]),
    Buffer.concat([Buffer.from([0x1c]), utf8('other.example')]),
    Buffer.concat([Buffer.from([0x1f]), utf8('a\0b')]),
    Buffer.from([0x1f, 0xff, 0xff]),
    Buffer.from([0x1f, 0, 2, 0xc3, 0x28]),
    Buffer.from([0x0b, 0xff, 0xff, 0xff, 0xff, 0x7f]),
  ),
  fc
    .record({ id: fc.constantFrom(0x21, 0x22, 0x13), value: fc.constantFrom(0, 1, 2, 20, 65_535) })
    .map(({ id, value }) => {
      return Buffer.from([id, value >> 8, value & 0xff]);
    }),
  fc
    .record({ id: fc.constantFrom(0x11, 0x27), value: fc.constantFrom(0, 1, 30, 200, 0xffff_ffff) })
    .map(({ id, value }) => {
      const bytes = Buffer.from([id, 0, 0, 0, 0]);
      bytes.writeUInt32BE(value, 1);
      return bytes;
    }),
  fc
    .record({ id: fc.constantFrom(0x24, 0x25, 0x28, 0x29, 0x2a, 0x01, 0x17), value: fc.nat(2) })
    .map(({ id, value }) => {
      return Buffer.from([id, value]);
    }),
  fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
);

/** Properties with their length, which is sometimes wrong. */
const properties: fc.Arbitrary<ByteText> = weighted<ByteText>(
  [3, fc.constant('')],
  [
    2,
    fc.tuple(fc.array(property, { maxLength: 3 }), fc.constantFrom(0, 0, 0, 0, 1, -1)).map(([list, slip]) => {
      const bytes = Buffer.concat(list);
      return fromBytes(Buffer.concat([variable(Math.max(0, bytes.length + slip)), bytes]));
    }),
  ],
);

const FIRST_BYTES = [0x20, 0x30, 0x32, 0x34, 0x3d, 0x40, 0x50, 0x62, 0x70, 0x90, 0xb0, 0xd0, 0xe0, 0xf0] as const;
const REQUEST_FIRST_BYTES = [0x10, 0x82, 0xa2, 0xc0, 0x00, 0x21, 0x41, 0x60, 0x16, 0x48] as const;

const body: fc.Arbitrary<ByteText> = fc.oneof(
  fc.constant(''),
  fc.uint8Array({ maxLength: 24 }).map(fromBytes),
  fc
    .tuple(fc.nat(1), code, properties)
    .map(([flags, reason, props]) => `${fromBytes(Uint8Array.of(flags, reason ?? 0))}${props}`),
  fc.tuple(code, properties).map(([reason, props]) => `${fromBytes(Uint8Array.of(reason ?? 0))}${props}`),
  fc.tuple(fc.constantFrom('a/b', 'a/#', '', '\0'), fc.nat(3), properties).map(([topic, id, props]) => {
    return `${fromBytes(utf8(topic))}\0${String.fromCharCode(id)}${props}payload`;
  }),
);

const packet: fc.Arbitrary<BrokerPacket> = weighted<BrokerPacket>(
  [
    5,
    fc.record({
      kind: fc.constant('acknowledgement' as const),
      type: acknowledgementType,
      of: fc.nat(12),
      code,
      properties,
      padding: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 2, 3),
    }),
  ],
  [
    2,
    fc.record({
      kind: fc.constant('stray' as const),
      type: acknowledgementType,
      id: fc.oneof(fc.constantFrom(0, 1, 2, 2047, 2048, 2049, 8191, 8192, 8193, 65_535), fc.nat(65_535)),
      code,
      properties,
    }),
  ],
  [
    4,
    fc.record({
      kind: fc.constant('other' as const),
      first: weighted(
        [8, fc.constantFrom(...FIRST_BYTES)],
        [1, fc.constantFrom(...REQUEST_FIRST_BYTES)],
        [1, fc.nat(255)],
      ),
      body,
      slip: fc.constantFrom(0, 0, 0, 0, 0, 1, -1, 2, 300, 20_000_000),
      padding: fc.constantFrom(0, 0, 0, 1, 3, 4),
    }),
  ],
);

export const speech: fc.Arbitrary<BrokerSpeech> = fc.record({
  packets: fc.array(packet, { minLength: 1, maxLength: 5 }),
  mutations: weighted<Mutation[]>([3, fc.constant([])], [1, mutations([], 2)]),
  cuts: weighted<number[]>([2, fc.constant([])], [1, fc.array(fc.nat(), { maxLength: 4 })]),
});

/** The bytes of a speech, in the pieces in which they arrive. `idOf` gives the identifier of a message in flight. */
export function spoken(speech: BrokerSpeech, idOf: (index: number) => number | undefined): Buffer {
  return mutate(Buffer.concat(speech.packets.map((one) => bytesOf(one, idOf))), speech.mutations);
}

function bytesOf(one: BrokerPacket, idOf: (index: number) => number | undefined): Buffer {
  if (one.kind === 'other') {
    const bytes = toBytes(one.body);
    return Buffer.concat([
      Buffer.from([one.first]),
      variable(Math.max(0, bytes.length + one.slip), one.padding),
      bytes,
    ]);
  }
  const id = one.kind === 'stray' ? one.id : (idOf(one.of) ?? 1);
  const tail = one.code === null ? Buffer.alloc(0) : Buffer.concat([Buffer.from([one.code]), toBytes(one.properties)]);
  const first = one.type === 6 ? 0x62 : one.type << 4;
  return Buffer.concat([
    Buffer.from([first]),
    variable(2 + tail.length, one.kind === 'stray' ? 0 : one.padding),
    Buffer.from([id >> 8, id & 0xff]),
    tail,
  ]);
}

/** A Variable Byte Integer, with so many bytes more than it needs. */
function variable(value: number, padding = 0): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  for (let i = 0; i < padding; i++) bytes.push(0x80);
  bytes[bytes.length - 1]! &= 0x7f;
  return Buffer.from(bytes);
}

/**
 * Finds acknowledgements in what a broker sends, with no code of the product: it takes any length and any flags, so that
 * what it does not find, no reader can have found.
 */
export class AcknowledgementScanner {
  #rest: Buffer = Buffer.alloc(0);

  /** The packet identifiers that were acknowledged in any way. */
  scan(bytes: Buffer): number[] {
    const all = Buffer.concat([this.#rest, bytes]);
    const ids: number[] = [];
    let at = 0;
    for (;;) {
      const head = headOf(all, at);
      if (head === undefined || head.end > all.length) break;
      const type = all[at]! >> 4;
      if ((type === 4 || type === 5 || type === 7) && head.end >= head.bodyAt + 2)
        ids.push(all.readUInt16BE(head.bodyAt));
      at = head.end;
    }
    this.#rest = all.subarray(at);
    return ids;
  }
}

function headOf(bytes: Buffer, at: number): { bodyAt: number; end: number } | undefined {
  let size = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[at + 1 + i];
    if (byte === undefined) return undefined;
    size += (byte & 0x7f) * 128 ** i;
    if (byte < 0x80) return { bodyAt: at + 2 + i, end: at + 2 + i + size };
  }
  return undefined;
}
