import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Clock } from '../../src/core/clock.js';
import { systemClock } from '../../src/core/clock.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { startProxy } from '../kit/proxy.js';
import { openSubscriber, type Subscriber } from '../kit/subscriber.js';
import { openSubject, type SettingsInput } from './subject.js';
import { isPublish, recordedPackets } from './wire.js';

async function startWatched(t: TestContext): Promise<{ url: string; subscriber: Subscriber }> {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  return { url: broker.url, subscriber };
}

test('each message goes out with its own QoS, or with that of the connector, on the wire and at the subscriber', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const own = [
    { topic: 'own/0', payload: 'x', qos: 0 },
    { topic: 'own/1', payload: 'x', qos: 1 },
    { topic: 'own/2', payload: 'x', qos: 2 },
  ];
  const own012 = own.map(({ topic, qos }) => [topic, qos]);
  for (const qos of [0, 1, 2] as const) {
    const subscriber = await openSubscriber({ url: broker.url });
    const proxy = await startProxy({ targetPort: broker.port, record: true });
    const subject = await openSubject(t, { url: proxy.url, qos });
    await subject.send({ topic: 'default', payload: 'x' }, ...own);
    await subscriber.waitFor(4);
    await subject.untilEmpty();
    await subject.close();
    const wanted = [['default', qos], ...own012];
    // The broker hands on a message of QoS 2 only at its PUBREL, so that it may come later than those after it.
    const received = subscriber.messages.map((message) => [message.topic, message.qos]);
    assert.deepEqual(received.sort(), [...wanted].sort());
    const sent = recordedPackets(proxy, 'toBroker');
    assert.deepEqual(
      sent.filter(isPublish).map((packet) => [packet.topic, packet.qos]),
      wanted,
    );
    // At QoS 2 a message is complete only with its PUBREL.
    const qos2Count = wanted.filter(([, each]) => each === 2).length;
    assert.equal(sent.filter(({ cmd }) => cmd === 'pubrel').length, qos2Count);
    const answers = recordedPackets(proxy, 'toClient').map(({ cmd }) => cmd);
    assert.equal(answers.filter((cmd) => cmd === 'puback').length, wanted.filter(([, each]) => each === 1).length);
    assert.equal(answers.filter((cmd) => cmd === 'pubcomp').length, qos2Count);
    await proxy.close();
    await subscriber.close();
  }
});

test('a broker that grants less QoS gets less, and the description says so', async (t) => {
  const broker = await startMosquitto({ maxQos: 1 });
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: broker.url, qos: 2 });
  await subject.send('downgraded');
  await subscriber.waitFor(1);
  const status = await subject.untilEmpty();
  assert.equal(subscriber.messages[0]?.qos, 1);
  assert.equal(status.grant?.maximumQos, 1);
  assert.match(status.description, /at least once: this broker grants QoS 1/);
  assert.match(status.warnings.join(), /grants QoS 1; 2 was asked for/);
});

test('retained messages of connector or message are kept by the broker, others are not', async (t) => {
  const { url } = await startWatched(t);
  for (const retain of [true, false]) {
    const subject = await openSubject(t, { url, retain });
    await subject.send(
      { topic: `${retain}/default`, payload: 'x' },
      { topic: `${retain}/yes`, payload: 'x', retain: true },
      { topic: `${retain}/no`, payload: 'x', retain: false },
      { topic: `${retain}/last`, payload: 'x', retain: true },
    );
    await subject.untilEmpty();
    await subject.close();
    const late = await openSubscriber({ url, topics: `${retain}/#` });
    await late.waitFor((messages) => messages.some(({ topic }) => topic.endsWith('last')));
    const kept = late.messages.map(({ topic }) => topic.replace(`${retain}/`, '')).sort();
    assert.deepEqual(kept, retain ? ['default', 'last', 'yes'] : ['last', 'yes']);
    assert.ok(late.messages.every((message) => message.retain));
    await late.close();
  }
});

