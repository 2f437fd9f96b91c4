import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { parseBrokerUrl } from '../../src/config/broker-url.js';
import { Reconnect } from '../../src/connector/reconnect.js';
import { type ConnectionEnd, Takeover } from '../../src/connector/takeover.js';
import { NorthError } from '../../src/core/error.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { type Mosquitto, startMosquitto } from '../kit/mosquitto.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject, type SettingsInput, type Subject } from './subject.js';

const CLIENT_ID = 'press-line-7';

interface Scene {
  broker: Mosquitto;
  subject: Subject;
  clock: ManualClock;
}

async function openScene(t: TestContext, settings: Partial<SettingsInput>): Promise<Scene> {
  const broker = await startMosquitto({ persistence: true });
  t.after(() => broker.stop());
  const clock = new ManualClock();
  // No ping is due in the hours that pass in no time.
  const ours = {
    url: broker.url,
    clientId: CLIENT_ID,
    reconnectPeriod: 1000,
    keepalive: '0 s',
    qos: 2,
    ...settings,
  } as const;
  const subject = await openSubject(t, ours, { clock, random: () => 1 });
  await subject.untilOnline();
  return { broker, subject, clock };
}

function dials({ states }: Subject): number {
  return states.filter((state) => state === 'dialing').length;
}

function linesOf({ log }: Subject, code: string): string[] {
  return log.filter((line) => line.includes(code));
}

/** Waits for the pause after it was thrown out, and gives its length. */
async function pauseOf({ subject, clock }: Scene, failuresCount: number): Promise<number> {
  await eventually(
    () => subject.failures.length === failuresCount && subject.states.at(-1) === 'waiting',
    () =>
      `end ${failuresCount}; it had ${subject.failures.map(({ code }) => code)}, states ${subject.states.slice(-6)}`,
  );
  const dialsBefore = dials(subject);
  let pauseMs = 0;
  for (; dials(subject) === dialsBefore && pauseMs < 3_600_000; pauseMs += 500) clock.advance(500);
  return pauseMs;
}

