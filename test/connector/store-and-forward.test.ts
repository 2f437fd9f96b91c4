import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readRecord } from '../../src/core/record.js';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startProxy } from '../kit/proxy.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject, type Subject } from './subject.js';

function accept(subject: Subject, payloads: readonly string[], idempotencyKey?: string) {
  const elements = payloads.map((payload) => ({ topic: 't', payload }));
  const options = { source: 'test', ...(idempotencyKey === undefined ? {} : { idempotencyKey }) };
  return subject.connector.accept({ type: 'messages', elements }, options);
}

test('an alert and a command overtake a backlog of telemetry, each lane in its own order', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const proxy = await startProxy({ targetPort: broker.port });
  t.after(() => proxy.close());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: proxy.url, qos: 1 });
  await subject.untilOnline();
  // A slow line: the window is in flight, the rest waits.
  proxy.delayMs = 20;
  const backlog = Array.from({ length: 5000 }, (_, index) => `${index}`);
  await accept(subject, backlog);
  await subscriber.waitFor(200);
  await subject.send(
    { topic: 'alert', payload: 'a1', lane: 'alert' },
    { topic: 'alert', payload: 'a2', lane: 'alert' },
    { topic: 'command', payload: 'c1', lane: 'command' },
    { topic: 'command', payload: 'c2', lane: 'command' },
  );
  await subscriber.waitFor((messages) => messages.filter(({ topic }) => topic !== 't').length === 4);
  const status = await subject.status();
  const waiting = status.cache.waitingCounts.telemetry;
  assert.ok(waiting > 1000, `only ${waiting} messages of telemetry still wait`);
  proxy.delayMs = 0;
  await subject.untilEmpty(30_000);
  await subscriber.waitFor(5004);
  assert.deepEqual(subscriber.texts('t'), backlog);
  assert.deepEqual(subscriber.texts('alert'), ['a1', 'a2']);
  assert.deepEqual(subscriber.texts('command'), ['c1', 'c2']);
});

test('after an outage the lanes go out from the highest to the lowest', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: broker.url, inflightMax: 1 }, { isStopped: true });
  for (const payload of ['t1', 't2']) await subject.send({ topic: 'x', payload });
  for (const payload of ['a1', 'a2']) await subject.send({ topic: 'x', payload, lane: 'alert' });
  for (const payload of ['c1', 'c2']) await subject.send({ topic: 'x', payload, lane: 'command' });
  subject.connector.start();
  await subscriber.waitFor(6);
  assert.deepEqual(subscriber.texts(), ['c1', 'c2', 'a1', 'a2', 't1', 't2']);
});

test('a full cache refuses what is new with CACHE_FULL, and takes it again when it has drained', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const proxy = await startProxy({ targetPort: broker.port });
  t.after(() => proxy.close());
  await proxy.refuse();
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: proxy.url }, { caching: { maxSize: '2 MiB' } });
  const accepted: string[] = [];
  const large = 'x'.repeat(50_000);
  await assert.rejects(
    async () => {
      for (let index = 0; index < 100; index++) {
        await accept(subject, [`${index} ${large}`]);
        accepted.push(`${index} ${large}`);
      }
    },
    { code: 'CACHE_FULL' },
  );
  assert.ok(accepted.length >= 5, `only ${accepted.length} were taken`);
  const full = await subject.status();
  assert.ok(full.cache.sizeBytes <= 2 * 1024 * 1024, `${full.cache.sizeBytes} bytes`);
  assert.equal(full.counts.telemetry.accepted, accepted.length);
  await proxy.accept();
  await subject.untilEmpty();
  await accept(subject, ['again']);
  accepted.push('again');
  await subscriber.waitFor(accepted.length);
  await subject.untilEmpty();
  assert.deepEqual(subscriber.texts(), accepted);
});

test('of very many requests at once to a cache that fills up, each is either stored or refused', async (t) => {
  const url = `mqtt://127.0.0.1:${await freePort()}`;
  const subject = await openSubject(t, { url }, { caching: { maxSize: '1 MiB' }, isStopped: true });
  const payload = 'x'.repeat(400);
  const results = await Promise.allSettled(
    Array.from({ length: 5000 }, (_, index) => accept(subject, [`${index} ${payload}`])),
  );
  const stored = results.filter(({ status }) => status === 'fulfilled').length;
  const codes = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
  assert.ok(stored > 100 && stored < 4900, `${stored} of 5000 were stored`);
  assert.deepEqual(new Set(codes), new Set(['CACHE_FULL']));
  const { cache, counts } = await subject.status();
  assert.equal(cache.waitingCounts.telemetry, stored);
  assert.equal(counts.telemetry.accepted, stored);
  assert.ok(cache.sizeBytes <= 1024 * 1024, `${cache.sizeBytes} bytes`);
});