test('the topic prefix stands in front of every topic, with one slash between', async (t) => {
  const { url, subscriber } = await startWatched(t);
  const subject = await openSubject(t, { url, topicPrefix: 'site-7/line/' });
  await subject.send({ topic: 'press/speed', payload: '1' });
  await subscriber.waitFor(1);
  assert.deepEqual(
    subscriber.messages.map(({ topic }) => topic),
    ['site-7/line/press/speed'],
  );
});

test('user properties of connector and message, and the message id, arrive under MQTT 5', async (t) => {
  const { url, subscriber } = await startWatched(t);
  const subject = await openSubject(t, {
    url,
    userProperties: { plant: 'A', tag: ['one', 'two'] },
    messageIdProperty: 'message-id',
  });
  const properties = { userProperties: { plant: 'B', shift: 'night' }, contentType: 'text/plain' };
  await subject.send('plain', { topic: 't', payload: 'own', properties });
  await subscriber.waitFor(2);
  const [plain, own] = subscriber.messages.map((message) => message.properties);
  const { cacheId } = (await subject.status()).cache;
  assert.deepEqual({ ...plain?.userProperties }, { plant: 'A', tag: ['one', 'two'], 'message-id': `${cacheId}-t-0` });
  const ownExpected = { tag: ['one', 'two'], plant: 'B', shift: 'night', 'message-id': `${cacheId}-t-1` };
  assert.deepEqual({ ...own?.userProperties }, ownExpected);
  assert.equal(own?.contentType, 'text/plain');
});

/** The wall clock of a connector that can be set forward. */
function openShiftedClock(): Clock & { shiftMs: number } {
  const clock = systemClock();
  const shifted = { ...clock, shiftMs: 0, wallMs: () => clock.wallMs() + shifted.shiftMs };
  return shifted;
}

test('what waited goes out with the seconds that are left of its expiry, and what has expired is counted and not sent', async (t) => {
  const { url, subscriber } = await startWatched(t);
  const clock = openShiftedClock();
  const settings: SettingsInput = { url, messageExpiry: '100 s' };
  const subject = await openSubject(t, settings, { clock, isStopped: true });
  await subject.send(
    'default',
    { topic: 't', payload: 'shorter', properties: { messageExpiry: 30 } },
    { topic: 't', payload: 'longer', properties: { messageExpiry: 1000 } },
  );
  clock.shiftMs = 40_000;
  subject.connector.start();
  await subject.untilEmpty();
  await subscriber.waitFor(2);
  assert.deepEqual(subscriber.texts(), ['default', 'longer']);
  const [first, second] = subscriber.messages.map(({ properties }) => properties.messageExpiryInterval ?? 0);
  // The broker may count a second of its own off.
  assert.ok(first! <= 60 && first! >= 55, `${first}`);
  assert.ok(second! <= 960 && second! >= 955, `${second}`);
  const { counts, cache } = await subject.status();
  assert.equal(counts.telemetry.dropped, 1);
  assert.equal(counts.telemetry.published, 2);
  assert.equal(cache.quarantinedCount, 0);
  assert.ok(
    subject.log.some((line) => line.includes('MESSAGE_EXPIRED')),
    subject.log.join(' | '),
  );
});

test('without an expiry nothing expires, and caching.maxAge sets aside what waited too long', async (t) => {
  const { url, subscriber } = await startWatched(t);
  const clock = openShiftedClock();
  const patient = await openSubject(t, { url }, { clock, isStopped: true });
  await patient.send('for ever');
  clock.shiftMs += 10 * 365 * 86_400_000;
  patient.connector.start();
  await subscriber.waitFor(1);
  assert.equal(subscriber.messages[0]?.properties.messageExpiryInterval, undefined);

  const strict = await openSubject(t, { url }, { clock, isStopped: true, caching: { maxAge: '1 h' } });
  await strict.send('too old');
  clock.shiftMs += 3_600_000;
  await strict.send('fresh');
  strict.connector.start();
  await strict.untilEmpty();
  await subscriber.waitFor(2);
  assert.deepEqual(subscriber.texts(), ['for ever', 'fresh']);
  const { messages } = await strict.connector.list({ state: 'quarantined', limit: 10 });
  assert.deepEqual(
    messages.map(({ code }) => code),
    ['MESSAGE_EXPIRED'],
  );
});
