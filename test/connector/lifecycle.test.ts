import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { startBlackhole } from '../kit/blackhole.js';
import { eventually, within } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startProxy } from '../kit/proxy.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject, type SettingsInput, type Subject } from './subject.js';

/** Stops it where it stands, and shows that a restart on the same folder brings what was accepted. */
async function assertContinues(t: TestContext, subject: Subject, texts: readonly string[]): Promise<void> {
  await within(subject.connector.stop(2000), 'the connector to stop');
  assert.equal((await subject.status()).state, 'stopped');
  const statesCount = subject.states.length;
  await subject.close();
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const next = await openSubject(t, { url: broker.url, qos: 2 }, { folder: subject.folder });
  await subscriber.waitFor(texts.length);
  await next.untilEmpty();
  assert.deepEqual(subscriber.texts(), texts);
  assert.equal(subject.states.length, statesCount, 'it does nothing more after its stop');
}

test('stopped while it dials, it ends and a restart continues', async (t) => {
  const blackhole = await startBlackhole();
  t.after(() => blackhole.close());
  const subject = await openSubject(t, { url: `mqtt://127.0.0.1:${blackhole.port}`, qos: 2 });
  await subject.send('x');
  assert.equal((await subject.status()).state, 'dialing');
  await assertContinues(t, subject, ['x']);
});

test('stopped during the handshake, it ends and a restart continues', async (t) => {
  const broker = await startScriptedBroker({ connack: null });
  t.after(() => broker.close());
  const subject = await openSubject(t, { url: broker.url, qos: 2 });
  await subject.send('x');
  await eventually(() => broker.packets.length === 1, 'CONNECT to arrive');
  await assertContinues(t, subject, ['x']);
  assert.equal(broker.peers.length, 1);
  await eventually(() => broker.peers[0]?.isClosed, 'the connection to be closed');
});

test('stopped while it waits, it ends and a restart continues', async (t) => {
  const subject = await openSubject(t, {
    url: `mqtt://127.0.0.1:${await freePort()}`,
    reconnectPeriod: '300 s',
    qos: 2,
  });
  await subject.send('x');
  await subject.until(({ state }) => state === 'waiting', 'it to wait');
  await assertContinues(t, subject, ['x']);
});

test('stopped online with a full window that nobody acknowledges, it ends at its deadline and a restart continues', async (t) => {
  const broker = await startScriptedBroker({ onPacket: ({ cmd }) => (cmd === 'publish' ? undefined : 'default') });
  t.after(() => broker.close());
  const texts = Array.from({ length: 50 }, (_, index) => `${index}`);
  const subject = await openSubject(t, { url: broker.url, qos: 2 });
  await subject.send(...texts);
  await subject.until(({ inflight }) => inflight >= 15, 'a full window');
  const stopped = subject.connector.stop(300);
  assert.equal((await subject.status()).state, 'draining');
  await within(stopped, 'the connector to stop');
  await assertContinues(t, subject, texts);
});

test('stopped online with a broker that takes no more bytes, it ends and a restart continues', async (t) => {
  const broker = await startMosquitto();
  const proxy = await startProxy({ targetPort: broker.port });
  t.after(() => Promise.all([proxy.close(), broker.stop()]));
  const subject = await openSubject(t, { url: proxy.url, qos: 2 });
  await subject.untilOnline();
  proxy.stall('toBroker');
  const texts = Array.from({ length: 20 }, (_, index) => `${index} ${'x'.repeat(1024 * 1024)}`);
  await subject.send(...texts);
  await subject.until(({ inflight }) => inflight >= 2, 'messages in flight');
  await within(subject.connector.stop(300), 'the connector to stop');
  await assertContinues(t, subject, texts);
});

test('stopped online, it finishes what is in flight, says goodbye and leaves nothing in doubt', async (t) => {
  const broker = await startScriptedBroker();
  t.after(() => broker.close());
  const subject = await openSubject(t, { url: broker.url, qos: 2 });
  await subject.send(...Array.from({ length: 500 }, (_, index) => `${index}`));
  await subject.until(({ counts }) => counts.telemetry.published > 0, 'the first to be published');
  await within(subject.connector.stop(5000), 'the connector to stop');
  const { inflight, counts, cache } = await subject.status();
  assert.equal(inflight, 0);
  assert.equal(counts.telemetry.published + cache.waitingCounts.telemetry, 500, 'nothing is between');
  await eventually(() => broker.packets.at(-1)?.cmd === 'disconnect', 'DISCONNECT to arrive');
  const publishes = broker.packets.filter(({ cmd }) => cmd === 'publish').length;
  assert.equal(publishes, counts.telemetry.published);
  subject.connector.start();
  await subject.untilEmpty();
  assert.equal(broker.packets.filter(({ cmd }) => cmd === 'publish').length, 500, 'nothing went out twice');
});

