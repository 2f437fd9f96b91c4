/** What goes wrong in this field: what gets stuck. Each number is a case of that list. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSubject, type Subject } from '../connector/subject.js';
import { isPublish } from '../connector/wire.js';
import { startBlackhole } from '../kit/blackhole.js';
import { eventually, within } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { runCli } from '../kit/process.js';
import { startProxy } from '../kit/proxy.js';
import { type ScriptedBrokerOptions, startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { accept, elementsOf, openScene, untilEmpty } from './scene.js';

/** How long a broker is away, on a clock that the test drives. */
const OUTAGE_MS = 10_000;

function dials({ states }: Subject): number {
  return states.filter((state) => state === 'dialing').length;
}

test('field 14: one message with a bad topic, one too large and one not allowed neither block the others nor loop the connection', async (t) => {
  const broker = await startMosquitto({ acl: 'topic readwrite open/#', messageSizeLimit: 5000 });
  t.after(() => broker.kill());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const { service } = await openScene(t, { settings: { url: broker.url, qos: 2 } });
  const good = elementsOf(30, 'open/t');
  const bad = [
    { topic: 'closed/t', payload: 'not allowed' },
    { topic: 'open/t', payload: 'x'.repeat(6000) },
  ];
  await accept(service, [
    ...good.slice(0, 10),
    ...bad,
    { topic: 'open/+/t', payload: 'a wildcard' },
    ...good.slice(10),
  ]);
  await untilEmpty(service);
  await subscriber.waitFor(30);
  assert.deepEqual(
    subscriber.texts(),
    good.map(({ payload }) => payload),
  );
  const status = await service.until('plant', ({ cache }) => cache.quarantinedCount === 3, 'three in quarantine');
  assert.equal((status as { reconnects?: number }).reconnects, 0);
  const listed = (await service.get('/api/connectors/plant/cache?state=quarantined')) as {
    messages: { code: string }[];
  };
  assert.deepEqual(listed.messages.map(({ code }) => code).sort(), [
    'PUBLISH_NOT_AUTHORIZED',
    'PUBLISH_REFUSED',
    'TOPIC_INVALID',
  ]);
});

test('field 15: a socket that drops while nothing is acknowledged ends neither sending nor stopping', async (t) => {
  const broker = await startScriptedBroker({
    onPacket: ({ cmd }, peer) => {
      if (cmd !== 'publish' || peer.number > 2) return 'default';
      peer.reset();
      return undefined;
    },
  });
  t.after(() => broker.close());
  const subject = await openSubject(t, { url: broker.url, qos: 1 });
  await subject.send('1', '2', '3');
  const status = await subject.untilEmpty();
  assert.equal(status.counts.telemetry.published, 3);
  assert.equal(status.cache.quarantinedCount, 0);
  broker.options = {
    onPacket: ({ cmd }, peer) => {
      if (cmd === 'publish') setImmediate(() => peer.reset());
      return cmd === 'publish' ? undefined : 'default';
    },
  };
  await subject.send('4');
  await eventually(() => broker.packets.filter(isPublish).some(({ payload }) => `${payload}` === '4'), 'it to be sent');
  await within(subject.close(), 'the connector to stop');
});

test('field 16: a peer that closes before CONNACK is tried again, and "test connection" answers', async (t) => {
  const tlsPort = await startMosquitto({ tls: true });
  t.after(() => tlsPort.kill());
  const balancer = await startScriptedBroker({ behaviour: 'closing' });
  t.after(() => balancer.close());
  for (const port of [tlsPort.tlsPort, balancer.port]) {
    const url = `mqtt://127.0.0.1:${port}`;
    const { service, folder } = await openScene(t, { settings: { url } });
    await service.until('plant', ({ description }) => /, (?!second)\S+ attempt/.test(description), 'a third attempt');
    const tested = await service.post('/api/connectors/plant/test', {});
    assert.equal(tested.status, 200);
    const report = (await tested.json()) as { ok: boolean; error: { code: string; remedy: string } };
    assert.deepEqual([report.ok, report.error.code], [false, 'BROKER_CLOSED']);
    assert.match(report.error.remedy, /TLS port/);
    const cli = await runCli(['test', '-c', folder.configFile], { cwd: folder.folder });
    assert.equal(cli.code, 1);
    assert.match(cli.stdout, /BROKER_CLOSED/);
    assert.deepEqual(await service.stop(), { code: 0, signal: null });
  }
});

