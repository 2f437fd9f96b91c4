import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Grant } from '../../src/connector/connector.js';
import { type DeliveryFacts, describeState, guaranteeText } from '../../src/connector/description.js';
import { NorthError } from '../../src/core/error.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubject } from './subject.js';

const GRANT: Grant = {
  broker: 'mqtt://b:1883',
  protocolVersion: 5,
  sessionPresent: true,
  clientId: 'c',
  maximumQos: 2,
  receiveMaximum: 20,
  maximumPacketSizeBytes: undefined,
  retainAvailable: true,
  topicAliasMaximum: 0,
  keepaliveSeconds: 60,
  sessionExpirySeconds: 3600,
};

const ASKED: DeliveryFacts = {
  qos: 2,
  persistent: true,
  sessionExpirySeconds: 3600,
  isDowngraded: false,
  isSessionLost: false,
  isInDoubt: false,
  isQos2Proven: false,
};

test('the guarantee is what settings, grant and experience make together', () => {
  const said = (facts: Partial<DeliveryFacts>, grant: Partial<Grant> = {}) =>
    guaranteeText({ ...ASKED, ...facts }, { ...GRANT, ...grant });
  assert.equal(said({ qos: 0, persistent: false }), 'not acknowledged (QoS 0)');
  assert.equal(said({ qos: 1 }), 'at least once');
  assert.equal(said({}), 'exactly once');
  assert.equal(said({}, { sessionExpirySeconds: undefined }), 'exactly once');
  assert.match(said({ persistent: false }), /^exactly once while connected: the session is not persistent$/);
  assert.match(said({}, { sessionExpirySeconds: 0 }), /^exactly once while connected: this broker keeps no session$/);
  assert.equal(said({}, { maximumQos: 1 }), 'at least once: this broker grants QoS 1');
  assert.equal(said({}, { maximumQos: 0 }), 'not acknowledged (QoS 0): this broker grants QoS 0');
  assert.equal(said({ isDowngraded: true }), 'at least once: this broker grants QoS 1');
  assert.equal(said({ isSessionLost: true }), 'at least once: this broker has lost our session');
  assert.match(said({ isInDoubt: true }), /^exactly once, but at least once for what was in doubt/);
  assert.equal(said({ qos: 1, isSessionLost: true }), 'at least once');
});

test('under MQTT 3.1.1 nobody knows of QoS 2 until the broker has taken it', () => {
  const said = (facts: Partial<DeliveryFacts>, grant: Partial<Grant> = {}) =>
    guaranteeText({ ...ASKED, ...facts }, { ...GRANT, protocolVersion: 4, sessionExpirySeconds: undefined, ...grant });
  const unknown = 'not known yet whether exactly once: MQTT 3.1.1 does not announce the QoS that a broker grants';
  assert.equal(said({}), unknown);
  assert.equal(said({ persistent: false }), unknown);
  assert.equal(said({ isSessionLost: true }), unknown);
  assert.equal(said({ isQos2Proven: true }), 'exactly once');
  assert.equal(said({ isQos2Proven: true, isSessionLost: true }), 'at least once: this broker has lost our session');
  assert.equal(said({ qos: 1 }), 'at least once');
  assert.equal(said({ qos: 0 }), 'not acknowledged (QoS 0)');
  assert.equal(said({ isDowngraded: true }), 'at least once: this broker grants QoS 1');
  assert.match(said({}, { maximumQos: 1 }), /^at least once at best: this broker grants QoS 1, and may refuse/);
});

test('a session that the broker keeps for a shorter time than was asked for bounds the guarantee', () => {
  const said = (sessionExpirySeconds: number) => guaranteeText(ASKED, { ...GRANT, sessionExpirySeconds });
  assert.match(said(1800), /^exactly once through outages of up to 30 min: this broker keeps the session no longer$/);
  assert.match(said(90), /up to 90 s:/);
  assert.match(said(1), /up to 1 s:/);
  assert.equal(said(3600), 'exactly once');
  const week = { ...ASKED, sessionExpirySeconds: 604_800 };
  assert.match(guaranteeText(week, { ...GRANT, sessionExpirySeconds: 86_400 }), /up to 1 d:/);
  assert.match(guaranteeText(week, { ...GRANT, sessionExpirySeconds: 7200 }), /up to 2 h:/);
});