test('start and stop are idempotent, and a start during a stop wins', async (t) => {
  const broker = await startScriptedBroker();
  t.after(() => broker.close());
  const clock = new ManualClock();
  const subject = await openSubject(t, { url: broker.url, keepalive: '40 s' }, { clock });
  const { connector } = subject;
  connector.start();
  connector.start();
  await subject.untilOnline();
  assert.equal(broker.peers.length, 1);
  const stops = [connector.stop(5000), connector.stop(5000)];
  connector.start();
  await within(Promise.all(stops), 'both stops to end');
  assert.deepEqual(subject.states.slice(-3), ['draining', 'stopped', 'dialing']);
  await eventually(() => broker.peers.length === 2, 'the second connection');
  await subject.untilOnline();
  clock.advance(30_000);
  await eventually(() => broker.packets.some(({ cmd }) => cmd === 'pingreq'), 'the new connection to be looked after');
  await within(Promise.all([connector.stop(5000), connector.stop(5000)]), 'both stops to end');
  assert.equal((await subject.status()).state, 'stopped');
  clock.advance(60_000);
  assert.equal(broker.peers.length, 2);
  let isClosed = false;
  const closing = connector.close(1000).then(() => {
    isClosed = true;
  });
  await within(connector.close(1000), 'the second close to end');
  assert.ok(isClosed, 'the second close waits for the first');
  await closing;
  connector.start();
  assert.equal(broker.peers.length, 2, 'a closed connector does not start');
});

test('a connector that is stopped still accepts, one that is closed does not', async (t) => {
  const subject = await openSubject(t, { url: 'mqtt://127.0.0.1:1' }, { isStopped: true });
  await subject.send('x');
  await subject.connector.stop(100);
  await subject.send('y');
  assert.equal((await subject.status()).cache.waitingCounts.telemetry, 2);
  await subject.close();
  await assert.rejects(subject.send('z'), { code: 'SERVICE_STOPPING' });
});

test('a connector whose cache thread dies says so, refuses what is new, and comes back with a restart', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const threads: Worker[] = [];
  const note = (worker: Worker) => threads.push(worker);
  process.on('worker', note);
  const subject = await openSubject(t, { url: broker.url, qos: 2 });
  process.off('worker', note);
  await subject.send('before');
  await subject.untilEmpty();
  assert.equal(threads.length, 1);
  await threads[0]?.terminate();
  const status = await subject.until(({ state }) => state === 'failed', 'it to be failed');
  assert.match(status.description, /^failed: The thread of the cache failed/);
  assert.equal(status.lastError?.code, 'CACHE_FAILED');
  assert.equal(status.counts.telemetry.published, 1);
  assert.equal(subject.states.at(-1), 'failed');
  assert.ok(
    subject.log.some((line) => line.startsWith('error CACHE_FAILED')),
    subject.log.join(' | '),
  );
  await assert.rejects(subject.send('refused'), { code: 'CACHE_FAILED' });
  subject.connector.start();
  assert.equal((await subject.status()).state, 'failed');
  await within(subject.close(), 'the connector to close');
  const next = await openSubject(t, { url: broker.url, qos: 2 }, { folder: subject.folder });
  await next.send('after');
  await next.untilEmpty();
});

test('a configuration that changes keeps what is queued, in order', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const changes: SettingsInput[] = [
    { url: `mqtt://127.0.0.1:${await freePort()}`, qos: 1 },
    { url: `mqtt://127.0.0.1:${await freePort()}`, qos: 2, clientId: 'another', topicPrefix: 'p/' },
    { url: `ws://127.0.0.1:${await freePort()}/mqtt`, qos: 0 },
    { url: broker.url, qos: 1, protocolVersion: '3.1.1' },
  ];
  let folder: string | undefined;
  for (const [index, settings] of changes.entries()) {
    const subject: Subject = await openSubject(t, settings, folder === undefined ? {} : { folder });
    folder = subject.folder;
    await subject.send({ topic: 't', payload: `${index}` });
    if (index === changes.length - 1) await subject.untilEmpty();
    await subject.close();
  }
  await subscriber.waitFor(4);
  // Each has the topic and the QoS that held when it was accepted.
  assert.deepEqual(subscriber.messages.map(({ topic, text, qos }) => [topic, text, qos]).sort(), [
    ['p/t', '1', 2],
    ['t', '0', 1],
    ['t', '2', 0],
    ['t', '3', 1],
  ]);
});
