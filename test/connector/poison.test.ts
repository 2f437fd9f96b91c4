/** One message that a broker cannot bear, among many that it takes: on sockets, at full window. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { IPublishPacket } from 'mqtt-packet';
import { readRecord } from '../../src/core/record.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { type Peer, type ScriptedBroker, startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { Random } from '../simulation/random.js';
import { openSubject, type Subject } from './subject.js';
import { isPublish } from './wire.js';

const COUNT = 10_000;
const SEARCH_DEADLINE_MS = 30_000;
/** Which message it is. The environment variable SEED repeats what a run has printed. */
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);
const INFLIGHT_MAX = 1000;

/** A message that the broker has got and not thrown away, each time that it did. */
interface Arrival {
  payload: string;
  /** The number of the connection. */
  connection: number;
  isMarked: boolean;
}

interface RudeBroker {
  readonly broker: ScriptedBroker;
  readonly arrivals: readonly Arrival[];
  /** Payloads in the order of their arrival; at QoS 2 what the broker's session recognises as known is not in it. */
  readonly received: readonly string[];
}

/** Acknowledges everything and keeps its session, but ends the connection at a message of which `isPoison` holds. */
async function startRudeBroker(
  t: TestContext,
  isPoison: (packet: IPublishPacket) => boolean,
  end: (peer: Peer) => void,
): Promise<RudeBroker> {
  const received: string[] = [];
  const arrivals: Arrival[] = [];
  /** Identifiers of QoS 2 between PUBLISH and PUBREL, over all connections. */
  const held = new Set<number>();
  const closing = new WeakSet<Peer>();
  const broker = await startScriptedBroker({
    connack: ({ clean }) => ({ sessionPresent: clean !== true && broker.peers.length > 1 }),
    onPacket: (packet, peer) => {
      // What was on its way when it closed is read and thrown away.
      if (closing.has(peer)) return undefined;
      const id = packet.messageId ?? 0;
      if (isPublish(packet)) {
        if (isPoison(packet)) {
          closing.add(peer);
          end(peer);
          return undefined;
        }
        const payload = packet.payload.toString();
        arrivals.push({ payload, connection: peer.number, isMarked: packet.dup === true });
        if (packet.qos < 2 || !held.has(id)) received.push(payload);
        if (packet.qos === 2) held.add(id);
      } else if (packet.cmd === 'pubrel') held.delete(id);
      return 'default';
    },
  });
  t.after(() => broker.close());
  return { broker, arrivals, received };
}

/** How many messages came again because a connection died, by its number. The broker keeps its session: all are marked. */
function repetitionsOf(arrivals: readonly Arrival[]): Map<number, number> {
  const lastConnections = new Map<string, number>();
  const counts = new Map<number, number>();
  for (const { payload, connection, isMarked } of arrivals) {
    const died = lastConnections.get(payload);
    if (died !== undefined) {
      assert.ok(died < connection, `message ${payload} came twice on connection ${connection}`);
      assert.ok(isMarked, `message ${payload} came again on connection ${connection} without DUP [MQTT-3.3.1-1]`);
      counts.set(died, (counts.get(died) ?? 0) + 1);
    }
    lastConnections.set(payload, connection);
  }
  return counts;
}

/**
 * How many may have been in flight when a connection died: a whole window at the first two; then the search has narrowed
 * it, first to the root of what was in flight and then to one.
 */
function inflightMostAtDeath(number: number): number {
  if (number <= 2) return INFLIGHT_MAX;
  return number === 3 ? Math.floor(Math.sqrt(INFLIGHT_MAX)) : 1;
}

async function quarantineOf({ connector }: Subject) {
  const { messages } = await connector.list({ state: 'quarantined', limit: 1000 });
  return messages.map(({ record, code, reason }) => {
    const view = readRecord(record, 0);
    const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();
    return { topic: text(view?.topic), payload: text(view?.payload), code, reason };
  });
}

const ENDS: readonly [string, (peer: Peer) => void][] = [
  ['closes', (peer) => peer.close()],
  ['resets', (peer) => peer.reset()],
];

