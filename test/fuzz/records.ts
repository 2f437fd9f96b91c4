/**
 * Any bytes in place of stored records: what of them can be read can be shown, changed and sent, within the bounds that
 * it gives itself; what cannot is no record, and nothing throws.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RecordWalker } from '../../src/cache/record-walker.js';
import type { Lane } from '../../src/core/lane.js';
import type { Message } from '../../src/core/message.js';
import { decodeProperties } from '../../src/core/properties.js';
import { BatchBuilder, readRecord, recordSizeAt, topicAt, withOrigin, withTopic } from '../../src/core/record.js';
import { viewStoredMessage } from '../../src/http/stored-message-view.js';
import { decodeFileProgress } from '../../src/inputs/file.js';
import { decodeFileKey } from '../../src/inputs/file-key.js';
import { PublishEncoder } from '../../src/wire/publish-encoder.js';
import type { FuzzTarget } from './fuzz.js';
import { type ByteText, damaged, fromBytes, toBytes } from './mutation.js';
import { weighted } from './weighted.js';

export interface RecordsCase {
  bytes: ByteText;
}

const properties = fc.record(
  {
    payloadIsText: fc.boolean(),
    contentType: fc.constantFrom('text/plain', ''),
    responseTopic: fc.constant('a/b'),
    correlationData: fc.uint8Array({ maxLength: 6 }),
    userProperties: fc.array(fc.tuple(fc.constantFrom('a', '\u00e9'), fc.constant('b')), { maxLength: 2 }),
  },
  { requiredKeys: [] },
);
const message = fc.record({
  topic: fc.constantFrom('a', 'plant/1', '\u00e9', 'x'.repeat(300)),
  payload: fc.uint8Array({ maxLength: 40 }),
  qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
  retain: fc.boolean(),
  lane: fc.constant<Lane>('telemetry'),
  expirySeconds: fc.constantFrom(0, 1, 0xffff_ffff),
  properties,
});
const originKey = fc.constantFrom(undefined, 0, 7, 2 ** 50 + 3, 2 ** 51 + 2 ** 40);

const batch = fc
  .array(fc.tuple(message as fc.Arbitrary<Message>, originKey), { minLength: 1, maxLength: 3 })
  .map((messages) => {
    const builder = new BatchBuilder(64);
    for (const [one, key] of messages) builder.push(one, key);
    return builder.finish();
  });

const SIZES = [
  '\0\0\0\x10',
  '\0\0\0\0',
  '\xff\xff\xff\xff',
  '\x7f\xf0\0\0\0\0\0\0',
  '\x7f\xf8\0\0\0\0\0\0',
  '\0\0\xff\xff',
];

const recordsCase: fc.Arbitrary<RecordsCase> = fc.record({
  bytes: weighted<ByteText>(
    [9, damaged(batch, SIZES, 0.1)],
    [1, fc.uint8Array({ maxLength: 60 }).map(fromBytes)],
    [1, fc.json().map((text) => fromBytes(Buffer.from(text)))],
  ),
});

function check({ bytes }: RecordsCase): string {
  const data = toBytes(bytes);
  const walker = new RecordWalker(data);
  let count = 0;
  while (walker.isAtRecord) {
    checkRecord(data, walker.at, walker.sizeBytes);
    walker.next();
    count++;
    assert.ok(count <= data.length / 16, 'the walk does not end');
  }
  assert.ok(walker.at <= data.length);
  checkView(data);
  // Positions of files are kept in the same database.
  decodeFileProgress(data.toString('latin1'));
  decodeFileKey(data.toString('latin1'));
  if (walker.at === data.length && count > 0) return 'all records';
  return count > 0 ? 'some records' : 'no record';
}

function checkRecord(data: Buffer, at: number, sizeBytes: number): void {
  assert.equal(recordSizeAt(data, at), sizeBytes);
  const record = readRecord(data, at);
  assert.ok(record !== undefined && record.sizeBytes === sizeBytes && at + sizeBytes <= data.length);
  const { topic, payload } = record;
  assert.ok(Buffer.from(topicAt(data, at)).equals(topic));
  try {
    decodeProperties(record.properties);
  } catch (error) {
    assert.ok(error instanceof RangeError, String(error));
  }
  const own = data.subarray(at, at + sizeBytes);
  checkView(own);
  const again = readRecord(withOrigin(own, 5), 0);
  assert.ok(
    again !== undefined && Buffer.from(again.topic).equals(topic) && Buffer.from(again.payload).equals(payload),
  );
  const renamed = readRecord(withTopic(own, 'another/topic'), 0);
  assert.ok(renamed !== undefined && Buffer.from(renamed.payload).equals(payload));
  for (const protocolVersion of [4, 5] as const) checkPublish(data, at, sizeBytes, protocolVersion);
}

/** The PUBLISH has the size that it announces, and stays within the room that was asked for. */
function checkPublish(data: Buffer, at: number, sizeBytes: number, protocolVersion: 4 | 5): void {
  const encoder = new PublishEncoder({
    protocolVersion,
    maximumQos: 2,
    retainAvailable: true,
    cacheId: '0badcafe',
    messageIdProperty: 'id',
  });
  const sizeMax = encoder.sizeMax(sizeBytes);
  const out = Buffer.alloc(sizeMax + 64, 0xee);
  const end = encoder.encode(out, 0, data, at, sizeBytes, 7, true, 9, 2, 2 ** 40);
  assert.ok(end <= sizeMax, `${end} bytes, at most ${sizeMax} were announced`);
  assert.ok(out.subarray(end).every((byte) => byte === 0xee));
  let size = 0;
  let head = 1;
  for (let shift = 0; ; shift += 7) {
    const byte = out[head++]!;
    size += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  assert.equal(head + size, end);
}

function checkView(record: Uint8Array): void {
  const view = viewStoredMessage(
    {
      state: 'quarantined',
      id: 1,
      messageId: 'x',
      lane: 'alert',
      offset: 1,
      acceptedAtMs: 1,
      atMs: undefined,
      code: 'UNMAPPED',
      reason: 'x',
      record,
      count: 1,
    },
    20,
  );
  JSON.stringify(view);
  assert.ok(view.payloadSizeBytes <= record.length);
}

export const records: FuzzTarget<RecordsCase> = { name: 'records', open: () => ({ cases: recordsCase, check }) };
