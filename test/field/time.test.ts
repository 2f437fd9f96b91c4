/** What goes wrong in this field: time. The number is the case of that list. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, systemClock } from '../../src/core/clock.js';
import { openSubject } from '../connector/subject.js';
import { isPublish } from '../connector/wire.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openScene, untilEmpty } from './scene.js';

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 0, 15);

async function awayUrl(): Promise<string> {
  return `mqtt://127.0.0.1:${await freePort()}`;
}

test('field 34: the order is that of acceptance, whatever the timestamps of the values say', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.kill());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const transformers = [{ type: 'time-values-to-mqtt', topic: 'plant/{pointId}' }];
  const { service } = await openScene(t, { settings: { url: broker.url, qos: 2 }, transformers });
  const years = [2040, 1971, 2026, 2026, 1999, 2038];
  for (const [value, year] of years.entries()) {
    const body = [{ pointId: 'p', timestamp: `${year}-01-15T10:00:00.000Z`, data: { value } }];
    const answer = await service.post('/api/content?connector=plant&type=time-values', body);
    assert.equal(answer.status, 202, await answer.clone().text());
  }
  await subscriber.waitFor(years.length);
  await untilEmpty(service);
  assert.deepEqual(
    subscriber.texts().map((text) => (JSON.parse(text) as { value: number }).value),
    [...years.keys()],
  );
});

/** The machine's own clock, set to another time of day. */
class SetClock implements Clock {
  readonly #system = systemClock();
  #shiftMs: number;

  constructor(startMs: number) {
    this.#shiftMs = startMs - Date.now();
  }

  wallMs(): number {
    return Date.now() + this.#shiftMs;
  }

  monotonicMs(): number {
    return this.#system.monotonicMs();
  }

  schedule(delayMs: number, callback: () => void): () => void {
    return this.#system.schedule(delayMs, callback);
  }

  jumpWall(byMs: number): void {
    this.#shiftMs += byMs;
  }
}

for (const byMs of [-400 * DAY_MS, 400 * DAY_MS]) {
  const way = byMs < 0 ? 'back' : 'forward';
  test(`field 34: a clock that is set ${way} by a year while connected changes nothing of sending, pinging and reconnecting`, async (t) => {
    const broker = await startScriptedBroker();
    t.after(() => broker.close());
    const clock = new ManualClock(START_MS);
    const settings = { url: broker.url, qos: 2, keepalive: '40 s', reconnectPeriod: 5000 } as const;
    const subject = await openSubject(t, settings, { clock });
    await subject.untilOnline();
    await subject.send('before');
    clock.jumpWall(byMs);
    await subject.send('after');
    await subject.until(({ counts }) => counts.telemetry.published === 2, 'both to be published');
    clock.advance(29_000);
    assert.equal(broker.packets.filter(({ cmd }) => cmd === 'pingreq').length, 0);
    clock.advance(1000);
    await eventually(() => broker.packets.some(({ cmd }) => cmd === 'pingreq'), 'the ping at its time');
    clock.jumpWall(-byMs);
    broker.options = { connack: null };
    broker.peers[0]?.reset();
    // It had been connected for longer than a period, so that the first dial follows at once.
    await eventually(() => subject.states.at(-1) === 'waiting', 'the loss to be noticed');
    clock.advance(0);
    await eventually(() => broker.peers.length === 2, 'the dial at once');
    clock.jumpWall(byMs);
    broker.peers[1]?.reset();
    await eventually(() => subject.failures.length === 2 && subject.states.at(-1) === 'waiting', 'the failed dial');
    broker.options = {};
    clock.advance(4999);
    assert.equal(broker.peers.length, 2, 'a dial before its time');
    clock.advance(1);
    await subject.untilOnline();
    await subject.send('back');
    const status = await subject.until(({ counts }) => counts.telemetry.published === 3, 'all to be published');
    assert.equal(status.counts.telemetry.dropped, 0);
    assert.deepEqual(
      broker.packets.filter(isPublish).map(({ payload }) => payload.toString()),
      ['before', 'after', 'back'],
    );
  });
}

test('field 34: a clock that is set back neither expires a message early nor gives it a longer life at the broker', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const clock = new SetClock(START_MS);
  const settings = { url: broker.url, qos: 2, messageExpiry: '60 s' } as const;
  const subject = await openSubject(t, settings, { clock, isStopped: true });
  await subject.send('accepted before');
  clock.jumpWall(-DAY_MS);
  await subject.send('accepted after');
  subject.connector.start();
  await subscriber.waitFor(2);
  const status = await subject.untilEmpty();
  assert.deepEqual(subscriber.texts(), ['accepted before', 'accepted after']);
  assert.equal(status.counts.telemetry.dropped, 0);
  for (const { properties } of subscriber.messages) {
    const seconds = properties.messageExpiryInterval ?? 0;
    assert.ok(seconds > 0 && seconds <= 60, `${seconds} s of life are left`);
  }
});

test('field 34: a restart with a clock that is behind continues, in order, with its keys, and keeps what it is to keep', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const caching = { archive: { enabled: true, retentionDuration: '1 h' } } as const;
  const day = async (url: string, startMs: number, folder?: string) => {
    const clock = new SetClock(startMs);
    const more = folder === undefined ? {} : { folder };
    return { clock, subject: await openSubject(t, { url, qos: 2 }, { clock, caching, ...more }) };
  };
  const accept = (connector: Awaited<ReturnType<typeof day>>['subject']['connector'], payload: string) =>
    connector.accept(
      { type: 'messages', elements: [{ topic: 't', payload }] },
      { source: 'test', idempotencyKey: `key of ${payload}` },
    );
  const first = await day(await awayUrl(), START_MS);
  const receipt = await accept(first.subject.connector, '1');
  await first.subject.close();
  // Its battery is empty: the next start believes in 1970.
  const second = await day(broker.url, 1000, first.subject.folder);
  assert.deepEqual(await accept(second.subject.connector, '1'), receipt, 'the key is remembered');
  await accept(second.subject.connector, '2');
  await subscriber.waitFor(2);
  await second.subject.untilEmpty();
  // NTP has come.
  second.clock.jumpWall(START_MS);
  await accept(second.subject.connector, '3');
  await subscriber.waitFor(3);
  const status = await second.subject.untilEmpty();
  assert.deepEqual(subscriber.texts(), ['1', '2', '3']);
  assert.equal(status.counts.telemetry.possibleDuplicates, 0);
  assert.ok((status.cache.oldestAcceptedAtMs ?? 0) >= 0);
  assert.ok(status.cache.archivedCount >= 1, 'what was just published is in the archive');
});