const MUTE: readonly [string, ScriptedBrokerOptions, string][] = [
  ['accepts TCP and says nothing', { behaviour: 'silent' }, 'BROKER_TIMEOUT'],
  [
    'answers pings and acknowledges nothing',
    { onPacket: ({ cmd }) => (cmd === 'publish' ? undefined : 'default') },
    'ACK_OVERDUE',
  ],
];

for (const [name, options, code] of MUTE) {
  test(`field 17: a broker that ${name} is given up, and everything arrives at the next one`, async (t) => {
    const broker = await startScriptedBroker(options);
    t.after(() => broker.close());
    const settings = {
      url: broker.url,
      connectTimeout: 300,
      ackTimeout: 1000,
      keepalive: 1,
      protocolVersion: '5',
    } as const;
    const subject = await openSubject(t, settings);
    await subject.send('1', '2');
    await subject.untilFailed(code);
    if (code === 'ACK_OVERDUE')
      assert.ok(
        broker.packets.some(({ cmd }) => cmd === 'pingreq'),
        'pings were answered',
      );
    broker.options = {};
    const status = await subject.untilEmpty();
    assert.equal(status.counts.telemetry.published, 2);
    assert.equal(status.cache.quarantinedCount, 0);
  });
}

test('field 17: a broker that reads no more, so that the socket never drains, is given up, and everything arrives later', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const proxy = await startProxy({ targetPort: broker.port });
  t.after(() => proxy.close());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: proxy.url, qos: 2, ackTimeout: 1000 });
  await subject.untilOnline();
  proxy.stall('toBroker');
  const texts = Array.from({ length: 20 }, (_, index) => `${index} ${'x'.repeat(1024 * 1024)}`);
  await subject.send(...texts);
  await subject.untilFailed('ACK_OVERDUE');
  proxy.resume('toBroker');
  proxy.cut();
  await subscriber.waitFor(20, 30_000);
  await subject.untilEmpty();
  assert.deepEqual(subscriber.texts(), texts);
});

test('field 17: a socket that never drains is noticed also where nothing is to be acknowledged', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const proxy = await startProxy({ targetPort: broker.port });
  t.after(() => proxy.close());
  const subject = await openSubject(t, { url: proxy.url, qos: 0, ackTimeout: 1000, keepalive: 0 });
  await subject.untilOnline();
  proxy.stall('toBroker');
  await subject.send(...Array.from({ length: 20 }, () => 'x'.repeat(1024 * 1024)));
  const error = await subject.untilFailed('ACK_OVERDUE');
  assert.match(error.message, /takes no more bytes/);
});

test('field 18: an outage makes no storm: one attempt a period, no timers that pile up, a line in the log and not one per attempt', async (t) => {
  const refusing = `mqtt://127.0.0.1:${await freePort()}`;
  const closing = await startScriptedBroker({ behaviour: 'closing' });
  t.after(() => closing.close());
  for (const url of [refusing, closing.url]) {
    const clock = new ManualClock();
    const subject = await openSubject(t, { url, reconnectPeriod: 5000, protocolVersion: '5' }, { clock });
    for (let attempt = 1; attempt <= 100; attempt++) {
      await eventually(
        () => subject.failures.length === attempt && subject.states.at(-1) === 'waiting',
        `end ${attempt}`,
      );
      assert.ok(clock.waitsMs.length <= 4, `${clock.waitsMs.length} timers wait`);
      clock.advance(4999);
      assert.equal(dials(subject), attempt, 'an attempt before its time');
      clock.advance(1);
      assert.equal(dials(subject), attempt + 1);
    }
    assert.equal(subject.log.length, 1, subject.log.join('\n'));
  }
  assert.ok(closing.peers.length <= 101, `${closing.peers.length} connections in 100 periods`);
});

test('field 19: there is never more than one connection, however often it is started, stopped and dropped', async (t) => {
  let openMax = 0;
  const broker = await startScriptedBroker({
    onConnection: () => {
      openMax = Math.max(
        openMax,
        broker.peers.filter(({ socket }) => !socket.destroyed && !socket.readableEnded).length,
      );
    },
  });
  t.after(() => broker.close());
  const subject = await openSubject(t, { url: broker.url, reconnectPeriod: 100 });
  const { connector } = subject;
  for (let round = 0; round < 20; round++) {
    connector.start();
    if (round % 4 === 0) await subject.untilOnline();
    const stop = connector.stop(1000);
    connector.start();
    if (round % 3 === 0) broker.peers.at(-1)?.reset();
    connector.start();
    await within(stop, 'the stop');
  }
  await subject.untilOnline();
  assert.equal(openMax, 1);
  assert.ok(broker.peers.length > 5, `${broker.peers.length} connections were made`);
});