test('attempts are counted as people do', () => {
  const error = new NorthError('BROKER_REFUSED', 'refused.');
  const said = (failures: number) =>
    describeState(
      { name: 'waiting', broker: 'b', error, nextAtMs: 0 },
      { guarantee: undefined, failures, nextInMs: 4600 },
    );
  assert.equal(said(0), 'reconnecting to b in 5 s: refused.');
  assert.equal(said(1), 'reconnecting to b in 5 s, second attempt: refused.');
  assert.equal(said(2), 'reconnecting to b in 5 s, third attempt: refused.');
  const ordinals: [number, string][] = [
    [11, '11th'],
    [12, '12th'],
    [13, '13th'],
    [20, '20th'],
    [21, '21st'],
    [22, '22nd'],
    [23, '23rd'],
    [24, '24th'],
    [101, '101st'],
    [111, '111th'],
    [112, '112th'],
    [1003, '1003rd'],
  ];
  for (const [attempt, ordinal] of ordinals)
    assert.ok(said(attempt - 1).includes(`, ${ordinal} attempt:`), said(attempt - 1));
});

test('a connector that is online says with whom and with which guarantee', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  for (const [qos, guarantee] of [
    [0, 'not acknowledged (QoS 0)'],
    [1, 'at least once'],
    [2, 'exactly once'],
  ] as const) {
    const subject = await openSubject(t, { url: broker.url, qos });
    assert.equal((await subject.untilOnline()).description, `online with ${broker.url}, ${guarantee}`);
    await subject.close();
    assert.deepEqual(subject.states.at(-1), 'stopped');
  }
});

test('a connector at a 3.1.1 broker says exactly once when that has taken a message of QoS 2, and not before', async (t) => {
  const [taking, capping] = await Promise.all([startMosquitto(), startMosquitto({ maxQos: 1 })]);
  t.after(() => Promise.all([taking.stop(), capping.stop()]));
  const subject = await openSubject(t, { url: taking.url, qos: 2, protocolVersion: '3.1.1' });
  assert.match((await subject.untilOnline()).description, /, not known yet whether exactly once: MQTT 3\.1\.1 does/);
  await subject.send('x');
  assert.match((await subject.untilEmpty()).description, /, exactly once$/);

  const capped = await openSubject(t, { url: capping.url, qos: 2, protocolVersion: '3.1.1', reconnectPeriod: 100 });
  const said: string[] = [];
  capped.connector.on('state', ({ description }) => said.push(description));
  await capped.untilOnline();
  await capped.send('x');
  await eventually(
    () => said.filter((text) => text.startsWith('online')).length >= 3,
    () => `it to connect again and again: ${said.join(' | ')}`,
  );
  assert.ok(!said.some((text) => text.endsWith(', exactly once')), said.join(' | '));
});

test('a connector that reconnects says when, how often it has tried, and why', async (t) => {
  const url = `mqtt://127.0.0.1:${await freePort()}`;
  const clock = new ManualClock();
  const subject = await openSubject(t, { url, reconnectPeriod: '10 s' }, { clock });
  const said: string[] = [];
  subject.connector.on('state', ({ description }) => said.push(description));
  const place = url.slice('mqtt://'.length);
  for (const attempt of ['second', 'third', 'fourth']) {
    const status = await subject.until(({ state }) => state === 'waiting', 'it to wait');
    assert.equal(
      status.description,
      `reconnecting to ${url} in 10 s, ${attempt} attempt: ${place} refused the connection.`,
    );
    assert.equal(status.lastError?.code, 'BROKER_REFUSED');
    clock.advance(4000);
    assert.match((await subject.status()).description, /in 6 s/);
    clock.advance(6000);
    assert.ok(said.includes(`dialing ${url}, ${attempt} attempt`), said.join(' | '));
  }
});

test('a broker that takes QoS 2 as QoS 1 is shown as at least once', async (t) => {
  const broker = await startScriptedBroker({
    onPacket: (packet, peer) => {
      if (packet.cmd !== 'publish' || packet.messageId === undefined) return 'default';
      peer.send({ cmd: 'puback', messageId: packet.messageId });
      return undefined;
    },
  });
  t.after(() => broker.close());
  const subject = await openSubject(t, { url: broker.url, qos: 2 });
  assert.match((await subject.untilOnline()).description, /exactly once$/);
  await subject.send('x');
  const status = await subject.untilEmpty();
  assert.match(status.description, /at least once/);
  assert.match(status.warnings.join(), /QoS 2 as QoS 1/);
});

test('each state has its words', async (t) => {
  const broker = await startScriptedBroker({ connack: null });
  t.after(() => broker.close());
  const subject = await openSubject(t, { url: broker.url });
  await eventually(() => subject.states.at(-1) === 'handshaking', 'the handshake');
  assert.equal((await subject.status()).description, `connected to ${broker.url}, waiting for its answer`);
  await subject.connector.stop(1000);
  assert.equal((await subject.status()).description, 'stopped');
});
