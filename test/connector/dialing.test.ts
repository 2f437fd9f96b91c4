import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { startBlackhole } from '../kit/blackhole.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { type ScriptedBroker, type ScriptedBrokerOptions, startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubject, type SettingsInput, type Subject } from './subject.js';

async function startScript(t: TestContext, options: ScriptedBrokerOptions): Promise<ScriptedBroker> {
  const broker = await startScriptedBroker(options);
  t.after(() => broker.close());
  return broker;
}

/** A connector whose time only the test moves on; dialling itself takes none. */
async function openTimed(t: TestContext, settings: SettingsInput): Promise<{ subject: Subject; clock: ManualClock }> {
  const clock = new ManualClock();
  const subject = await openSubject(t, { reconnectPeriod: 7000, ...settings }, { clock, random: () => 1 });
  return { subject, clock };
}

function dials({ states }: Subject): number {
  return states.filter((state) => state === 'dialing').length;
}

async function untilWaiting(subject: Subject, failuresCount: number): Promise<void> {
  await eventually(
    () => subject.failures.length === failuresCount && subject.states.at(-1) === 'waiting',
    () =>
      `failure ${failuresCount} of ${subject.failures.map(({ message }) => message)}; states: ${subject.states.slice(-20)}`,
  );
}

test('attempts at a port that refuses are a period apart, one dial at a time, and go on for ever', async (t) => {
  const { subject, clock } = await openTimed(t, { url: `mqtt://127.0.0.1:${await freePort()}` });
  for (let attempt = 1; attempt <= 40; attempt++) {
    await untilWaiting(subject, attempt);
    const timersCount = clock.waitsMs.length;
    assert.ok(timersCount <= 4, `${timersCount} timers wait: they pile up`);
    clock.advance(6999);
    assert.equal(dials(subject), attempt, 'a dial before its time');
    clock.advance(1);
    assert.equal(dials(subject), attempt + 1);
  }
  assert.deepEqual(new Set(subject.failures.map(({ code }) => code)), new Set(['BROKER_REFUSED']));
  const warnings = subject.log.filter((line) => line.startsWith('warn'));
  assert.equal(warnings.length, 1, 'an outage has one line in the log');
});

test('attempts at a broker that closes at once are as far apart, seen from its side, and never two at a time', async (t) => {
  const periodMs = 150;
  const times: number[] = [];
  let openMax = 0;
  const broker = await startScript(t, {
    onConnection: (peer) => {
      times.push(performance.now());
      openMax = Math.max(openMax, broker.peers.filter(({ isClosed }) => !isClosed).length);
      peer.close();
    },
  });
  const subject = await openSubject(t, { url: broker.url, reconnectPeriod: periodMs, protocolVersion: '5' });
  await eventually(() => times.length >= 8, 'eight attempts');
  await subject.close();
  const gaps = times.slice(1).map((time, index) => time - times[index]!);
  // A timer may come late, which makes the gap before longer and the one after shorter; the sum tells.
  const sumMs = times.at(-1)! - times[0]!;
  assert.ok(sumMs >= gaps.length * periodMs - 50, `${gaps.length} gaps in ${sumMs} ms: ${gaps.map(Math.round)}`);
  assert.equal(openMax, 1);
});

test('a connection that is accepted and then closed is dialled again no more often', async (t) => {
  const broker = await startScript(t, {
    connack: (_, peer) => {
      setImmediate(() => peer.close());
      return {};
    },
  });
  const { subject, clock } = await openTimed(t, { url: broker.url });
  for (let attempt = 1; attempt <= 3; attempt++) {
    await untilWaiting(subject, attempt);
    assert.match(subject.states.join(), /recovering|online/);
    clock.advance(6999);
    assert.equal(broker.peers.length, attempt);
    clock.advance(1);
  }
});

test('with reconnectPeriodMax the time between attempts grows', async (t) => {
  const url = `mqtt://127.0.0.1:${await freePort()}`;
  const { subject, clock } = await openTimed(t, { url, reconnectPeriod: 1000, reconnectPeriodMax: 2000 });
  for (const [index, periodMs] of [1000, 1600, 2000, 2000].entries()) {
    await untilWaiting(subject, index + 1);
    clock.advance(periodMs - 1);
    assert.equal(dials(subject), index + 1);
    clock.advance(1);
    assert.equal(dials(subject), index + 2);
  }
});

test('the connect timeout ends a dial into the void, and the next follows', async (t) => {
  const blackhole = await startBlackhole();
  t.after(() => blackhole.close());
  const { subject, clock } = await openTimed(t, { url: `mqtt://127.0.0.1:${blackhole.port}`, connectTimeout: 3000 });
  for (let attempt = 1; attempt <= 3; attempt++) {
    await eventually(() => dials(subject) === attempt, 'the dial to begin');
    // The transport looks at its options first.
    await nextTurn();
    clock.advance(2999);
    assert.equal(subject.failures.length, attempt - 1);
    clock.advance(1);
    await untilWaiting(subject, attempt);
    assert.equal(subject.failures.at(-1)?.code, 'BROKER_TIMEOUT');
    assert.match(subject.failures.at(-1)?.message ?? '', /3000 ms.*the address did not answer/);
    clock.advance(4000);
    assert.equal(dials(subject), attempt + 1);
  }
});