/** Sockets of this process that keep it alive, those that are being dialled included. */
function socketsCount(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'TCPSocketWrap').length;
}

test('field 19: a connector that was stopped while it dialled does not end up connected', async (t) => {
  const blackhole = await startBlackhole();
  t.after(() => blackhole.close());
  const before = socketsCount();
  const subject = await openSubject(t, { url: `mqtt://127.0.0.1:${blackhole.port}`, connectTimeout: '60 s' });
  await subject.send('x');
  await eventually(() => socketsCount() === before + 1, 'the dial to begin');
  await within(subject.connector.stop(1000), 'the stop');
  await eventually(() => socketsCount() === before, 'the dial to be given up');
  const statesCount = subject.states.length;
  // Whoever still tries gets through now.
  blackhole.release();
  const other = await openSubject(t, { url: `mqtt://127.0.0.1:${blackhole.port}`, connectTimeout: '10 s' });
  await eventually(() => other.states.includes('handshaking'), 'another client to get through', 15_000);
  assert.equal((await subject.status()).state, 'stopped');
  assert.equal(subject.states.length, statesCount);
});

test('field 20: a backlog goes out no faster than the rate limit, also after an outage, and without a limit it drains', async (t) => {
  const broker = await startScriptedBroker();
  t.after(() => broker.close());
  const clock = new ManualClock();
  const messagesPerSecond = 50;
  const settings = { url: broker.url, rateLimit: { messagesPerSecond }, reconnectPeriod: OUTAGE_MS, keepalive: 0 };
  const limited = await openSubject(t, settings, { clock, isStopped: true });
  const elements = elementsOf(500);
  await limited.send(...elements);
  limited.connector.start();
  await limited.untilOnline();
  const arrived = (): string[] => broker.packets.filter(isPublish).map(({ payload }) => payload.toString());
  const goOn = async (seconds: number, when: string): Promise<void> => {
    const before = arrived().length;
    for (let step = 1; step <= seconds * 10; step++) {
      clock.advance(100);
      await limited.until(({ inflight }) => inflight === 0, 'what was sent to be acknowledged');
      const count = arrived().length - before;
      // A fifth of a second's worth may go out at once, whatever time has passed before.
      const most = (messagesPerSecond * (step + 2)) / 10 + 1;
      assert.ok(count <= most, `${count} in ${step * 100} ms ${when}, at most ${most} are allowed`);
    }
    const count = arrived().length - before;
    assert.ok(count >= messagesPerSecond * (seconds - 1), `${count} in ${seconds} s ${when}`);
  };
  await goOn(2, 'after the start');
  broker.peers[0]?.reset();
  await limited.until(({ state }) => state === 'waiting', 'the loss to be noticed');
  clock.advance(OUTAGE_MS);
  await limited.untilOnline();
  assert.equal(broker.peers.length, 2);
  await goOn(3, 'after the reconnect');
  assert.deepEqual(
    arrived(),
    elements.slice(0, arrived().length).map(({ payload }) => payload),
    'in order, and none twice',
  );
  await limited.close();

  const free = await openSubject(t, { url: broker.url }, { isStopped: true });
  await free.send(...elementsOf(20_000));
  free.connector.start();
  const status = await free.untilEmpty(30_000);
  assert.equal(status.counts.telemetry.published, 20_000);
});