test('with drop-oldest a full cache lets go of the oldest telemetry, counts and logs it, and never of alerts', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const caching = { maxSize: '2 MiB', onFull: 'drop-oldest' } as const;
  const subject = await openSubject(t, { url: broker.url }, { caching, isStopped: true });
  await subject.send({ topic: 'alert', payload: 'first', lane: 'alert' });
  const large = 'x'.repeat(50_000);
  const payloads = Array.from({ length: 80 }, (_, index) => `${index} ${large}`);
  for (const payload of payloads) await accept(subject, [payload]);
  const { dropped } = (await subject.status()).counts.telemetry;
  assert.ok(dropped > 20 && dropped < 80, `${dropped} dropped`);
  assert.ok(
    subject.log.some((line) => /^warn .*dropped/.test(line)),
    subject.log.join(' | '),
  );
  subject.connector.start();
  await subject.untilEmpty();
  await subscriber.waitFor(80 - dropped + 1);
  assert.deepEqual(subscriber.texts('t'), payloads.slice(dropped));
  assert.deepEqual(subscriber.texts('alert'), ['first']);
});

test('the same idempotency key gives the same receipt and publishes once, also after a restart', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: broker.url });
  const receipt = await accept(subject, ['1', '2'], 'batch-7');
  assert.deepEqual(await accept(subject, ['1', '2'], 'batch-7'), receipt);
  const both = await Promise.all([accept(subject, ['3'], 'batch-8'), accept(subject, ['3'], 'batch-8')]);
  assert.deepEqual(both[0], both[1]);
  await assert.rejects(accept(subject, ['other'], 'batch-7'), { code: 'IDEMPOTENCY_KEY_REUSED' });
  await subject.close();
  const again = await openSubject(t, { url: broker.url }, { folder: subject.folder });
  assert.deepEqual(await accept(again, ['1', '2'], 'batch-7'), receipt);
  assert.notEqual((await accept(again, ['1', '2'])).receipt, receipt.receipt);
  await again.untilEmpty();
  await subscriber.waitFor(5);
  assert.deepEqual(subscriber.texts(), ['1', '2', '3', '1', '2']);
  assert.equal((await again.status()).counts.telemetry.accepted, 2, 'what is replayed is not counted');
});

test('a key is forgotten after its time', async (t) => {
  let shiftMs = 0;
  const { systemClock } = await import('../../src/core/clock.js');
  const clock = { ...systemClock(), wallMs: () => Date.now() + shiftMs };
  const url = `mqtt://127.0.0.1:${await freePort()}`;
  const subject = await openSubject(t, { url }, { clock, idempotencyRetentionMs: 60_000, isStopped: true });
  const receipt = await accept(subject, ['x'], 'key');
  shiftMs = 59_000;
  assert.deepEqual(await accept(subject, ['x'], 'key'), receipt);
  shiftMs = 61_000;
  assert.notEqual((await accept(subject, ['y'], 'key')).receipt, receipt.receipt);
});

test('the archive shows what was published while it is enabled, and nothing otherwise', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  for (const enabled of [true, false]) {
    const subject = await openSubject(t, { url: broker.url, qos: 2 }, { caching: { archive: { enabled } } });
    await subject.send({ topic: 'a/1', payload: 'one' }, { topic: 'a/2', payload: 'two' });
    const status = await subject.untilEmpty();
    const { messages } = await subject.connector.list({ state: 'archived', limit: 10 });
    const shown = messages.map(({ record }) => {
      const view = readRecord(record, 0);
      return [view?.topic, view?.payload].map((bytes) => Buffer.from(bytes ?? []).toString());
    });
    assert.deepEqual(
      shown.sort(),
      enabled
        ? [
            ['a/1', 'one'],
            ['a/2', 'two'],
          ]
        : [],
    );
    assert.equal(status.cache.archivedCount, enabled ? 2 : 0);
    if (enabled) {
      const { messages: found } = await subject.connector.list({ state: 'archived', topic: 'a/2', limit: 10 });
      assert.equal(found.length, 1);
    }
  }
});

test('the cache is found again with its own name after a restart, and says what waits', async (t) => {
  const url = `mqtt://127.0.0.1:${await freePort()}`;
  const subject = await openSubject(t, { url });
  await accept(subject, ['1', '2', '3']);
  const before = (await subject.status()).cache;
  assert.equal(before.waitingCounts.telemetry, 3);
  assert.ok((before.oldestAcceptedAtMs ?? 0) > Date.now() - 60_000);
  await subject.close();
  const again = await openSubject(t, { url }, { folder: subject.folder });
  const after = (await again.status()).cache;
  assert.equal(after.cacheId, before.cacheId);
  assert.deepEqual(after.waitingCounts, before.waitingCounts);
  assert.equal(after.oldestAcceptedAtMs, before.oldestAcceptedAtMs);
  const { messages } = await again.connector.list({ state: 'waiting', limit: 10 });
  assert.deepEqual(
    messages.map(({ offset }) => offset),
    [0, 1, 2],
  );
  await eventually(() => again.failures.length > 0, 'it to try to connect');
});