test('the connect timeout lasts from dialling to CONNACK', async (t) => {
  const broker = await startScript(t, { connack: null });
  const { subject, clock } = await openTimed(t, { url: broker.url, connectTimeout: 3000 });
  for (let attempt = 1; attempt <= 3; attempt++) {
    await eventually(() => broker.packets.length === attempt, 'the CONNECT to arrive');
    clock.advance(2999);
    assert.equal(subject.failures.length, attempt - 1);
    clock.advance(1);
    await untilWaiting(subject, attempt);
    assert.equal(subject.failures.at(-1)?.code, 'BROKER_TIMEOUT');
    assert.match(subject.failures.at(-1)?.message ?? '', /3000 ms.*CONNACK/);
    await eventually(() => broker.peers[attempt - 1]?.isClosed, 'the connection to be given up');
    clock.advance(4000);
  }
});

const RUDE: readonly [ScriptedBrokerOptions['behaviour'], string, RegExp][] = [
  ['closing', 'BROKER_CLOSED', /closed the connection/],
  ['closing-on-data', 'BROKER_CLOSED', /closed the connection/],
  ['http', 'BROKER_NOT_MQTT', /does not speak MQTT/],
  ['garbage', 'BROKER_NOT_MQTT', /does not speak MQTT/],
];

for (const [behaviour, code, says] of RUDE) {
  test(`a port that is ${behaviour} is ${code}, and is tried again until a broker is there`, async (t) => {
    const broker = await startScript(t, { behaviour: behaviour! });
    const { subject, clock } = await openTimed(t, { url: broker.url, protocolVersion: '5' });
    for (let attempt = 1; attempt <= 3; attempt++) {
      await untilWaiting(subject, attempt);
      assert.equal(subject.failures.at(-1)?.code, code, subject.failures.at(-1)?.message);
      assert.match(subject.failures.at(-1)?.message ?? '', says);
      assert.notEqual(subject.failures.at(-1)?.remedy, '');
      clock.advance(7000);
    }
    await untilWaiting(subject, 4);
    broker.options = {};
    clock.advance(7000);
    await subject.untilOnline();
  });
}

test('a broker that resets the connection is told as such, and is tried again', async (t) => {
  const broker = await startScript(t, { behaviour: 'resetting' });
  const { subject, clock } = await openTimed(t, { url: broker.url, protocolVersion: '5' });
  await untilWaiting(subject, 1);
  assert.equal(subject.failures[0]?.code, 'BROKER_CLOSED');
  clock.advance(7000);
  await untilWaiting(subject, 2);
});

test('a TLS port that is spoken to in plain, and the reverse, are told as such and tried again', async (t) => {
  const broker = await startMosquitto({ tls: true });
  t.after(() => broker.stop());
  const plain = await openTimed(t, { url: `mqtt://127.0.0.1:${broker.tlsPort}`, protocolVersion: '5' });
  await untilWaiting(plain.subject, 1);
  assert.equal(plain.subject.failures[0]?.code, 'BROKER_CLOSED');
  assert.match(plain.subject.failures[0]?.remedy ?? '', /TLS port/);
  plain.clock.advance(7000);
  await untilWaiting(plain.subject, 2);
  const secure = await openTimed(t, { url: `mqtts://127.0.0.1:${broker.port}`, protocolVersion: '5' });
  await untilWaiting(secure.subject, 1);
  assert.match(secure.subject.failures[0]?.code ?? '', /^(TLS_FAILED|BROKER_CLOSED)$/);
  assert.match(secure.subject.failures[0]?.remedy ?? '', /mqtt/);
});

test('a broker that claims a session although a clean start was asked for is not dialled in a storm', async (t) => {
  const broker = await startScript(t, { connack: { sessionPresent: true } });
  const { subject, clock } = await openTimed(t, { url: broker.url, protocolVersion: '3.1.1' });
  await untilWaiting(subject, 1);
  const perAttempt = broker.peers.length;
  assert.ok(perAttempt <= 3, `${perAttempt} connections in one attempt`);
  assert.equal(subject.failures[0]?.code, 'BROKER_PROTOCOL');
  clock.advance(6999);
  assert.equal(broker.peers.length, perAttempt);
  clock.advance(1);
  await untilWaiting(subject, 2);
  // What the first attempt has learned of this broker may make the second one shorter.
  const secondCount = broker.peers.length - perAttempt;
  assert.ok(secondCount >= 1 && secondCount <= perAttempt, `${secondCount} connections in the second attempt`);
});

test('a broker that says that there is a session whenever no clean one was asked for is stayed with after wiping it once', async (t) => {
  const broker = await startScript(t, { connack: ({ clean }) => ({ sessionPresent: clean !== true }) });
  const { subject } = await openTimed(t, { url: broker.url, protocolVersion: '3.1.1' });
  await subject.send('x');
  await subject.until(({ counts }) => counts.telemetry.published === 1, 'the message to be published');
  assert.equal(broker.peers.length, 3);
  assert.deepEqual(subject.failures, []);
});

test('several brokers that are all away have one line in the log each, not one for every attempt', async (t) => {
  const [first, second] = [await freePort(), await freePort()];
  const settings = { url: `mqtt://127.0.0.1:${first}`, brokers: [`mqtt://127.0.0.1:${second}`] };
  const { subject, clock } = await openTimed(t, settings);
  for (let walk = 1; walk <= 5; walk++) {
    await eventually(() => subject.failures.length >= walk * 2 - 1, 'the first to fail');
    clock.advance(0);
    await untilWaiting(subject, walk * 2);
    clock.advance(7000);
  }
  assert.equal(subject.log.filter((line) => line.startsWith('warn')).length, 2, subject.log.join('\n'));
});
