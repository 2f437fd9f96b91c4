import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crc32c } from '../../src/cache/checksum.js';
import { findFragments } from '../../src/cache/fragments.js';
import { countCovered } from '../../src/cache/hole-table.js';
import { Parcel } from '../../src/cache/parcel.js';
import { TopicPattern } from '../../src/cache/topic-pattern.js';
import { BatchBuilder, placeKey, readRecord, topicAt, withOrigin, withTopic } from '../../src/core/record.js';
import { batch, message, record } from './requests.js';

describe('the checksum of records', () => {
  test('is CRC-32C, at every length and place', () => {
    // The check value of the CRC catalogue, and the test vectors of RFC 3720, appendix B.4.
    assert.equal(crc32c(Buffer.from('123456789'), 0, 9), 0xe3069283);
    assert.equal(crc32c(Buffer.alloc(32), 0, 32), 0x8a9136aa);
    assert.equal(crc32c(Buffer.alloc(32, 0xff), 0, 32), 0x62a8ab43);
    assert.equal(crc32c(Buffer.from(Array.from({ length: 32 }, (_, index) => index)), 0, 32), 0x46dd794e);
    const bytes = Buffer.from('..123456789..');
    assert.equal(crc32c(bytes, 2, 11), 0xe3069283);
    assert.equal(crc32c(bytes, 5, 5), 0);
  });
});

describe('a topic pattern', () => {
  const matches = (pattern: string, topic: string) => new TopicPattern(pattern).matches(Buffer.from(topic));

  test('without a star means exactly this topic', () => {
    assert.ok(matches('a/b', 'a/b'));
    for (const other of ['a/bc', 'xa/b', 'a/', '', 'A/b']) assert.ok(!matches('a/b', other), other);
  });

  test('has anything where a star stands, and its parts in their order', () => {
    assert.ok(matches('*', '') && matches('**', 'x'));
    assert.ok(matches('*temp*', 'plant/temperature') && !matches('*temp*', 'plant/pressure'));
    assert.ok(matches('plant/*', 'plant/') && !matches('plant/*', 'plan'));
    assert.ok(matches('*/t1', 'a/b/t1') && !matches('*/t1', 'a/t1/b'));
    assert.ok(matches('a*b*c', 'a1b2c') && !matches('a*b*c', 'acb'));
    assert.ok(!matches('ab*ba', 'aba'), 'the parts do not overlap');
    assert.ok(!matches('a*bc*bc', 'a-bc'));
    assert.ok(matches('*é*', 'caf\u00e9'), 'in any language');
  });
});

describe('a parcel for another thread', () => {
  test('hands over what fills its own buffer and copies what is a part of one', () => {
    const parcel = new Parcel();
    const own = Buffer.allocUnsafeSlow(20_000);
    assert.equal(parcel.add(own), own);
    assert.equal(parcel.add(own), own, 'twice is still one buffer');
    assert.deepEqual(parcel.buffers, [own.buffer]);
    const large = Buffer.allocUnsafeSlow(100_000);
    for (const part of [large.subarray(1), large.subarray(0, 40_000), Buffer.from('pooled')]) {
      const added = parcel.add(part);
      assert.notEqual(added.buffer, part.buffer);
      assert.deepEqual(Buffer.from(added), Buffer.from(part));
    }
    const small = Array.from({ length: 100 }, (_, index) => parcel.add(Buffer.from(`small ${index}`)));
    assert.deepEqual(Buffer.from(small[57]!).toString(), 'small 57');
    assert.ok(parcel.buffers.length < 8, `${parcel.buffers.length} buffers`);
  });
});

describe('ranges', () => {
  test('that overlap are counted once, and only where asked', () => {
    const ranges = [
      { from: 3, to: 6 },
      { from: 10, to: 20 },
    ];
    assert.equal(countCovered(0, 15, ranges), 8);
    assert.equal(countCovered(0, 15, ranges, [{ from: 5, to: 11 }]), 12);
    assert.equal(countCovered(4, 5, ranges, ranges), 1);
    assert.equal(countCovered(6, 10, ranges), 0);
  });
});

describe('a record', () => {
  test('gets an origin and another topic without a change of the rest', () => {
    const builder = new BatchBuilder();
    const properties = { contentType: 'text/plain', userProperties: [['a', 'b'] as const] };
    builder.push({ ...message('alert', 'old/topic', 'payload'), qos: 2, retain: true, expirySeconds: 77, properties });
    const before = builder.finish();
    const after = withTopic(withOrigin(before, placeKey(1, 42)), 'a/quite/different/töpic');
    const [was, is] = [readRecord(before, 0)!, readRecord(after, 0)!];
    assert.equal(Buffer.from(is.topic).toString(), 'a/quite/different/töpic');
    assert.deepEqual(Buffer.from(topicAt(after, 0)), Buffer.from(is.topic));
    assert.equal(is.originKey, placeKey(1, 42));
    assert.equal(is.sizeBytes, after.length);
    for (const part of ['qos', 'retain', 'expirySeconds'] as const) assert.equal(is[part], was[part]);
    for (const part of ['properties', 'payload'] as const)
      assert.deepEqual(Buffer.from(is[part]), Buffer.from(was[part]));
    assert.throws(() => withTopic(Buffer.alloc(5), 'a'), RangeError);
  });
});

describe('the fragments of a damaged batch', () => {
  const texts = ['one', 'two', 'two', 'two', 'three', 'four'];
  const { data } = batch('telemetry', texts);
  const sums = Buffer.alloc(texts.length * 4);
  const starts: number[] = [];
  for (let index = 0, at = 0; index < texts.length; index++) {
    const size = record('telemetry', 't/telemetry', texts[index]!).length;
    sums.writeUInt32LE(crc32c(data, at, at + size), index * 4);
    starts.push(at);
    at += size;
  }
  const damaged = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(data);
    change(bytes);
    return findFragments(bytes, sums)
      .map(({ isReadable, firstIndex, count }) => `${isReadable ? 'good' : 'bad'} ${firstIndex}+${count}`)
      .join(', ');
  };

  test('are told apart by their checksums', () => {
    assert.equal(
      damaged(() => undefined),
      'good 0+6',
    );
    assert.equal(
      damaged((bytes) => bytes.writeUInt8(0, starts[4]! + 30)),
      'good 0+4, bad 4+1, good 5+1',
    );
    assert.equal(
      damaged((bytes) => bytes.writeUInt32BE(9, starts[0]!)),
      'bad 0+1, good 1+5',
    );
    assert.equal(
      damaged((bytes) => bytes.writeUInt32BE(2 ** 31, starts[5]!)),
      'good 0+5, bad 5+1',
    );
    assert.equal(
      damaged((bytes) => bytes.fill(0xff)),
      'bad 0+6',
    );
  });

  test('keep their offsets also among messages that are all the same', () => {
    assert.equal(
      damaged((bytes) => bytes.writeUInt32BE(9, starts[1]!)),
      'good 0+1, bad 1+1, good 2+4',
    );
    assert.equal(
      damaged((bytes) => bytes.writeUInt32BE(9, starts[3]!)),
      'good 0+3, bad 3+1, good 4+2',
    );
  });
});
