import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Read, readChunks } from './reading.js';

/** Any bytes, and bytes that look like packets, so that more than the first byte is reached. */
const anyPacketLike = fc
  .tuple(
    fc.constantFrom(0x20, 0x21, 0x30, 0x32, 0x40, 0x50, 0x62, 0x70, 0x90, 0xb0, 0xd0, 0xe0, 0xf0),
    fc.uint8Array({ maxLength: 40 }),
    fc.integer({ min: -2, max: 2 }),
  )
  .map(([first, body, slip]) => Uint8Array.of(first, Math.max(0, body.length + slip), ...body));
const anyStream = fc
  .array(fc.oneof(anyPacketLike, fc.uint8Array({ maxLength: 12 })), { minLength: 1, maxLength: 8 })
  .map((parts) => Buffer.concat(parts));

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const chunks: Buffer[] = [];
  let from = 0;
  for (const place of [...places, bytes.length]) {
    chunks.push(bytes.subarray(from, place));
    from = place;
  }
  return chunks;
}

function comparable(reads: readonly Read[]): string {
  return JSON.stringify(reads);
}

test('whatever comes, the reader never throws, reports malformed at most once, last, and the same for every split', () => {
  let malformedCount = 0;
  let readCount = 0;
  fc.assert(
    fc.property(
      fc.constantFrom<4 | 5>(4, 5),
      anyStream,
      fc.array(fc.nat(), { maxLength: 6 }),
      (protocolVersion, bytes, cuts) => {
        const whole = readChunks(protocolVersion, [bytes]).reads;
        const places = whole.flatMap((read, i) => (read.kind === 'malformed' ? [i] : []));
        assert.ok(places.length === 0 || (places.length === 1 && places[0] === whole.length - 1));
        malformedCount += places.length;
        readCount += whole.length - places.length;
        for (const read of whole) {
          if (read.kind !== 'acknowledged') continue;
          assert.ok(read.id > 0 && read.id <= 65_535 && read.code >= 0 && read.code <= 255);
        }
        assert.equal(comparable(readChunks(protocolVersion, split(bytes, cuts)).reads), comparable(whole));
      },
    ),
    { numRuns: 5000 },
  );
  assert.ok(malformedCount > 500 && readCount > 500, `${malformedCount} malformed, ${readCount} read`);
});
