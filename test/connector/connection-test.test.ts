import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { connectorSchema } from '../../src/config/connector.js';
import { testConnection } from '../../src/connector/connection-test.js';
import type { TestReport } from '../../src/connector/test-report.js';
import { systemClock } from '../../src/core/clock.js';
import { startBlackhole } from '../kit/blackhole.js';
import { testCertificates } from '../kit/certificates.js';
import { eventually, within } from '../kit/deadline.js';
import { hasSession } from '../kit/kept-session.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { type ScriptedBroker, type ScriptedBrokerOptions, startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject, type SettingsInput } from './subject.js';
import { isConnect } from './wire.js';

const { authority } = await testCertificates();

function run(settings: SettingsInput, signal?: AbortSignal): Promise<TestReport> {
  const config = connectorSchema.parse({ id: 'subject', settings: { connectTimeout: 5000, ...settings } });
  const options = { settings: config.settings, clientId: 'subject', clock: systemClock() };
  return within(testConnection(signal === undefined ? options : { ...options, signal }), 'the report');
}

async function startScript(t: TestContext, options: ScriptedBrokerOptions): Promise<ScriptedBroker> {
  const broker = await startScriptedBroker(options);
  t.after(() => broker.close());
  return broker;
}

function stepsOf({ steps }: TestReport): string[] {
  return steps.map(({ name, ok }) => `${ok ? '' : 'not '}${name}`);
}

test('a broker that accepts is reported step by step, with what it granted', async (t) => {
  const broker = await startMosquitto({ tls: true, websockets: true, maxInflight: 33, maxPacketSize: 100_000 });
  t.after(() => broker.stop());
  const plain = await run({ url: broker.url, qos: 2 });
  assert.equal(plain.ok, true, JSON.stringify(plain.error));
  assert.deepEqual(stepsOf(plain), ['dial', 'connect', 'ping', 'disconnect', 'session']);
  assert.ok(plain.steps.every(({ elapsedMs, message }) => elapsedMs >= 0 && message !== ''));
  assert.equal(plain.guarantee, 'exactly once');
  assert.ok((plain.roundTripMs ?? -1) >= 0);
  assert.deepEqual(plain.warnings, []);
  assert.equal(plain.error, undefined);
  assert.equal(plain.certificateExpiresAt, undefined);
  const { grant } = plain;
  assert.equal(grant?.protocolVersion, 5);
  assert.equal(grant?.receiveMaximum, 33);
  assert.equal(grant?.maximumPacketSizeBytes, 100_000);
  assert.equal(grant?.sessionPresent, false);

  const authentication = { type: 'none', caFilePath: authority.certFile } as const;
  const secure = await run({ url: `wss://127.0.0.1:${broker.wssPort}/mqtt`, authentication });
  assert.deepEqual(stepsOf(secure), ['dial', 'tls', 'websocket', 'connect', 'ping', 'disconnect', 'session']);
  assert.match(secure.steps[1]?.message ?? '', /^TLSv1\.3 with .*valid until \d{4}-\d\d-\d\d$/);
  assert.ok(Date.parse(secure.certificateExpiresAt ?? '') > Date.now());
  const unverified = await run({ url: `mqtts://127.0.0.1:${broker.tlsPort}`, rejectUnauthorized: false });
  assert.match(unverified.warnings.join(), /not verified/);
});

test('a broker that keeps sessions for a shorter time than was asked for is found out, and keeps none of the test', async (t) => {
  const broker = await startScript(t, {
    connack: ({ clean }) => ({ sessionPresent: clean === false, properties: { sessionExpiryInterval: 600 } }),
  });
  const report = await run({ url: broker.url, qos: 2 });
  assert.match(report.guarantee ?? '', /^exactly once through outages of up to 10 min: this broker keeps/);
  assert.equal(report.grant?.sessionExpirySeconds, 600);
  const [first, second] = broker.packets.filter((packet) => packet.cmd === 'disconnect');
  assert.equal(first?.properties?.sessionExpiryInterval, undefined);
  assert.equal(second?.properties?.sessionExpiryInterval, 0);
});

