import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { connectorSchema } from '../../src/config/connector.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { startProxy } from '../kit/proxy.js';
import { type ScriptedBroker, type ScriptedBrokerOptions, startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject, type SettingsInput } from './subject.js';
import { isConnect, isPublish } from './wire.js';

async function startScript(t: TestContext, options: ScriptedBrokerOptions): Promise<ScriptedBroker> {
  const broker = await startScriptedBroker(options);
  t.after(() => broker.close());
  return broker;
}

test('the client id stays the same over restarts, differs between caches, and can be set', async (t) => {
  const broker = await startScript(t, {});
  const idOf = async (settings: Partial<SettingsInput>, folder?: string): Promise<[string, string]> => {
    const subject = await openSubject(t, { url: broker.url, ...settings }, folder === undefined ? {} : { folder });
    const { grant } = await subject.untilOnline();
    await subject.close();
    const clientId = broker.packets.filter(isConnect).at(-1)?.clientId ?? '';
    assert.equal(grant?.clientId, clientId);
    return [clientId, subject.folder];
  };
  const [first, folder] = await idOf({});
  assert.match(first, /^[A-Za-z0-9-]{10,23}$/, 'a client id that every 3.1.1 broker has to take');
  assert.equal((await idOf({}, folder))[0], first);
  assert.equal((await idOf({ qos: 0 }, folder))[0], first);
  assert.notEqual((await idOf({}))[0], first);
  assert.equal((await idOf({ clientId: 'press-line-7' }, folder))[0], 'press-line-7');
});

test('a ping goes out before the keep-alive is over, ours or the one that the broker sets', async (t) => {
  const cases: [SettingsInput['keepalive'], ScriptedBrokerOptions['connack'], number | undefined][] = [
    ['40 s', {}, 40],
    ['40 s', { properties: { serverKeepAlive: 10 } }, 10],
    [0, {}, undefined],
  ];
  for (const [keepalive, connack, seconds] of cases) {
    const broker = await startScript(t, { connack: connack! });
    const clock = new ManualClock();
    const subject = await openSubject(t, { url: broker.url, keepalive: keepalive! }, { clock });
    const status = await subject.untilOnline();
    assert.equal(status.grant?.keepaliveSeconds, seconds ?? 0);
    const pings = () => broker.packets.filter(({ cmd }) => cmd === 'pingreq').length;
    assert.equal(broker.packets.filter(isConnect)[0]?.keepalive, keepalive === 0 ? 0 : 40);
    if (seconds === undefined) clock.advance(3_600_000);
    else {
      for (let count = 1; count <= 3; count++) {
        clock.advance(seconds * 750 - 1);
        assert.equal(pings(), count - 1);
        clock.advance(1);
        await eventually(
          () => pings() === count,
          () => `ping ${count}; there were ${pings()}`,
        );
        // What is acknowledged after the ping says that its answer is in, before time goes on.
        await subject.send('after the ping');
        await subject.until(({ counts }) => counts.telemetry.published === count, 'the answer');
      }
    }
    assert.equal(pings(), seconds === undefined ? 0 : 3);
    assert.equal(broker.peers.length, 1, 'one connection all the time');
    await subject.close();
  }
});

test('a broker that answers no ping is left and dialled again', async (t) => {
  const broker = await startScript(t, { onPacket: ({ cmd }) => (cmd === 'pingreq' ? undefined : 'default') });
  const clock = new ManualClock();
  const subject = await openSubject(t, { url: broker.url, keepalive: '40 s' }, { clock });
  await subject.untilOnline();
  clock.advance(30_000);
  await eventually(() => broker.packets.some(({ cmd }) => cmd === 'pingreq'), 'a ping');
  clock.advance(40_000);
  await subject.untilFailed('KEEPALIVE_TIMEOUT');
  clock.advance(0);
  await eventually(() => broker.peers.length === 2, 'a second connection');
});

test('an acknowledgement that does not come within ackTimeout ends the connection, and the message goes out again with DUP', async (t) => {
  let isMute = true;
  const broker = await startScript(t, { onPacket: ({ cmd }) => (cmd === 'publish' && isMute ? undefined : 'default') });
  const clock = new ManualClock();
  const subject = await openSubject(t, { url: broker.url, ackTimeout: '20 s', keepalive: 0 }, { clock });
  await subject.untilOnline();
  await subject.send('x');
  await eventually(() => broker.packets.some(isPublish), 'the message to arrive');
  clock.advance(19_999);
  assert.equal(subject.failures.length, 0);
  isMute = false;
  broker.options = { ...broker.options, connack: { sessionPresent: true } };
  clock.advance(1);
  // Whether the answer to the ping in between has been read by then is up to the network.
  const failure = await eventually(() => subject.failures[0], 'the connection to be given up');
  assert.match(failure.code, /^(ACK_OVERDUE|KEEPALIVE_TIMEOUT)$/);
  clock.advance(0);
  await subject.until(({ counts }) => counts.telemetry.published === 1, 'the message to be acknowledged');
  const [first, second, ...others] = broker.packets.filter(isPublish);
  assert.equal(others.length, 0);
  assert.deepEqual([first?.dup, second?.dup], [false, true]);
  assert.equal(second?.messageId, first?.messageId);
});