for (const protocolVersion of ['5', '3.1.1'] as const) {
  test(`another client with our client id makes no fight: attempts become rare, it is told, logged once, and over when it leaves (MQTT ${protocolVersion})`, async (t) => {
    const scene = await openScene(t, { protocolVersion });
    const { broker, subject, clock } = scene;
    const rival = await openSubscriber({
      url: broker.url,
      persistentClientId: CLIENT_ID,
      topics: 'nothing',
      protocolVersion: protocolVersion === '5' ? 5 : 4,
    });
    t.after(() => rival.close());
    // This broker does not say who came, under MQTT 5 either: only that it happens again and again tells.
    const unnamed = 2;
    for (let end = 1; end <= unnamed; end++) assert.equal(await pauseOf(scene, end), 1000);
    const pausesMs: number[] = [];
    for (let end = unnamed + 1; end <= unnamed + 6; end++) {
      await eventually(
        () => subject.states.at(-1) === 'waiting' && subject.failures.length === end,
        () => `end ${end}; states ${subject.states.slice(-6)}`,
      );
      const status = await subject.status();
      assert.match(status.description, /Another client with our client id took over the session\. \(CLIENT_ID_TAKEN\)/);
      assert.equal(status.lastError?.code, 'CLIENT_ID_TAKEN');
      assert.match(status.warnings.join(), /different clientId/);
      pausesMs.push(await pauseOf(scene, end));
    }
    assert.deepEqual(pausesMs, [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
    assert.equal(linesOf(subject, 'CLIENT_ID_TAKEN').length, 1, subject.log.join('\n'));
    assert.ok(subject.log.length <= 6, `the log grows with every attempt: ${subject.log.join('\n')}`);

    await pauseOf(scene, unnamed + 7);
    // It throws the rival out again with this attempt, and this time nobody comes back.
    await rival.close();
    await eventually(async () => {
      if (subject.states.at(-1) === 'waiting') clock.advance(300_000);
      return subject.states.at(-1) === 'online';
    }, 'it to be back');
    assert.match((await subject.status()).warnings.join(), /different clientId/, 'one connection proves nothing yet');
    clock.advance(60_000);
    const status = await subject.status();
    assert.equal(status.lastError, undefined);
    assert.doesNotMatch(status.warnings.join(), /clientId/);
    const watcher = await openSubscriber({ url: broker.url, topics: 't' });
    t.after(() => watcher.close());
    await subject.send('still here');
    await watcher.waitFor(1);
    assert.match(subject.log.at(-1) ?? '', /connected to .*, after \d+ that did not last/);
  });
}

test('a broker that names the other client is believed at once', async (t) => {
  const broker = await startScriptedBroker({
    connack: (_, peer) => {
      setImmediate(() => peer.send({ cmd: 'disconnect', reasonCode: 0x8e }));
      return {};
    },
  });
  t.after(() => broker.close());
  const clock = new ManualClock();
  const subject = await openSubject(t, { url: broker.url, reconnectPeriod: 1000 }, { clock });
  for (const [index, expectedMs] of [30_000, 60_000, 120_000].entries()) {
    await eventually(
      () => subject.failures.length === index + 1 && subject.states.at(-1) === 'waiting',
      () => `end ${index + 1}; states ${subject.states.slice(-6)}`,
    );
    const { description, lastError } = await subject.status();
    assert.match(description, /0x8e .*\(CLIENT_ID_TAKEN\)/);
    assert.equal(lastError?.code, 'CLIENT_ID_TAKEN');
    clock.advance(expectedMs - 1);
    assert.equal(broker.peers.length, index + 1);
    clock.advance(1);
  }
  assert.equal(linesOf(subject, 'CLIENT_ID_TAKEN').length, 1, subject.log.join('\n'));
});

test('two of our connectors with one client id under MQTT 3.1.1 come to rest: one works, the other says why it waits', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const settings = { url: broker.url, clientId: CLIENT_ID, protocolVersion: '3.1.1', reconnectPeriod: 100 } as const;
  const subjects = [await openSubject(t, settings), await openSubject(t, settings)];
  const codeOf = async (subject: Subject): Promise<string> => {
    const { state, lastError } = await subject.status();
    return state === 'waiting' ? (lastError?.code ?? '') : state;
  };
  await eventually(async () => {
    const seen = (await Promise.all(subjects.map(codeOf))).sort();
    assert.deepEqual(seen, ['CLIENT_ID_TAKEN', 'online']);
    return true;
  }, 'one to be online and the other to have given way');
  const connectsCount = subjects.reduce((sum, subject) => sum + dials(subject), 0);
  assert.ok(connectsCount <= 10, `${connectsCount} connections until then`);
  const [winner] = subjects.filter(({ states }) => states.at(-1) === 'online');
  await winner?.send('x');
  await winner?.untilEmpty();
});

test('a broker that drops us after every CONNACK fills no log', async (t) => {
  const broker = await startScriptedBroker({
    connack: (_, peer) => {
      setImmediate(() => peer.send({ cmd: 'disconnect', reasonCode: 0x8b }));
      return {};
    },
  });
  t.after(() => broker.close());
  const clock = new ManualClock();
  const subject = await openSubject(t, { url: broker.url, reconnectPeriod: 1000 }, { clock });
  for (let end = 1; end <= 20; end++) {
    await eventually(
      () => subject.failures.length === end && subject.states.at(-1) === 'waiting',
      () => `end ${end}; ${subject.failures.map(({ message }) => message).join(' | ')}`,
    );
    clock.advance(1000);
  }
  assert.equal(broker.peers.length, 20, 'a broker that gives a reason is dialled at its period');
  // Three connections, the reason for their end, and what each connection shows: that the session was lost.
  assert.ok(subject.log.length <= 6, subject.log.join('\n'));
});

const LOST = new NorthError('CONNECTION_LOST', 'The broker closed the connection.');

const TAKEN = 'CLIENT_ID_TAKEN';
const IDLE: ConnectionEnd = { isClosedByBroker: true, isIdle: true, isAnswered: false, unsettled: [] };

/** An end with messages in flight, from this offset on. */
function busyEnd(from: number, changes: Partial<ConnectionEnd> = {}): ConnectionEnd {
  const unsettled = [{ lane: 'telemetry', from, to: from + 20 }] as const;
  return { isClosedByBroker: true, isIdle: false, isAnswered: true, unsettled, ...changes };
}

/** The codes of ends of connections that lasted so long. */
function codesOf(takeover: Takeover, ends: readonly [lastedMs: number, end: ConnectionEnd][]): string[] {
  let nowMs = 0;
  return ends.map(([lastedMs, end]) => {
    takeover.accepted(nowMs);
    nowMs += lastedMs;
    return takeover.ended(LOST, end, nowMs).code;
  });
}

function shortLives(...ends: readonly ConnectionEnd[]): [number, ConnectionEnd][] {
  return ends.map((end) => [1000, end]);
}

const open = (): Takeover => new Takeover(CLIENT_ID);
const lost = LOST.code;

test('three short connections in a row that were closed idle point at another client, and others do not', () => {
  assert.deepEqual(codesOf(open(), shortLives(IDLE, IDLE, IDLE, IDLE)), [lost, lost, TAKEN, TAKEN]);
  const withLongOne = [...shortLives(IDLE, IDLE), [15_000, IDLE] as [number, ConnectionEnd], ...shortLives(IDLE)];
  assert.deepEqual(codesOf(open(), withLongOne), [lost, lost, lost, lost], 'one that lasted');
  const unanswered = busyEnd(0, { isAnswered: false });
  assert.deepEqual(
    codesOf(open(), shortLives(IDLE, IDLE, unanswered, IDLE)),
    [lost, lost, lost, TAKEN],
    'one between that was thrown out before the first acknowledgement',
  );
  const restarted = open();
  codesOf(restarted, shortLives(IDLE, IDLE));
  restarted.dialFailed();
  assert.deepEqual(codesOf(restarted, shortLives(IDLE, IDLE)), [lost, lost], 'a broker that was restarted');
});

test('three short connections under load point at another client when something else is in flight each time', () => {
  const moving = [busyEnd(0), busyEnd(100), busyEnd(200), busyEnd(300)];
  assert.deepEqual(codesOf(open(), shortLives(...moving)), [lost, lost, TAKEN, TAKEN]);
  assert.deepEqual(codesOf(open(), shortLives(busyEnd(0), IDLE, busyEnd(300))), [lost, lost, TAKEN], 'idle between');
  const restarted = open();
  codesOf(restarted, shortLives(busyEnd(0), busyEnd(100)));
  restarted.dialFailed();
  assert.deepEqual(codesOf(restarted, shortLives(busyEnd(200), busyEnd(300))), [lost, lost], 'a broker restarted');
  const reset = [0, 100, 200, 300].map((from) => busyEnd(from, { isClosedByBroker: false }));
  assert.deepEqual(codesOf(open(), shortLives(...reset)), [lost, lost, lost, lost], 'a line that is reset');
  const between = [busyEnd(0), busyEnd(100), busyEnd(200, { isClosedByBroker: false }), busyEnd(300), busyEnd(400)];
  assert.deepEqual(new Set(codesOf(open(), shortLives(...between))), new Set([lost]), 'a line that is reset between');
});

test('a message that is in flight whenever the broker closes is not taken for another client', () => {
  const stuck = Array.from({ length: 9 }, () => busyEnd(17));
  assert.deepEqual(new Set(codesOf(open(), shortLives(...stuck))), new Set([lost]));
  // One such message after the other: each is there again at least once before it is set aside.
  const several = [0, 0, 500, 500, 900, 900, 1200, 1200].map((from) => busyEnd(from));
  assert.deepEqual(new Set(codesOf(open(), shortLives(...several))), new Set([lost]));
  const otherLane = busyEnd(17, { unsettled: [{ lane: 'alert', from: 17, to: 18 }] });
  assert.deepEqual(codesOf(open(), shortLives(busyEnd(17), otherLane, busyEnd(17))), [lost, lost, TAKEN], 'lanes');
});

test('another client with our client id is recognised under steady load, too, and no message is blamed', async (t) => {
  const broker = await startMosquitto({ persistence: true, extra: ['max_queued_messages 0'] });
  t.after(() => broker.stop());
  const settings = { url: broker.url, clientId: CLIENT_ID, qos: 2, protocolVersion: '3.1.1' } as const;
  const subject = await openSubject(t, { ...settings, reconnectPeriod: 200 });
  await subject.untilOnline();
  let sentCount = 0;
  let isSending = true;
  const sending = (async () => {
    while (isSending) {
      await subject.send(...Array.from({ length: 3 }, () => String(sentCount++)));
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  const rival = await openSubscriber({
    url: broker.url,
    persistentClientId: CLIENT_ID,
    topics: 'nothing',
    protocolVersion: 4,
  });
  t.after(() => rival.close());
  const status = await subject
    .until(({ lastError }) => lastError?.code === TAKEN, 'the other client to be named', 30_000)
    .finally(() => {
      isSending = false;
    });
  await sending;
  assert.match(status.warnings.join(), /different clientId/);
  assert.equal(status.cache.quarantinedCount, 0, 'no message is to blame');
  assert.ok(dials(subject) <= 10, `${dials(subject)} connections until then`);
  assert.equal(linesOf(subject, TAKEN).length, 1, subject.log.join('\n'));
});

test('the pause for another client doubles up to five minutes, and begins anew after a connection that lasted', () => {
  const brokers = [parseBrokerUrl('mqtt://one:1')];
  const options = { brokers, protocolVersion: '5', reconnectPeriodMs: 1000, reconnectPeriodMaxMs: 1000 } as const;
  const reconnect = new Reconnect(options, () => 1);
  let nowMs = 0;
  const pauseAfter = (lastedMs: number): number => {
    reconnect.succeeded(reconnect.begin(nowMs));
    const startMs = nowMs + lastedMs;
    nowMs = reconnect.lost('CLIENT_ID_TAKEN', startMs);
    return nowMs - startMs;
  };
  assert.deepEqual([5, 5, 5, 5, 5, 5].map(pauseAfter), [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
  assert.deepEqual([299_999, 300_000, 5].map(pauseAfter), [300_000, 30_000, 60_000]);
});

test('a 3.1.1 broker that closes at a QoS 0 message which it does not allow is not taken for another client', async (t) => {
  const broker = await startScriptedBroker({
    onPacket: (packet, peer) => {
      if (packet.cmd === 'publish') peer.close();
      return undefined;
    },
  });
  t.after(() => broker.close());
  const clock = new ManualClock();
  const settings = { url: broker.url, qos: 0, protocolVersion: '3.1.1', reconnectPeriod: 1000 } as const;
  const subject = await openSubject(t, settings, { clock });
  for (let end = 1; end <= 3; end++) {
    await eventually(
      () => subject.states.at(-1) === 'online',
      () => `online ${end}; ${subject.states.slice(-5)}`,
    );
    await subject.send('x');
    await eventually(
      () => subject.failures.length === end && subject.states.at(-1) === 'waiting',
      () => `end ${end}; ${subject.states.slice(-5)}`,
    );
    clock.advance(1000);
  }
  assert.deepEqual(
    subject.failures.map(({ code }) => code),
    Array(3).fill('CONNECTION_LOST'),
  );
});