for (const protocolVersion of ['5', '3.1.1'] as const) {
  test(`a broker that keeps no session is found out by a second connection (MQTT ${protocolVersion})`, async (t) => {
    // It promises what it does not hold: only the next CONNACK tells.
    const broker = await startScript(t, { connack: { sessionPresent: false } });
    const report = await run({ url: broker.url, qos: 2, protocolVersion });
    assert.equal(report.ok, true, JSON.stringify(report.error));
    assert.equal(report.isSessionKept, false);
    assert.equal(report.guarantee, 'exactly once while connected: this broker keeps no session');
    assert.match(report.steps.find(({ name }) => name === 'session')?.message ?? '', /^not kept/);
    const [first, second] = broker.packets.filter(isConnect);
    assert.deepEqual([first?.clean, second?.clean], [protocolVersion === '5', false]);
    assert.equal(second?.will, undefined);
    // At QoS 1 what is not acknowledged is sent again in any case.
    assert.equal((await run({ url: broker.url, qos: 1, protocolVersion })).guarantee, 'at least once');
  });

  test(`a session that is not wanted is not opened (MQTT ${protocolVersion})`, async (t) => {
    const broker = await startScript(t, {});
    const report = await run({ url: broker.url, qos: 1, persistent: false, protocolVersion });
    assert.equal(report.ok, true, JSON.stringify(report.error));
    assert.equal(report.isSessionKept, undefined);
    assert.deepEqual(
      broker.packets.filter(isConnect).map(({ clean }) => clean),
      [true],
    );
  });

  test(`a broker that refuses the second connection fails, and gets the session back (MQTT ${protocolVersion})`, async (t) => {
    const refused = protocolVersion === '5' ? { reasonCode: 0x97 } : { returnCode: 3 };
    const broker = await startScript(t, { connack: ({ clean }, { number }) => (clean || number === 1 ? {} : refused) });
    const report = await run({ url: broker.url, qos: 2, protocolVersion });
    assert.deepEqual(stepsOf(report), ['dial', 'connect', 'ping', 'disconnect', 'not session']);
    assert.notEqual(report.error?.remedy, '');
    const last = broker.packets.filter(isConnect).at(-1);
    assert.equal(last?.clean, true);
    assert.equal(last?.properties?.sessionExpiryInterval ?? 0, 0);
  });
}

test('with MQTT 3.1.1 it finds that a session is kept and that QoS 2 is granted, publishes nothing and leaves nothing', async (t) => {
  const broker = await startMosquitto({ verbose: true });
  t.after(() => broker.stop());
  const will = { topic: 'status', payload: 'away' };
  const report = await run({ url: broker.url, qos: 2, protocolVersion: '3.1.1', will });
  assert.deepEqual(stepsOf(report), ['dial', 'connect', 'ping', 'disconnect', 'session', 'qos']);
  assert.equal(report.guarantee, 'exactly once');
  assert.equal(report.isSessionKept, true);
  assert.equal(report.subscribedQos, 2);
  assert.match(broker.log(), /mqtt-north\/test\/subject-test \(QoS 2\)/);
  assert.doesNotMatch(broker.log(), /PUBLISH/);
  assert.equal(await hasSession(broker.url, 'subject-test'), false);
});

test('a broker that caps at QoS 1 says so in its CONNACK, and the guarantee is what is left', async (t) => {
  const broker = await startMosquitto({ maxQos: 1 });
  t.after(() => broker.stop());
  const report = await run({ url: broker.url, qos: 2, protocolVersion: '5' });
  assert.equal(report.ok, true, JSON.stringify(report.error));
  assert.equal(report.grant?.maximumQos, 1);
  assert.equal(report.guarantee, 'at least once: this broker grants QoS 1');
  assert.equal((await run({ url: broker.url, qos: 1, protocolVersion: '5' })).guarantee, 'at least once');
});

test('a broker that announces QoS 2 and a session that it does not keep is believed until its first answer shows less', async (t) => {
  const broker = await startScript(t, {
    connack: ({ clean }) => ({ sessionPresent: clean === false }),
    onPacket: (packet, peer) => {
      if (packet.cmd !== 'publish') return 'default';
      peer.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
      return undefined;
    },
  });
  const settings = { url: broker.url, qos: 2, protocolVersion: '5' } as const;
  assert.equal((await run(settings)).guarantee, 'exactly once');
  const subject = await openSubject(t, settings);
  assert.match((await subject.untilOnline()).description, /, exactly once$/);
  await subject.send('a value');
  const status = await subject.untilEmpty();
  assert.match(status.description, /, at least once: this broker grants QoS 1$/);
});

