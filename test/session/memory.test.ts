import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Batch } from '../../src/cache/store.js';
import { BatchBuilder, readRecord } from '../../src/core/record.js';
import { BatchQueue } from '../../src/session/batch-queue.js';
import { LaneCursor } from '../../src/session/lane-cursor.js';
import { Stage } from './stage.js';

test('what is accepted while everything before it is in memory goes out without being read', () => {
  const stage = new Stage({ offersMemory: true });
  stage.online({ properties: { receiveMaximum: 10 } });
  for (let i = 0; i < 5; i++) stage.accept('telemetry', 20);
  const published = stage.publishedKeys();
  while (published.length < 100) {
    stage.acknowledge('puback', published.slice(-8));
    const more = stage.publishedKeys();
    assert.ok(more.length > 0, `nothing follows ${published.length} messages`);
    published.push(...more);
  }
  assert.deepEqual(
    published,
    Array.from({ length: 100 }, (_, i) => `t${i}`),
  );
  assert.equal(stage.readCount, 0);
});

test('what was accepted without a connection is read, and what follows it comes from memory again', () => {
  const stage = new Stage({ offersMemory: true });
  stage.accept('telemetry', 3);
  assert.equal(stage.session.isUpTo('telemetry'), false);
  stage.online();
  assert.deepEqual(stage.publishedKeys(), ['t0', 't1', 't2']);
  assert.equal(stage.readCount, 1);
  assert.equal(stage.session.isUpTo('telemetry'), true);
  stage.accept('telemetry', 2);
  assert.deepEqual(stage.publishedKeys(), ['t3', 't4']);
  assert.equal(stage.readCount, 1);
});

test('what is accepted while a read is under way is read after it, each message once and in order', () => {
  const stage = new Stage({ offersMemory: true });
  stage.accept('telemetry', 3);
  stage.isHoldingReads = true;
  stage.online();
  stage.accept('telemetry', 3);
  stage.isHoldingReads = false;
  stage.accept('telemetry', 3);
  assert.deepEqual(
    stage.publishedKeys(),
    Array.from({ length: 9 }, (_, i) => `t${i}`),
  );
});

test('a batch that was read may begin before the end of what came from memory, and no message is taken for another', () => {
  const batchOf = (firstOffset: number, count: number): Batch => {
    const builder = new BatchBuilder();
    for (let i = 0; i < count; i++) {
      const offset = firstOffset + i;
      const payload = Buffer.from('x'.repeat(offset % 7) + offset);
      builder.push({ topic: 't', payload, qos: 1, retain: false, lane: 'telemetry', expirySeconds: 0 });
    }
    return { lane: 'telemetry', firstOffset, count, acceptedAtMs: 0, data: builder.finish() };
  };
  const cursor = new LaneCursor('telemetry');
  cursor.end = 60;
  cursor.loadOffered([batchOf(0, 10), batchOf(10, 5)], 1000);
  cursor.load([batchOf(4, 30), batchOf(8, 20), batchOf(30, 30)]);
  for (let offset = 0; offset < 60; offset++) {
    const { batch } = cursor;
    assert.ok(batch !== undefined, `${offset} is not there`);
    const { payload } = readRecord(batch.data, cursor.recordAt)!;
    assert.equal(Number(/[0-9]+$/.exec(Buffer.from(payload).toString())?.[0]), offset);
    cursor.skip();
  }
  assert.equal(cursor.batch, undefined);
});

test('a long queue of batches gives them in their order and counts their bytes', () => {
  const queue = new BatchQueue();
  const batchOf = (firstOffset: number) => ({
    lane: 'telemetry' as const,
    firstOffset,
    count: 1,
    acceptedAtMs: 0,
    data: new Uint8Array(10),
  });
  let next = 0;
  for (let offset = 0; offset < 10_000; offset++) {
    queue.push(batchOf(offset));
    if (offset % 3 === 0) continue;
    assert.equal(queue.first?.firstOffset, next++);
    queue.shift();
  }
  assert.equal(queue.last?.firstOffset, 9999);
  assert.equal(queue.sizeBytes, (10_000 - next) * 10);
  for (; queue.first !== undefined; queue.shift()) assert.equal(queue.first.firstOffset, next++);
  assert.equal(next, 10_000);
  assert.equal(queue.sizeBytes, 0);
  assert.equal(queue.last, undefined);
});
