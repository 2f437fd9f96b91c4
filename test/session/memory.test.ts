import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BatchQueue } from '../../src/session/batch-queue.js';
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
