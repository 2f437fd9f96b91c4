import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { LaneIndex } from '../../src/core/lane.js';
import type { Message, MessageProperties, QoS } from '../../src/core/message.js';
import { BatchBuilder, placeKey, recordSizeAt, withOrigin } from '../../src/core/record.js';
import { PublishEncoder, type PublishEncoderOptions, variableSize } from '../../src/wire/publish-encoder.js';
import { parsePublish } from './parse.js';

const BORDERS = [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152];

function encoderOf(options: Partial<PublishEncoderOptions> = {}): PublishEncoder {
  return new PublishEncoder({
    protocolVersion: 5,
    maximumQos: 2,
    retainAvailable: true,
    cacheId: '0badcafe',
    messageIdProperty: undefined,
    ...options,
  });
}

function messageOf(message: Partial<Message>): Message {
  return {
    topic: 'a/b',
    payload: Buffer.from('payload'),
    qos: 1,
    retain: false,
    lane: 'telemetry',
    expirySeconds: 0,
    ...message,
  };
}

interface Sending {
  packetId?: number;
  isDuplicate?: boolean;
  expirySeconds?: number;
  lane?: LaneIndex;
  offset?: number;
}

/** Encodes between two guard bytes, so that a byte too many is seen, and checks the announced upper bound. */
function encode(encoder: PublishEncoder, record: Uint8Array, sending: Sending = {}): Buffer {
  const size = recordSizeAt(record, 0);
  assert.equal(size, record.length);
  const sizeMax = encoder.sizeMax(record.length);
  const out = Buffer.alloc(sizeMax + 2, 0xee);
  const end = encoder.encode(
    out,
    1,
    record,
    0,
    record.length,
    sending.packetId ?? 7,
    sending.isDuplicate ?? false,
    sending.expirySeconds ?? 0,
    sending.lane ?? 2,
    sending.offset ?? 0,
  );
  assert.ok(end - 1 <= sizeMax, `${end - 1} bytes were written where at most ${sizeMax} were announced`);
  assert.equal(out[0], 0xee);
  assert.ok(out.subarray(end).every((byte) => byte === 0xee));
  return Buffer.from(out.subarray(1, end));
}

function recordOf(message: Message): Buffer {
  const builder = new BatchBuilder(16);
  builder.push(message);
  return Buffer.from(builder.finish());
}

const anyText = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 40 })
  .filter((text) => Buffer.from(text).toString() === text);
const anyProperties: fc.Arbitrary<MessageProperties> = fc.record(
  {
    payloadIsText: fc.constant(true),
    contentType: anyText,
    responseTopic: anyText,
    correlationData: fc.uint8Array({ maxLength: 300 }),
    userProperties: fc.uniqueArray(fc.tuple(anyText, anyText), { maxLength: 5, selector: ([name]) => name }),
  },
  { requiredKeys: [] },
);
const anyMessage = fc.record({
  topic: anyText,
  payload: fc.uint8Array({ maxLength: 400 }),
  qos: fc.constantFrom<QoS>(0, 1, 2),
  retain: fc.boolean(),
  properties: anyProperties,
});

test('what is encoded is read back by mqtt-packet as the same message, under both versions of the protocol', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<4 | 5>(4, 5),
      anyMessage,
      fc.integer({ min: 1, max: 65_535 }),
      fc.boolean(),
      fc.constantFrom(0, 1, 59, 4_294_967_295),
      fc.option(anyText, { nil: undefined }),
      fc.option(fc.integer({ min: 0, max: 2 ** 50 - 1 }), { nil: undefined }),
      (protocolVersion, parts, packetId, isDuplicate, expirySeconds, messageIdProperty, origin) => {
        const message = messageOf(parts);
        const plain = recordOf(message);
        const record = origin === undefined ? plain : Buffer.from(withOrigin(plain, placeKey(1, origin)));
        const encoder = encoderOf({ protocolVersion, messageIdProperty });
        const bytes = encode(encoder, record, { packetId, isDuplicate, expirySeconds, lane: 0, offset: 4711 });
        const packet = parsePublish(bytes, protocolVersion);
        assert.equal(packet.topic, message.topic);
        assert.deepEqual(Buffer.from(packet.payload), Buffer.from(message.payload));
        assert.equal(packet.qos, message.qos);
        assert.equal(packet.retain, message.retain);
        assert.equal(packet.dup, isDuplicate && message.qos > 0);
        assert.equal(packet.messageId, message.qos === 0 ? undefined : packetId);
        if (protocolVersion === 4) {
          assert.equal(packet.properties, undefined);
          return;
        }
        const { payloadIsText, contentType, responseTopic, correlationData, userProperties } = parts.properties;
        const read = packet.properties ?? {};
        assert.equal(read.payloadFormatIndicator, payloadIsText);
        assert.equal(read.contentType, contentType);
        assert.equal(read.responseTopic, responseTopic);
        assert.deepEqual(
          read.correlationData,
          correlationData === undefined ? undefined : Buffer.from(correlationData),
        );
        assert.equal(read.messageExpiryInterval, expirySeconds === 0 ? undefined : expirySeconds);
        const expected = new Map<string, string | string[]>(userProperties ?? []);
        if (messageIdProperty !== undefined) {
          const id = origin === undefined ? '0badcafe-c-4711' : `0badcafe-a-${origin}`;
          const former = expected.get(messageIdProperty);
          expected.set(messageIdProperty, typeof former === 'string' ? [former, id] : id);
        }
        assert.deepEqual(new Map(Object.entries(read.userProperties ?? {})), expected);
      },
    ),
    { numRuns: 2000 },
  );
});