test('a 3.1.1 broker that caps at QoS 1 is found out by what it grants to a subscription', async (t) => {
  const broker = await startMosquitto({ maxQos: 1 });
  t.after(() => broker.stop());
  const report = await run({ url: broker.url, qos: 2, protocolVersion: '3.1.1' });
  assert.equal(report.ok, true, JSON.stringify(report.error));
  assert.equal(report.subscribedQos, 1);
  assert.equal(
    report.guarantee,
    'at least once at best: this broker grants QoS 1, and may refuse every message of QoS 2',
  );
  assert.match(report.warnings.join(), /grants QoS 1 only.*Set qos to 1/);
});

test('a 3.1.1 broker that lets nobody subscribe leaves open whether it takes QoS 2, and that is no failure', async (t) => {
  const refusing = await startScript(t, {
    onPacket: (packet, peer) => {
      if (packet.cmd !== 'subscribe') return 'default';
      peer.send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: [0x80] });
      return undefined;
    },
  });
  const closing = await startScript(t, {
    connack: ({ clean }) => ({ sessionPresent: clean === false }),
    onPacket: ({ cmd }, peer) => {
      if (cmd !== 'subscribe') return 'default';
      peer.close();
      return undefined;
    },
  });
  const silent = await startScript(t, { onPacket: ({ cmd }) => (cmd === 'subscribe' ? undefined : 'default') });
  for (const { url } of [refusing, closing, silent]) {
    const report = await run({ url, qos: 2, protocolVersion: '3.1.1', connectTimeout: 500 });
    assert.equal(report.ok, true, JSON.stringify(report.error));
    assert.equal(report.subscribedQos, undefined);
    assert.match(report.guarantee ?? '', /^not known yet whether exactly once: MQTT 3\.1\.1 does not announce the QoS/);
    assert.match(report.steps.at(-1)?.message ?? '', /^not known whether the broker takes QoS 2: /);
  }
});

test('a test that is given up while it connects again ends at once, and still gives its session back', async (t) => {
  const broker = await startScript(t, { connack: ({ clean }, { number }) => (clean || number === 1 ? {} : null) });
  const controller = new AbortController();
  const settings = { url: broker.url, qos: 2, protocolVersion: '3.1.1', connectTimeout: '300 s' } as const;
  const report = run(settings, controller.signal);
  await eventually(() => broker.packets.filter(isConnect).length === 2, 'the second CONNECT');
  controller.abort();
  assert.equal((await report).error?.code, 'SERVICE_STOPPING');
  await eventually(() => broker.packets.filter(isConnect).at(-1)?.clean, 'the session to be given back');
});

test('each way to fail names its step, its code and a remedy', async (t) => {
  const broker = await startMosquitto({ tls: 'selfSigned', passwords: { ann: 'a' } });
  const blackhole = await startBlackhole();
  t.after(() => Promise.all([broker.stop(), blackhole.close()]));
  const script = async (options: ScriptedBrokerOptions): Promise<string> => (await startScript(t, options)).url;
  const silent = await startScript(t, { behaviour: 'silent' });
  const http = await startScript(t, { behaviour: 'http' });
  const basic = { type: 'basic', username: 'ann', password: 'wrong' } as const;
  const cases: [SettingsInput, string[], string][] = [
    [{ url: 'mqtt://no-such-host.invalid' }, ['not resolve'], 'BROKER_UNRESOLVED'],
    [{ url: `mqtt://127.0.0.1:${await freePort()}` }, ['not dial'], 'BROKER_REFUSED'],
    [{ url: `mqtt://127.0.0.1:${blackhole.port}`, connectTimeout: 300 }, ['not dial'], 'BROKER_TIMEOUT'],
    [{ url: `mqtts://127.0.0.1:${broker.tlsPort}` }, ['dial', 'not tls'], 'TLS_SELF_SIGNED'],
    [{ url: `mqtts://127.0.0.1:${silent.port}`, connectTimeout: 300 }, ['dial', 'not tls'], 'BROKER_TIMEOUT'],
    [{ url: `mqtts://127.0.0.1:${broker.port}` }, ['dial', 'not tls'], 'BROKER_CLOSED'],
    [{ url: `ws://127.0.0.1:${http.port}/mqtt` }, ['dial', 'not websocket'], 'WEBSOCKET_REFUSED'],
    [{ url: broker.url, authentication: basic }, ['dial', 'not connect'], 'BROKER_NOT_AUTHORIZED'],
    [{ url: silent.url, connectTimeout: 300 }, ['dial', 'not connect'], 'BROKER_TIMEOUT'],
    [{ url: http.url }, ['dial', 'not connect'], 'BROKER_NOT_MQTT'],
    [{ url: await script({ behaviour: 'closing-on-data' }) }, ['dial', 'not connect'], 'BROKER_CLOSED'],
    [{ url: `mqtt://127.0.0.1:${broker.tlsPort}` }, ['dial', 'not connect'], 'BROKER_CLOSED'],
    [
      { url: await script({ connack: { properties: { receiveMaximum: 0 } } }) },
      ['dial', 'not connect'],
      'BROKER_PROTOCOL',
    ],
    [
      {
        url: await script({ onPacket: ({ cmd }) => (cmd === 'pingreq' ? undefined : 'default') }),
        connectTimeout: 300,
      },
      ['dial', 'connect', 'not ping'],
      'BROKER_TIMEOUT',
    ],
  ];
  for (const [settings, steps, code] of cases) {
    const report = await run(settings);
    const told = `${settings.url}: ${JSON.stringify(report)}`;
    assert.equal(report.ok, false, told);
    assert.equal(report.error?.code, code, told);
    assert.deepEqual(stepsOf(report), steps, told);
    assert.notEqual(report.error?.remedy, '', told);
    assert.doesNotMatch(told, /wrong/);
  }
});

