import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startBlackhole } from '../kit/blackhole.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startProxy } from '../kit/proxy.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { CONNECT, failureOf, probe } from './probe.js';

test('a closed port is refused, with the address, the setting to change and the place', async () => {
  const port = await freePort();
  const error = await failureOf({ port });
  assert.equal(error.code, 'BROKER_REFUSED');
  assert.equal(error.message, `127.0.0.1:${port} refused the connection.`);
  assert.match(error.remedy, /port in url/);
  assert.equal(error.place, `127.0.0.1:${port}`);
});

test('a name that cannot be resolved says so', async () => {
  for (const host of ['no..such..name', 'a'.repeat(300)]) {
    const error = await failureOf({ host, port: 1883 });
    assert.equal(error.code, 'BROKER_UNRESOLVED', host);
    assert.ok(error.message.includes(host));
  }
  const lookup = (_: string, answer: (error: Error, addresses: []) => void) =>
    queueMicrotask(() => answer(Object.assign(new Error('again'), { code: 'EAI_AGAIN' }), []));
  const silent = await failureOf({ host: 'broker.example', port: 1883, lookup });
  assert.equal(silent.code, 'BROKER_UNRESOLVED');
  assert.match(silent.message, /no name server answered/);
  const nothing = await failureOf({ host: 'broker.example', port: 1883, lookup: (_, answer) => answer(null, []) });
  assert.equal(nothing.code, 'BROKER_UNRESOLVED');
});

test('an address without a way to it is unreachable', async () => {
  // An address that is reserved for broadcast has no route for TCP and does not leave the machine.
  const error = await failureOf({ host: '255.255.255.255', port: 1883 });
  assert.equal(error.code, 'BROKER_UNREACHABLE');
  assert.match(error.message, /^255\.255\.255\.255:1883 /);
});

test('options that nothing can dial close the transport and do not throw', async () => {
  assert.equal((await failureOf({ port: 70_000 })).code, 'BROKER_UNREACHABLE');
  const broker = await startScriptedBroker({ behaviour: 'silent' });
  const error = await failureOf({ port: broker.port, websocket: true, path: '/a#b' });
  assert.equal(error.code, 'WEBSOCKET_REFUSED');
  await eventually(() => broker.peers[0]?.isClosed, 'the connection to be closed');
  await broker.close();
});

test('a resolver that never answers is a timeout that says so', async () => {
  const clock = new ManualClock();
  const attempt = probe({ host: 'broker.example', port: 1, lookup: () => undefined, clock, connectTimeoutMs: 300 });
  await Promise.resolve();
  clock.advance(299);
  assert.deepEqual(attempt.events, []);
  clock.advance(1);
  assert.equal(attempt.error?.code, 'BROKER_TIMEOUT');
  assert.match(attempt.error?.message ?? '', /300 ms: no name server answered/);
  assert.deepEqual(clock.waitsMs, []);
});

test('a port that drops packets is a timeout of dialling', async () => {
  const blackhole = await startBlackhole();
  const clock = new ManualClock();
  const attempt = probe({ port: blackhole.port, clock, connectTimeoutMs: 5000 });
  await eventually(() => clock.waitsMs.length > 0, 'the dial to begin');
  clock.advance(5000);
  assert.equal(attempt.error?.code, 'BROKER_TIMEOUT');
  assert.match(attempt.error?.message ?? '', /the address did not answer/);
  assert.deepEqual(attempt.events, ['closed']);
  await blackhole.close();
});

test('a port that accepts and says nothing is a timeout of TLS or of the websocket', async () => {
  const broker = await startScriptedBroker({ behaviour: 'silent' });
  const cases = [
    { secure: true, text: /did not finish the TLS handshake/, remedy: /speaks TLS/ },
    { websocket: true, text: /did not open the websocket/, remedy: /takes websockets/ },
  ];
  for (const { text, remedy, ...options } of cases) {
    const clock = new ManualClock();
    const count = broker.peers.length;
    const attempt = probe({ port: broker.port, clock, connectTimeoutMs: 5000, ...options });
    await eventually(() => (broker.peers[count]?.socket.bytesRead ?? 0) > 0, 'the broker to hear us');
    clock.advance(5000);
    assert.equal(attempt.error?.code, 'BROKER_TIMEOUT');
    assert.match(attempt.error?.message ?? '', text);
    assert.match(attempt.error?.remedy ?? '', remedy);
    await eventually(() => broker.peers[count]?.isClosed, 'our socket to be closed');
  }
  await broker.close();
});