for (const protocolVersion of [4, 5] as const) {
  test(`a payload or topic at each border of the length encoding arrives whole (version ${protocolVersion})`, () => {
    const encoder = encoderOf({ protocolVersion, messageIdProperty: 'msg-id' });
    for (const border of BORDERS) {
      // Around the border, so that the remaining length itself passes it, whatever the packet has beside the payload.
      for (let size = Math.max(0, border - 60); size <= border + 2; size++) {
        if (border > 20_000 && size % 7 !== 0 && Math.abs(size - border) > 1) continue;
        const payload = Buffer.alloc(size, size & 0xff);
        const bytes = encode(encoder, recordOf(messageOf({ payload })), { offset: size });
        const packet = parsePublish(bytes, protocolVersion);
        assert.equal(packet.topic, 'a/b');
        assert.ok(payload.equals(Buffer.from(packet.payload)), `the payload of ${size} bytes differs`);
      }
      if (border === 0 || border > 65_535) continue;
      const topic = 't'.repeat(border);
      const bytes = encode(encoder, recordOf(messageOf({ topic })));
      assert.equal(parsePublish(bytes, protocolVersion).topic, topic);
    }
    const longest = `${'ä'.repeat(32_767)}x`;
    const bytes = encode(encoder, recordOf(messageOf({ topic: longest })));
    assert.equal(parsePublish(bytes, protocolVersion).topic, longest);
  });
}

test('properties at each border of the length encoding arrive whole', () => {
  const encoder = encoderOf();
  for (const border of BORDERS.slice(2)) {
    for (let total = border - 1; total <= border + 1; total++) {
      // A user property is five bytes and its two strings; a few of the longest and one that fills up to the total.
      const userProperties: [string, string][] = [];
      let rest = total;
      while (rest > 65_000) {
        userProperties.push([`p${userProperties.length}`.padEnd(5), 'v'.repeat(60_000)]);
        rest -= 60_010;
      }
      userProperties.push(['last ', 'v'.repeat(rest - 10)]);
      const bytes = encode(encoder, recordOf(messageOf({ properties: { userProperties } })));
      const packet = parsePublish(bytes, 5);
      assert.deepEqual(new Map(Object.entries(packet.properties?.userProperties ?? {})), new Map(userProperties));
      assert.equal(packet.payload.toString(), 'payload');
    }
  }
});

test('a user property that occurs more than once keeps all its values in their order', () => {
  const properties = {
    userProperties: [
      ['site', 'a'],
      ['line', '1'],
      ['site', 'b'],
    ] as const,
  };
  const packet = parsePublish(encode(encoderOf(), recordOf(messageOf({ properties }))), 5);
  assert.deepEqual({ ...packet.properties?.userProperties }, { site: ['a', 'b'], line: '1' });
});

test('a broker with a lower Maximum QoS gets its own maximum, and at QoS 0 neither an identifier nor DUP', () => {
  for (const maximumQos of [0, 1, 2] as const) {
    for (const qos of [0, 1, 2] as const) {
      const encoder = encoderOf({ maximumQos });
      const record = recordOf(messageOf({ qos }));
      const packet = parsePublish(encode(encoder, record, { isDuplicate: true }), 5);
      const granted = Math.min(qos, maximumQos);
      assert.equal(packet.qos, granted);
      assert.equal(encoder.qosOf(record, 0), granted);
      assert.equal(packet.dup, granted > 0);
      assert.equal(packet.messageId, granted === 0 ? undefined : 7);
    }
  }
});

test('a broker without retained messages gets none', () => {
  const record = recordOf(messageOf({ retain: true }));
  assert.equal(parsePublish(encode(encoderOf({ retainAvailable: false }), record), 5).retain, false);
  assert.equal(parsePublish(encode(encoderOf(), record), 5).retain, true);
});

test('a re-send is byte-identical but for DUP, also from the middle of a batch', () => {
  const builder = new BatchBuilder();
  builder.push(messageOf({ topic: 'first', payload: Buffer.alloc(1000, 1) }));
  const at = builder.sizeBytes;
  builder.push(messageOf({ topic: 'second', payload: Buffer.alloc(300, 2), properties: { contentType: 'x/y' } }));
  const batch = builder.finish();
  const encoder = encoderOf({ messageIdProperty: 'id' });
  const size = recordSizeAt(batch, at)!;
  const write = (isDuplicate: boolean): Buffer => {
    const out = Buffer.alloc(encoder.sizeMax(size));
    return out.subarray(0, encoder.encode(out, 0, batch, at, size, 9, isDuplicate, 0, 2, 1));
  };
  const first = write(false);
  const again = write(true);
  assert.equal(parsePublish(first, 5).topic, 'second');
  assert.equal(again[0], first[0]! | 0x08);
  assert.deepEqual(again.subarray(1), first.subarray(1));
});

test('the size of a Variable Byte Integer changes exactly at its borders', () => {
  assert.deepEqual(
    [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455].map(variableSize),
    [1, 1, 2, 2, 3, 3, 4, 4],
  );
});