test('it falls back to 3.1.1, and tries the brokers in order', async (t) => {
  const old = await startScript(t, {
    connack: ({ protocolVersion }, peer) => {
      if (protocolVersion !== 5) return {};
      peer.close();
      return null;
    },
  });
  const report = await run({ url: `mqtt://127.0.0.1:${await freePort()}`, brokers: [old.url] });
  assert.equal(report.ok, true, JSON.stringify(report.error));
  assert.equal(report.grant?.protocolVersion, 4);
  assert.equal(report.grant?.broker, old.url);
});

test('it disturbs neither the running connector nor its session, and publishes no will', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const settings: SettingsInput = {
    url: broker.url,
    clientId: 'subject',
    qos: 2,
    will: { topic: 'status', payload: 'away' },
  };
  const subject = await openSubject(t, settings);
  await subject.untilOnline();
  for (let count = 0; count < 20; count++) {
    const report = await run(settings);
    assert.equal(report.ok, true, JSON.stringify(report.error));
  }
  await subject.send('still here');
  const status = await subject.untilEmpty();
  await subscriber.waitFor((messages) => messages.some(({ text }) => text === 'still here'));
  assert.deepEqual(
    subscriber.messages.map(({ topic }) => topic),
    ['t'],
  );
  assert.equal(status.reconnects, 0);
  await subject.close();
  const again = await openSubject(t, settings, { folder: subject.folder });
  assert.equal((await again.untilOnline()).grant?.sessionPresent, true);
});

test('a will is not published when the test is given up after the broker has accepted', async (t) => {
  const broker = await startScript(t, { onPacket: ({ cmd }) => (cmd === 'pingreq' ? undefined : 'default') });
  const controller = new AbortController();
  const report = run({ url: broker.url, will: { topic: 'status', payload: 'away' } }, controller.signal);
  await eventually(() => broker.packets.some(({ cmd }) => cmd === 'pingreq'), 'the ping');
  controller.abort();
  assert.equal((await report).error?.code, 'SERVICE_STOPPING');
  // DISCONNECT makes the broker forget the will.
  await eventually(() => broker.packets.at(-1)?.cmd === 'disconnect', 'DISCONNECT');
});

test('a test that is given up ends at once, also before it begins', async (t) => {
  const broker = await startScript(t, { connack: null });
  const controller = new AbortController();
  const report = run({ url: broker.url, connectTimeout: '300 s' }, controller.signal);
  await eventually(() => broker.packets.some(isConnect), 'CONNECT');
  controller.abort();
  assert.equal((await report).error?.code, 'SERVICE_STOPPING');
  await eventually(() => broker.peers[0]?.isClosed, 'the connection to be closed');
  assert.equal((await run({ url: broker.url }, AbortSignal.abort())).ok, false);
});
