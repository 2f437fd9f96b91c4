import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startMosquitto } from '../kit/mosquitto.js';
import { startProxy } from '../kit/proxy.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject } from './subject.js';

const REQUESTS = 100;
const PER_REQUEST = 1000;
const TRANSFORMERS = [{ from: '*', type: 'time-values-to-mqtt' as const, topic: 'plant/{pointId}' }];

function request(number: number): unknown[] {
  return Array.from({ length: PER_REQUEST }, (_, index) => ({
    pointId: `line-${index % 7}/speed`,
    timestamp: new Date(1_760_000_000_000 + number * PER_REQUEST + index).toISOString(),
    data: { value: number * PER_REQUEST + index },
  }));
}

function numberIn(text: string): number {
  const { value } = JSON.parse(text) as { value: number };
  return value;
}

test('100,000 time-values at QoS 1 arrive, each of them, while the broker is stopped and started again', async (t) => {
  const broker = await startMosquitto({ persistence: true });
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url, persistentClientId: 'watcher' });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: broker.url, qos: 1 }, { transformers: TRANSFORMERS });
  await subject.untilOnline();

  for (let number = 0; number < REQUESTS; number++) {
    if (number === 20 || number === 60) await broker.stop();
    if (number === 40 || number === 80) await broker.restart();
    const content = { type: 'time-values' as const, elements: request(number) };
    const receipt = await subject.connector.accept(content, { source: 'test' });
    assert.equal(receipt.accepted, PER_REQUEST);
  }
  const status = await subject.untilEmpty(60_000);
  const total = REQUESTS * PER_REQUEST;
  const seen = new Set<number>();
  let looked = 0;
  await subscriber.waitFor((messages) => {
    for (; looked < messages.length; looked++) seen.add(numberIn(messages[looked]!.text));
    return seen.size >= total;
  }, 60_000);
  assert.equal(seen.size, total);
  assert.equal(Math.max(...subscriber.messages.slice(-1000).map(({ text }) => numberIn(text))), total - 1);
  const firsts = [...seen];
  assert.ok(
    firsts.every((value, index) => value === index),
    'in the order of their acceptance',
  );
  assert.equal(status.counts.telemetry.published, total);
  assert.equal(status.counts.telemetry.accepted, total);
  assert.ok(status.reconnects >= 2, `${status.reconnects} reconnects`);
  assert.equal(status.cache.quarantinedCount, 0);
  t.diagnostic(`${subscriber.messages.length - total} duplicates at the subscriber`);
});

test('at QoS 2 each message arrives once through cuts of the network and restarts of the broker', async (t) => {
  const broker = await startMosquitto({ persistence: true });
  t.after(() => broker.stop());
  const proxy = await startProxy({ targetPort: broker.port });
  t.after(() => proxy.close());
  const subscriber = await openSubscriber({ url: broker.url, persistentClientId: 'watcher' });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: proxy.url, qos: 2 });
  const total = 10_000;
  for (let number = 0; number < 10; number++) {
    await subject.send(
      ...Array.from({ length: 1000 }, (_, index) => ({ topic: 't', payload: `${number * 1000 + index}` })),
    );
    const { length } = subscriber.messages;
    await subscriber.waitFor(Math.min(total, length + 100), 20_000);
    if (number % 3 === 2) await broker.restart();
    else proxy.cutAfter(number % 2 === 0 ? 'toBroker' : 'toClient', Math.floor(Math.random() * 500));
  }
  const status = await subject.untilEmpty(30_000);
  await subscriber.waitFor(total, 30_000);
  assert.deepEqual(
    subscriber.texts().map(Number),
    Array.from({ length: total }, (_, index) => index),
  );
  assert.ok(status.reconnects >= 5, `${status.reconnects} reconnects`);
  assert.equal(status.counts.telemetry.possibleDuplicates, 0);
});

test('a broker that swallows everything is noticed, and nothing is lost', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const proxy = await startProxy({ targetPort: broker.port });
  t.after(() => proxy.close());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: proxy.url, qos: 2, ackTimeout: '1 s', connectTimeout: '1 s' });
  await subject.untilOnline();
  proxy.swallow('toBroker');
  await subject.send('1', '2');
  await subject.untilFailed('KEEPALIVE_TIMEOUT');
  proxy.resume('toBroker');
  await subject.send('3');
  await subject.untilEmpty();
  await subscriber.waitFor(3);
  assert.deepEqual(subscriber.texts(), ['1', '2', '3']);
});
