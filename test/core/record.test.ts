import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LANES, type LaneIndex, laneAt, laneIndex } from '../../src/core/lane.js';
import { type Message, messageId, type QoS } from '../../src/core/message.js';
import { decodeProperties } from '../../src/core/properties.js';
import {
  BatchBuilder,
  LaneBatches,
  placeKey,
  placeOfKey,
  RECORD_SIZE_MAX_BYTES,
  readRecord,
  recordSizeAt,
  withOrigin,
  withTopic,
} from '../../src/core/record.js';

const anyMessage: fc.Arbitrary<Message> = fc.record(
  {
    topic: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }),
    payload: fc.uint8Array({ maxLength: 300 }),
    qos: fc.constantFrom<QoS>(0, 1, 2),
    retain: fc.boolean(),
    lane: fc.constantFrom(...LANES),
    expirySeconds: fc.constantFrom(0, 1, 3600, 0xff_ff_ff_ff),
    properties: fc.record({ contentType: fc.string({ maxLength: 20 }) }, { noNullPrototype: true }),
  },
  { requiredKeys: ['topic', 'payload', 'qos', 'retain', 'lane', 'expirySeconds'], noNullPrototype: true },
);
const anyOrigin = fc.option(fc.tuple(fc.constantFrom<LaneIndex>(0, 1, 2), fc.nat(2 ** 50 - 1)), { nil: undefined });

function assertHolds(record: ReturnType<typeof readRecord>, message: Message, originKey: number | undefined): void {
  assert.ok(record !== undefined);
  assert.equal(record.qos, message.qos);
  assert.equal(record.retain, message.retain);
  assert.equal(record.expirySeconds, message.expirySeconds);
  assert.equal(record.originKey, originKey);
  assert.equal(Buffer.from(record.topic).toString(), message.topic);
  assert.deepEqual(Buffer.from(record.payload), Buffer.from(message.payload));
  assert.deepEqual(decodeProperties(record.properties), message.properties ?? {});
}

test('the messages of a batch are read back in their order, with their origins', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyMessage, anyOrigin), { minLength: 1, maxLength: 20 }), (entries) => {
      const builder = new BatchBuilder(16);
      for (const [message, origin] of entries) builder.push(message, origin && placeKey(...origin));
      assert.equal(builder.count, entries.length);
      const batch = builder.finish();
      assert.equal(batch.length, builder.sizeBytes);
      let at = 0;
      for (const [message, origin] of entries) {
        const record = readRecord(batch, at);
        assertHolds(record, message, origin && placeKey(...origin));
        assert.equal(recordSizeAt(batch, at), record?.sizeBytes);
        at += record?.sizeBytes ?? 0;
      }
      assert.equal(at, batch.length);
      assert.equal(recordSizeAt(batch, at), undefined);
    }),
  );
});

test('a record that gets an origin keeps everything else, and its first origin for ever', () => {
  fc.assert(
    fc.property(anyMessage, (message) => {
      const builder = new BatchBuilder();
      builder.push(message);
      const first = withOrigin(builder.finish(), placeKey(2, 77));
      assertHolds(readRecord(first, 0), message, placeKey(2, 77));
      assert.equal(withOrigin(first, placeKey(0, 5)), first);
      const copy = new BatchBuilder();
      copy.pushRecord(first);
      assert.deepEqual(Buffer.from(copy.finish()), Buffer.from(first));
      assert.equal(copy.count, 1);
    }),
  );
});

test('a record that gets another topic keeps everything else', () => {
  fc.assert(
    fc.property(
      anyMessage,
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }),
      fc.boolean(),
      (message, topic, hasOrigin) => {
        const builder = new BatchBuilder();
        builder.push(message, hasOrigin ? 3 : undefined);
        const changed = withTopic(builder.finish(), topic);
        assertHolds(readRecord(changed, 0), { ...message, topic }, hasOrigin ? 3 : undefined);
      },
    ),
  );
});