/** The API removes from quarantine alone: of what waits or is on its way, nobody can take anything away. */
test('field 21: a quarantined message that is removed just as it is given back to be sent is either removed or sent, and a waiting one stays', async (t) => {
  let refuses = true;
  const broker = await startScriptedBroker({
    onPacket: (packet, peer) => {
      if (!isPublish(packet) || !refuses) return 'default';
      peer.send({ cmd: 'puback', messageId: packet.messageId ?? 0, reasonCode: 0x99 });
      return undefined;
    },
  });
  t.after(() => broker.close());
  const { service } = await openScene(t, { settings: { url: broker.url } });
  await accept(service, elementsOf(200));
  await service.until('plant', ({ cache }) => cache.quarantinedCount === 200, 'all to be refused');
  refuses = false;
  const cachePath = '/api/connectors/plant/cache';
  const { messages } = (await service.get(`${cachePath}?state=quarantined&limit=200`)) as {
    messages: { id: number; payloadText: string }[];
  };
  assert.equal(messages.length, 200);
  const countOf = async (answer: Response): Promise<number> => {
    assert.equal(answer.status, 200);
    return ((await answer.json()) as { count: number }).count;
  };
  const ask = async (action: 'retry' | 'remove', id: number): Promise<number> =>
    countOf(await service.post(`${cachePath}/${action}`, { ids: [id] }));
  // Both at once for each. Of every other one the removal is asked for first, so that either meets the other.
  const outcomes = await Promise.all(
    messages.map(async ({ id, payloadText: payload }, index) => {
      const isRemovalFirst = index % 2 === 0;
      const [one, other] = await Promise.all(
        isRemovalFirst ? [ask('remove', id), ask('retry', id)] : [ask('retry', id), ask('remove', id)],
      );
      const [removed, retried] = isRemovalFirst ? [one, other] : [other, one];
      assert.equal(removed + retried, 1, `message ${payload} was removed ${removed} and given back ${retried} times`);
      return { payload, isRetried: retried === 1 };
    }),
  );
  const retried = outcomes.filter(({ isRetried }) => isRetried).map(({ payload }) => payload);
  t.diagnostic(`${retried.length} of 200 were given back, the others removed`);
  assert.ok(retried.length > 0 && retried.length < 200, `${retried.length} were given back: neither met the other`);
  await untilEmpty(service);
  const isGone = ({ cache }: { cache: { quarantinedCount: number } }): boolean => cache.quarantinedCount === 0;
  await service.until('plant', isGone, 'nothing in quarantine');

  // What is on its way has no id that could be removed; the ids of quarantine are not taken for its offsets.
  broker.options = { onPacket: ({ cmd }) => (cmd === 'publish' ? undefined : 'default') };
  await accept(service, [{ topic: 't', payload: 'later' }]);
  const sent = (): string[] => broker.packets.filter(isPublish).map(({ payload }) => payload.toString());
  await eventually(() => sent().at(-1) === 'later', 'the last one to be sent');
  const ids = Array.from({ length: 500 }, (_, index) => index + 1);
  assert.equal(await countOf(await service.post(`${cachePath}/remove`, { ids })), 0);
  broker.options = {};
  broker.peers.at(-1)?.reset();
  await untilEmpty(service);
  const afterwards = sent().slice(200);
  const [last, again] = afterwards.splice(retried.length);
  assert.deepEqual(
    afterwards.sort(),
    retried.sort(),
    'what was given back is sent, once, and nothing that was removed',
  );
  assert.deepEqual([last, again], ['later', 'later'], 'it is sent again after the loss, removed by nobody');
  assert.equal(service.process.end, undefined);
});

test('field 22: a start reads of a large backlog only what it is about to send', {
  skip: !existsSync('/proc/self/io'),
}, async (t) => {
  const broker = await startScriptedBroker({ onPacket: ({ cmd }) => (cmd === 'publish' ? undefined : 'default') });
  t.after(() => broker.close());
  const caching = { maxSize: '1 GiB' };
  const former = await openSubject(t, { url: broker.url }, { isStopped: true, caching });
  const payload = 'x'.repeat(20_000);
  for (let batch = 0; batch < 80; batch++) {
    await former.send(...Array.from({ length: 50 }, (_, index) => `${batch * 50 + index} ${payload}`));
  }
  await former.close();
  const storedBytes = statSync(join(former.folder, 'cache.db')).size;
  assert.ok(storedBytes > 70_000_000, `${storedBytes} bytes are stored`);
  const readBytes = (): number => Number(/rchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
  const before = readBytes();
  const subject = await openSubject(t, { url: broker.url }, { folder: former.folder, caching });
  const status = await subject.until(({ inflight, window }) => window > 0 && inflight >= window * 0.7, 'a full window');
  const taken = readBytes() - before;
  assert.equal(status.cache.waitingCounts.telemetry, 4000);
  assert.ok(taken < storedBytes / 4, `${taken} of ${storedBytes} bytes were read before the window was full`);
  await subject.close(200);
});