let seed = SEED;
for (const protocolVersion of ['3.1.1', '5'] as const) {
  for (const qos of [1, 2] as const) {
    for (const [how, end] of ENDS) {
      const culprit = `${new Random(seed++).between(0, COUNT - 1)}`;
      test(`a broker that ${how} whenever it sees one of 10,000 messages: that one is in quarantine with the reason, the others have arrived (QoS ${qos}, MQTT ${protocolVersion})`, async (t) => {
        t.diagnostic(`SEED=${SEED}: message ${culprit}`);
        const isCulprit = ({ payload }: IPublishPacket): boolean => payload.toString() === culprit;
        const { broker, arrivals, received } = await startRudeBroker(t, isCulprit, end);
        const settings = { url: broker.url, qos, protocolVersion, inflightMax: INFLIGHT_MAX };
        const subject = await openSubject(t, settings, { isStopped: true });
        await subject.send(...Array.from({ length: COUNT }, (_, index) => ({ topic: 't', payload: `${index}` })));
        subject.connector.start();
        const status = await subject.until(
          ({ cache }) => cache.quarantinedCount === 1,
          `message ${culprit} to be in quarantine`,
          SEARCH_DEADLINE_MS,
        );
        await subject.untilEmpty(SEARCH_DEADLINE_MS);
        const [entry, ...others] = await quarantineOf(subject);
        assert.deepEqual(others, []);
        assert.deepEqual([entry?.payload, entry?.code], [culprit, 'PUBLISH_POISONOUS']);
        assert.match(entry?.reason ?? '', /closed the connection.*alone in flight \d times/s);
        const all = Array.from({ length: COUNT }, (_, index) => `${index}`).filter((payload) => payload !== culprit);
        const firsts = [...new Set(received)];
        assert.deepEqual(firsts, all, 'all others, in order');
        const duplicatesCount = received.length - firsts.length;
        if (qos === 2) assert.equal(duplicatesCount, 0);
        const repetitions = repetitionsOf(arrivals);
        for (const [number, count] of repetitions) {
          const most = inflightMostAtDeath(number);
          assert.ok(count <= most, `${count} came again after connection ${number}, with at most ${most} in flight`);
        }
        assert.ok(status.reconnects <= 10, `${status.reconnects} connections were lost to it`);
        await subject.send('later');
        await subject.untilEmpty();
        assert.equal(received.at(-1), 'later');
        const after = await subject.status();
        assert.deepEqual(after.warnings, [], 'nothing is left of the search');
        assert.equal(after.counts.telemetry.published, COUNT);
        const perDeath = [...repetitions].map(([number, count]) => `${count} after connection ${number}`).join(', ');
        t.diagnostic(
          `${after.reconnects} connections lost, ${duplicatesCount} duplicates (came again: ${perDeath || 'none'})`,
        );
      });
    }
  }
}

test('a 3.1.1 broker that closes on topics that its access rules refuse: all of them are found, the others arrive once', async (t) => {
  const { broker, received } = await startRudeBroker(
    t,
    ({ topic }) => topic.startsWith('closed/'),
    (peer) => peer.close(),
  );
  const subject = await openSubject(t, { url: broker.url, qos: 2, protocolVersion: '3.1.1' }, { isStopped: true });
  const elements = Array.from({ length: 2000 }, (_, index) => ({
    topic: index % 500 === 250 ? `closed/${index}` : 'open',
    payload: `${index}`,
  }));
  await subject.send(...elements);
  subject.connector.start();
  await subject.untilEmpty(SEARCH_DEADLINE_MS);
  const quarantine = await quarantineOf(subject);
  assert.deepEqual(
    quarantine.map(({ topic, code }) => [topic, code]),
    [250, 750, 1250, 1750].map((index) => [`closed/${index}`, 'PUBLISH_POISONOUS']),
  );
  assert.deepEqual(
    received,
    elements.filter(({ topic }) => topic === 'open').map(({ payload }) => payload),
  );
});