test('bytes that cannot be a record are never read beyond their end, whatever they are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(80), (bytes, at) => {
      const record = readRecord(bytes, at);
      assert.equal(record === undefined, recordSizeAt(bytes, at) === undefined);
      if (record === undefined) return;
      assert.ok(at + record.sizeBytes <= bytes.length);
      const parts = record.topic.length + record.properties.length + record.payload.length;
      assert.ok(parts <= record.sizeBytes - 16);
    }),
    { numRuns: 3000 },
  );
});

test('every byte of a record header that is damaged either gives no record or one that lies within the batch', () => {
  const builder = new BatchBuilder();
  const message: Message = {
    topic: 'a',
    payload: Buffer.alloc(9),
    qos: 2,
    retain: true,
    lane: 'alert',
    expirySeconds: 5,
  };
  builder.push(message);
  builder.push(message);
  const batch = builder.finish();
  for (let at = 0; at < 16; at++) {
    for (let value = 0; value < 256; value++) {
      const damaged = Buffer.from(batch);
      damaged[at] = value;
      const size = recordSizeAt(damaged, 0);
      assert.ok(size === undefined || (size >= 16 && size <= damaged.length));
    }
  }
});

test('a message that cannot be stored leaves the batch as it was', () => {
  const good: Message = {
    topic: 'a',
    payload: Buffer.from('x'),
    qos: 1,
    retain: false,
    lane: 'telemetry',
    expirySeconds: 0,
  };
  const payload = new Uint8Array(0);
  Object.defineProperty(payload, 'length', { value: RECORD_SIZE_MAX_BYTES });
  const bad: Record<string, Message> = {
    'too large': { ...good, payload },
    'a property that is too long': { ...good, properties: { contentType: 'x'.repeat(65_536) } },
    'a topic that is too long': { ...good, topic: 'x'.repeat(65_536) },
    'an expiry that is too long': { ...good, expirySeconds: 2 ** 32 },
    'a negative expiry': { ...good, expirySeconds: -1 },
  };
  for (const [name, message] of Object.entries(bad)) {
    const builder = new BatchBuilder(16);
    builder.push(good);
    const sizeBytes = builder.sizeBytes;
    assert.throws(() => builder.push(message), RangeError, name);
    assert.equal(builder.count, 1, name);
    assert.equal(builder.sizeBytes, sizeBytes, name);
    builder.push(good);
    assertHolds(readRecord(builder.finish(), sizeBytes), good, undefined);
  }
});

test('each lane has its own batch', () => {
  const batches = new LaneBatches();
  for (const lane of [...LANES, 'alert'] as const) {
    batches.push({ topic: lane, payload: Buffer.alloc(1), qos: 0, retain: false, lane, expirySeconds: 0 });
  }
  assert.equal(batches.count, 4);
  assert.deepEqual(
    batches.builders.map((builder) => builder?.count),
    [1, 2, 1],
  );
  assert.equal(
    batches.sizeBytes,
    batches.builders.reduce((sum, builder) => sum + (builder?.finish().length ?? 0), 0),
  );
});

test('the key of a place gives the place back and orders by lane, then by offset', () => {
  for (const lane of [0, 1, 2] as const) {
    for (const offset of [0, 1, 2 ** 50 - 1]) assert.deepEqual(placeOfKey(placeKey(lane, offset)), { lane, offset });
  }
  assert.ok(placeKey(0, 2 ** 50 - 1) < placeKey(1, 0) && placeKey(1, 2 ** 50 - 1) < placeKey(2, 0));
  assert.ok(Number.isSafeInteger(placeKey(2, 2 ** 50 - 1)));
});

test('the numbers of the lanes are those of the file format', () => {
  assert.deepEqual(LANES.map(laneIndex), [0, 1, 2]);
  assert.deepEqual([0, 1, 2].map(laneAt), ['command', 'alert', 'telemetry']);
  assert.throws(() => laneAt(3), RangeError);
});

test('a message id names the cache, the lane and the offset', () => {
  assert.equal(messageId('9f2c41d7', 'telemetry', 1042), '9f2c41d7-t-1042');
});
