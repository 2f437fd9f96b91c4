/** Damage to bytes: what lines, disks, careless programs and malice do to a valid document. */
import fc from 'fast-check';
import { weighted } from './weighted.js';

/** Bytes in a case, one character each (latin1), so that a case stays JSON that a person can read. */
export type ByteText = string;

export type Mutation =
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'put'; at: number; instead: number; token: ByteText }
  | { kind: 'remove'; at: number; size: number }
  | { kind: 'repeat'; at: number; size: number; times: number }
  | { kind: 'move'; from: number; size: number; to: number }
  | { kind: 'truncate'; at: number };

export function toBytes(text: ByteText): Buffer {
  return Buffer.from(text, 'latin1');
}

export function fromBytes(bytes: Uint8Array): ByteText {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** What has broken parsers before, whatever they parse. */
const TOKENS: readonly ByteText[] = [
  ...['\0', '\r\n', '\n', '\r', '\t', ' ', '"', "'", '\\', ',', ':', ';', '{', '}', '[', ']', '#', '+', '/', '$', '%'],
  // Byte-order marks; UTF-8 that is cut off, too long, of a surrogate, beyond Unicode; no UTF-8 at all.
  ...[
    '\xef\xbb\xbf',
    '\xff\xfe',
    '\xc3',
    '\xf0\x9f\x98',
    '\xc0\x80',
    '\xed\xa0\x80',
    '\xf4\x90\x80\x80',
    '\xff',
    '\x80',
  ],
  // Valid and rare: a character of four bytes, the replacement character, a line separator, a non-character.
  ...['\xf0\x9f\x98\x80', '\xef\xbf\xbd', '\xe2\x80\xa8', '\xef\xbf\xbf'],
  ...['\\ud800', '\\udc00\\ud800', '\\u0000', '\\u005f_proto__', '\\x', '""'],
  ...['"__proto__":{"x":1},', '"constructor":{"prototype":{}},', '"toString":1,', '"hasOwnProperty":null,', '"":0,'],
  ...['__proto__', 'constructor', 'prototype', 'toJSON', 'null', 'true', 'false', 'undefined', 'NaN', 'Infinity'],
  ...[
    '0',
    '-0',
    '-1',
    '1.',
    '.5',
    '007',
    '1e999',
    '-1e-999',
    '1e400',
    '9007199254740993',
    '4294967296',
    '0x10',
    '1_000',
  ],
  ...['../', '..\\', '%00', '%2e%2e%2f', '%', `$${'{PATH}'}`, 'file:/etc/passwd', 'secret:x'],
];

/** Large ones are rare, because each costs as much as a hundred others. */
const LARGE_TOKENS: readonly ByteText[] = [
  '['.repeat(20_000),
  '{"a":'.repeat(5000),
  'a'.repeat(70_000),
  '9'.repeat(5000),
  '"'.repeat(3001),
  ' '.repeat(10_000),
  '\xf0\x9f\x98\x80'.repeat(20_000),
];

/** Ways to damage something; `tokens` are words that mean something where it is read. */
export function mutations(tokens: readonly ByteText[], countMax = 4): fc.Arbitrary<Mutation[]> {
  const at = fc.nat(0xffff);
  const size = fc.nat(40);
  const token = weighted(
    [40, fc.constantFrom(...TOKENS, ...tokens)],
    [20, fc.constantFrom(...(tokens.length === 0 ? TOKENS : tokens))],
    [10, fc.uint8Array({ maxLength: 6 }).map(fromBytes)],
    [1, fc.constantFrom(...LARGE_TOKENS)],
  );
  const mutation = weighted<Mutation>(
    [3, fc.record({ kind: fc.constant('flip' as const), at, bit: fc.nat(7) })],
    [6, fc.record({ kind: fc.constant('put' as const), at, instead: fc.nat(3), token })],
    [2, fc.record({ kind: fc.constant('remove' as const), at, size })],
    [2, fc.record({ kind: fc.constant('repeat' as const), at, size, times: fc.nat(5) })],
    [1, fc.record({ kind: fc.constant('move' as const), from: at, size, to: at })],
    [1, fc.record({ kind: fc.constant('truncate' as const), at })],
  );
  return fc.array(mutation, { maxLength: countMax });
}

export function mutate(bytes: Buffer, list: readonly Mutation[]): Buffer {
  return list.reduce(mutateOnce, bytes);
}

function mutateOnce(bytes: Buffer, mutation: Mutation): Buffer {
  // Positions are taken modulo the size, so that a case stays valid while it is made smaller.
  const place = (at: number): number => at % (bytes.length + 1);
  switch (mutation.kind) {
    case 'flip': {
      const out = Buffer.from(bytes);
      const at = place(mutation.at);
      if (at < out.length) out[at] = out[at]! ^ (1 << mutation.bit);
      return out;
    }
    case 'put': {
      const at = place(mutation.at);
      return Buffer.concat([bytes.subarray(0, at), toBytes(mutation.token), bytes.subarray(at + mutation.instead)]);
    }
    case 'remove': {
      const at = place(mutation.at);
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + mutation.size)]);
    }
    case 'repeat': {
      const at = place(mutation.at);
      const part = bytes.subarray(at, at + mutation.size);
      const copies = Array.from({ length: mutation.times }, () => part);
      return Buffer.concat([bytes.subarray(0, at), ...copies, bytes.subarray(at)]);
    }
    case 'move': {
      const from = place(mutation.from);
      const part = bytes.subarray(from, from + mutation.size);
      const rest = Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + mutation.size)]);
      const to = mutation.to % (rest.length + 1);
      return Buffer.concat([rest.subarray(0, to), part, rest.subarray(to)]);
    }
    case 'truncate':
      return bytes.subarray(0, place(mutation.at));
  }
}

/** Valid documents and what damage makes of them; this share of them stays as it is. */
export function damaged(
  valid: fc.Arbitrary<Buffer>,
  tokens: readonly ByteText[] = [],
  soundShare = 0.25,
): fc.Arbitrary<ByteText> {
  const damage = weighted<Mutation[]>(
    [Math.round(100 * (1 - soundShare)), mutations(tokens)],
    [Math.round(100 * soundShare), fc.constant([])],
  );
  return fc.tuple(valid, damage).map(([bytes, list]) => fromBytes(mutate(bytes, list)));
}

/** The same bytes in pieces, cut at these places. */
export function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const chunks: Buffer[] = [];
  let from = 0;
  for (const place of [...places, bytes.length]) {
    chunks.push(bytes.subarray(from, place));
    from = place;
  }
  return chunks;
}