test('a broker that closes on payloads above a limit that it never announced: each is found, smaller ones arrive', async (t) => {
  const { broker, received } = await startRudeBroker(
    t,
    ({ payload }) => payload.length > 5000,
    (peer) => peer.reset(),
  );
  const subject = await openSubject(t, { url: broker.url, qos: 1 }, { isStopped: true });
  const small = Array.from({ length: 300 }, (_, index) => `${index}`);
  const large = 'x'.repeat(5001);
  await subject.send(...small.slice(0, 100), large, ...small.slice(100, 200), large, ...small.slice(200));
  subject.connector.start();
  await subject.untilEmpty(SEARCH_DEADLINE_MS);
  const quarantine = await quarantineOf(subject);
  assert.deepEqual(
    quarantine.map(({ payload, code }) => [payload.length, code]),
    [
      [5001, 'PUBLISH_POISONOUS'],
      [5001, 'PUBLISH_POISONOUS'],
    ],
  );
  assert.deepEqual([...new Set(received)], small);
});

test('a real 3.1.1 broker that closes on a packet above its maximum: it is found, the others arrive once', async (t) => {
  const broker = await startMosquitto({ maxPacketSize: 5000, persistence: true });
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: broker.url, qos: 2, protocolVersion: '3.1.1' }, { isStopped: true });
  const small = Array.from({ length: 1000 }, (_, index) => `${index}`);
  await subject.send(...small.slice(0, 400), { topic: 'large', payload: 'x'.repeat(6000) }, ...small.slice(400));
  subject.connector.start();
  const status = await subject.untilEmpty(SEARCH_DEADLINE_MS);
  await subscriber.waitFor(1000);
  assert.deepEqual(subscriber.texts(), small);
  assert.deepEqual(
    (await quarantineOf(subject)).map(({ topic, code }) => [topic, code]),
    [['large', 'PUBLISH_POISONOUS']],
  );
  assert.equal(status.counts.telemetry.possibleDuplicates, 0);
});

test('under 3.1.1 what Mosquitto drops for its size or its access rules looks like a success, and holds up nothing', async (t) => {
  const broker = await startMosquitto({ messageSizeLimit: 5000, acl: 'topic readwrite open/#' });
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  for (const qos of [1, 2] as const) {
    const subject = await openSubject(t, { url: broker.url, qos, protocolVersion: '3.1.1' });
    await subject.send(
      { topic: 'open/a', payload: 'first' },
      { topic: 'closed/a', payload: 'refused' },
      { topic: 'open/a', payload: 'x'.repeat(6000) },
      { topic: 'open/a', payload: 'last' },
    );
    const status = await subject.untilEmpty(SEARCH_DEADLINE_MS);
    await subscriber.waitFor((messages) => messages.filter(({ text }) => text === 'last').length === qos);
    assert.deepEqual(subscriber.texts().slice(-2), ['first', 'last']);
    // Whether it acknowledges the large one or closes on it is the broker's business; nothing is lost unseen of the rest.
    assert.equal(status.counts.telemetry.published + status.cache.quarantinedCount, 4);
    await subject.close();
  }
});

test('an invalid topic, given by the producer or made by a template, is set aside before any broker sees it', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const transformers = [{ from: '*', type: 'time-values-to-mqtt' as const, topic: 'plant/{pointId}' }];
  const subject = await openSubject(t, { url: broker.url, qos: 2 }, { transformers });
  const bad = ['a/#', '+/b', 'nul\u0000', 'x'.repeat(66_000), 'bell\u0007'];
  await subject.send(...['good', ...bad].map((topic) => ({ topic, payload: 'direct' })));
  const value = { timestamp: '2026-01-15T10:00:00.000Z', data: { value: 1 } };
  const elements = [...bad, 'good'].map((pointId) => ({ pointId, ...value }));
  const receipt = await subject.connector.accept({ type: 'time-values', elements }, { source: 'test' });
  assert.deepEqual([receipt.accepted, receipt.quarantined], [6, 5]);
  const status = await subject.untilEmpty();
  await subscriber.waitFor(2);
  assert.deepEqual(
    subscriber.messages.map(({ topic }) => topic),
    ['good', 'plant/good'],
  );
  assert.equal(status.reconnects, 0, 'no broker had to close for it');
  assert.deepEqual(
    (await quarantineOf(subject)).map(({ code }) => code),
    Array(10).fill('TOPIC_INVALID'),
  );
});