test('without TLS and websocket the transport is open at once, and the silence is the business of the session', async () => {
  const broker = await startScriptedBroker({ behaviour: 'silent' });
  const clock = new ManualClock();
  const attempt = probe({ port: broker.port, clock, connectTimeoutMs: 5000 });
  await attempt.opened();
  clock.advance(60_000);
  assert.deepEqual(attempt.events, ['opened']);
  attempt.transport.destroy();
  await broker.close();
});

test('a port that closes at once, or resets, is a closed connection in every phase', async () => {
  for (const behaviour of ['closing', 'resetting', 'closing-on-data'] as const) {
    const broker = await startScriptedBroker({ behaviour });
    for (const options of [{ secure: true }, { websocket: true }]) {
      const error = await failureOf({ port: broker.port, ...options });
      assert.equal(error.code, 'BROKER_CLOSED', `${behaviour} ${JSON.stringify(options)}: ${error.message}`);
    }
    const plain = probe({ port: broker.port }, (name, { transport }) => {
      if (name === 'opened') transport.write(CONNECT);
    });
    const error = await plain.closed();
    assert.match(error?.code ?? '', behaviour === 'resetting' ? /BROKER_CLOSED|CONNECTION_LOST/ : /BROKER_CLOSED/);
    await broker.close();
  }
});

test('a port that speaks something else is named: no TLS, no websocket', async () => {
  for (const behaviour of ['http', 'garbage'] as const) {
    const broker = await startScriptedBroker({ behaviour });
    const tls = await failureOf({ port: broker.port, secure: true });
    assert.equal(tls.code, 'TLS_FAILED', tls.message);
    assert.match(tls.message, /does not speak TLS/);
    assert.match(tls.remedy, /scheme is mqtt or ws/);
    const ws = await failureOf({ port: broker.port, websocket: true });
    assert.equal(ws.code, 'WEBSOCKET_REFUSED', ws.message);
    assert.match(ws.message, behaviour === 'http' ? /400 Bad Request/ : /does not speak HTTP/);
    await broker.close();
  }
});

test('a TLS port that is spoken to in plain, a plain port in TLS, and websockets at a port for none', async () => {
  const broker = await startMosquitto({ tls: true, websockets: true });
  const plainPort = await failureOf({ port: broker.port, secure: true });
  assert.equal(plainPort.code, 'BROKER_CLOSED');
  assert.match(plainPort.remedy, /speaks TLS/);
  const tlsPort = probe({ port: broker.tlsPort }, (name, { transport }) => {
    if (name === 'opened') transport.write(CONNECT);
  });
  const error = await tlsPort.closed();
  assert.match(error?.code ?? '', /BROKER_CLOSED|CONNECTION_LOST/);
  const mqttPort = await failureOf({ port: broker.port, websocket: true });
  assert.equal(mqttPort.code, 'BROKER_CLOSED');
  assert.match(mqttPort.remedy, /takes websockets/);
  await broker.stop();
});

test('a connection that is cut, reset or ended later says which', async () => {
  const broker = await startScriptedBroker({});
  const proxy = await startProxy({ targetPort: broker.port });
  const cut = probe({ port: proxy.port });
  await cut.opened();
  await eventually(() => broker.peers.length === 1, 'the broker to accept');
  proxy.cut();
  assert.equal((await cut.closed())?.code, 'CONNECTION_LOST');
  assert.match(cut.error?.message ?? '', /reset/);
  assert.equal(cut.error?.place, `127.0.0.1:${proxy.port}`);

  const ended = probe({ port: broker.port });
  await ended.opened();
  await eventually(() => broker.peers.length === 2, 'the broker to accept');
  broker.peers[1]?.close();
  assert.equal((await ended.closed())?.code, 'BROKER_CLOSED');
  assert.deepEqual(ended.events, ['opened', 'closed']);
  await proxy.close();
  await broker.close();
});