for (const protocolVersion of ['5', '3.1.1'] as const) {
  test(`the will is published when the connection is cut, and not after a clean stop, under MQTT ${protocolVersion}`, async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.stop());
    const proxy = await startProxy({ targetPort: broker.port });
    t.after(() => proxy.close());
    const subscriber = await openSubscriber({ url: broker.url });
    t.after(() => subscriber.close());
    const will = { topic: 'status', payload: 'away: ü', qos: 2, retain: true } as const;
    const subject = await openSubject(t, { url: proxy.url, protocolVersion, topicPrefix: 'site/', will });
    await subject.untilOnline();
    await proxy.refuse();
    proxy.cut();
    await subscriber.waitFor(1);
    const [message] = subscriber.messages;
    assert.deepEqual([message?.topic, message?.text, message?.qos], ['site/status', 'away: ü', 2]);
    const late = await openSubscriber({ url: broker.url });
    await late.waitFor(1);
    assert.equal(late.messages[0]?.retain, true);
    await late.close();

    await proxy.accept();
    await subject.untilOnline();
    await subject.close();
    const other = await openSubject(t, { url: broker.url });
    await other.send({ topic: 'marker', payload: 'after the clean stop' });
    await subscriber.waitFor((messages) => messages.some(({ topic }) => topic === 'marker'));
    assert.deepEqual(
      subscriber.messages.map(({ topic }) => topic),
      ['site/status', 'marker'],
    );
  });
}

test('the delay of a will goes to the broker, and one that we come back within keeps it from being published', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const proxy = await startProxy({ targetPort: broker.port, record: true });
  t.after(() => proxy.close());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: proxy.url, will: { topic: 'status', payload: 'away', delay: '30 s' } });
  await subject.untilOnline();
  proxy.cut();
  await subject.until(({ reconnects, state }) => reconnects === 1 && state === 'online', 'it to be back');
  await subject.send({ topic: 'marker', payload: 'back' });
  await subscriber.waitFor(1);
  assert.deepEqual(
    subscriber.messages.map(({ topic }) => topic),
    ['marker'],
  );
  const script = await startScript(t, {});
  const scripted = await openSubject(t, { url: script.url, will: { topic: 'status', payload: 'away', delay: '30 s' } });
  await scripted.untilOnline();
  const connect = script.packets.find(isConnect);
  assert.equal(connect?.will?.properties?.willDelayInterval, 30);
  assert.equal(connect?.will?.payload.toString(), 'away');
});

test('no more messages are unacknowledged on the wire than inflightMax or the broker allows', async (t) => {
  const cases: [SettingsInput['inflightMax'], number | undefined, number][] = [
    [3, undefined, 3],
    [1, undefined, 1],
    [65_535, 7, 7],
    [5, 7, 5],
  ];
  for (const [inflightMax, receiveMaximum, limit] of cases) {
    for (const qos of [1, 2] as const) {
      let open = 0;
      let openMax = 0;
      const broker = await startScript(t, {
        connack: receiveMaximum === undefined ? {} : { properties: { receiveMaximum } },
        onPacket: (packet, peer) => {
          if (packet.cmd === 'publish') openMax = Math.max(openMax, ++open);
          // Answered in a later turn, so that whatever may be sent has been sent.
          setImmediate(() => {
            if (packet.cmd === (qos === 1 ? 'publish' : 'pubrel')) open--;
            peer.answer(packet);
          });
          return undefined;
        },
      });
      const subject = await openSubject(t, { url: broker.url, qos, inflightMax: inflightMax! });
      await subject.send(...Array.from({ length: 60 }, (_, index) => `${index}`));
      await subject.untilEmpty();
      assert.ok(openMax <= limit, `${openMax} in flight at QoS ${qos}; ${limit} are allowed`);
      // Places are kept free for higher lanes, and at QoS 2 one for nobody.
      assert.ok(openMax >= Math.max(1, limit - 3), `only ${openMax} of ${limit} are used at QoS ${qos}`);
      await subject.close();
    }
  }
});

test('rateLimit and throttling hold messages and bytes per second back, whichever is smaller', async (t) => {
  const limits: [Partial<SettingsInput>, { messagesPerSecond?: number; bytesPerSecond?: number }][] = [
    [{ rateLimit: { messagesPerSecond: 50 } }, {}],
    [{}, { messagesPerSecond: 50 }],
    [{ rateLimit: { messagesPerSecond: 10_000 } }, { messagesPerSecond: 50 }],
    [{ rateLimit: { bytesPerSecond: 5500 } }, {}],
  ];
  for (const [settings, throttling] of limits) {
    const broker = await startScript(t, {});
    const clock = new ManualClock();
    const subject = await openSubject(
      t,
      { url: broker.url, keepalive: 0, ackTimeout: '600 s', ...settings },
      { clock, caching: { throttling } },
    );
    await subject.untilOnline();
    // A packet of 110 bytes: 2 of fixed header, 3 of topic, 2 of id, 1 of properties, 102 of payload.
    await subject.send(...Array.from({ length: 400 }, () => 'x'.repeat(102)));
    const arrived = () => broker.packets.filter(isPublish).length;
    // A burst of a fifth of a second, then 50 a second.
    await eventually(
      () => arrived() === 10,
      () => `the first 10; ${arrived()} came`,
    );
    for (let second = 1; second <= 4; second++) {
      for (let tick = 0; tick < 50; tick++) {
        clock.advance(20);
        const due = 10 + (second - 1) * 50 + tick + 1;
        await eventually(
          () => arrived() >= due - 1,
          () => `${due} messages; ${arrived()} came`,
        );
        assert.ok(arrived() <= due + 1, `${arrived()} messages; ${due} are due`);
      }
    }
    await subject.close();
  }
});

test('persistent with QoS 0 is refused, because there is nothing to keep', () => {
  const settings = { url: 'mqtt://localhost', qos: 0, persistent: true } as const;
  const { error } = connectorSchema.safeParse({ id: 'subject', settings });
  assert.deepEqual(
    error?.issues.map(({ path }) => path.join('.')),
    ['settings.persistent'],
  );
});
