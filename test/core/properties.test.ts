import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { MessageProperties } from '../../src/core/message.js';
import { decodeProperties, encodeProperties } from '../../src/core/properties.js';

const anyText = fc.string({ unit: 'grapheme', maxLength: 40 });
const anyProperties: fc.Arbitrary<MessageProperties> = fc.record(
  {
    payloadIsText: fc.constant(true),
    contentType: anyText,
    responseTopic: anyText,
    correlationData: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    userProperties: fc.array(fc.tuple(anyText, anyText), { minLength: 1, maxLength: 6 }),
  },
  { requiredKeys: [], noNullPrototype: true },
);

test('properties are read back as they were, in the order of the user properties', () => {
  fc.assert(
    fc.property(anyProperties, (properties) => {
      assert.deepEqual(decodeProperties(encodeProperties(properties)), properties);
    }),
  );
});

test('equal properties give equal bytes, whatever the order in which they were set', () => {
  const bytes = encodeProperties({ contentType: 'a', responseTopic: 'b', payloadIsText: true });
  assert.deepEqual(encodeProperties({ payloadIsText: true, responseTopic: 'b', contentType: 'a' }), bytes);
  assert.equal(encodeProperties({ payloadIsText: false }).length, 0);
});

test('a string or correlation data of 65,535 bytes fits, and one byte more is refused', () => {
  for (const size of [65_535, 65_536]) {
    for (const properties of [
      { contentType: 'x'.repeat(size) },
      { responseTopic: 'x'.repeat(size) },
      { correlationData: Buffer.alloc(size) },
      { userProperties: [['x'.repeat(size), '']] as const },
      { userProperties: [['', 'x'.repeat(size)]] as const },
    ]) {
      if (size === 65_535) assert.deepEqual(decodeProperties(encodeProperties(properties)), properties);
      else assert.throws(() => encodeProperties(properties), RangeError);
    }
  }
});

test('bytes that are no properties are refused with a RangeError and nothing else', () => {
  for (const bytes of [
    [0x01],
    [0x03],
    [0x03, 0],
    [0x03, 0, 2, 0x61],
    [0x09, 0xff, 0xff],
    [0x26, 0, 1, 0x61, 0],
    [0x02, 0, 0, 0, 1],
    [0],
  ]) {
    assert.throws(() => decodeProperties(Uint8Array.from(bytes)), RangeError, JSON.stringify(bytes));
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => {
      try {
        decodeProperties(bytes);
      } catch (error) {
        assert.ok(error instanceof RangeError);
      }
    }),
  );
});
