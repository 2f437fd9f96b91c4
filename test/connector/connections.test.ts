import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { partOf } from '../../src/connector/sharing.js';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { startProxy } from '../kit/proxy.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject, type Subject } from './subject.js';

const TOPICS = Array.from({ length: 20 }, (_, index) => `plant/${index}`);

/** One round of messages: each topic gets this text, and its alert before it. */
function round(text: string): Record<string, unknown>[] {
  return TOPICS.flatMap((topic) => [
    { topic, payload: `alert ${text}`, lane: 'alert' },
    { topic, payload: text },
  ]);
}

function topicOf(part: number, connections: number): string {
  return TOPICS.find((topic) => partOf(Buffer.from(topic), connections) === part)!;
}

function waitingOf(subject: Subject): Promise<number> {
  return subject.status().then(({ cache }) => cache.waitingCounts.telemetry + cache.waitingCounts.alert);
}

describe('several connections', () => {
  test('share the messages by topic, each under a client id of its own, and keep the order of each topic', async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.stop());
    const subscriber = await openSubscriber({ url: broker.url, topics: 'plant/#' });
    t.after(() => subscriber.close());
    const will = { topic: 'gone', payload: 'gone' };
    const subject = await openSubject(t, { url: broker.url, qos: 2, clientId: 'press-line', connections: 4, will });
    const online = await subject.untilOnline();
    assert.equal(online.description, `4 connections online with ${online.broker}, exactly once`);
    assert.equal(online.grant?.clientId, 'press-line');
    assert.equal(online.connections?.length, 4);
    const ROUNDS = 50;
    for (let number = 0; number < ROUNDS; number += 10) {
      await Promise.all(Array.from({ length: 10 }, (_, index) => subject.send(...round(`${number + index}`))));
    }
    const { counts, cache } = await subject.untilEmpty();
    await subscriber.waitFor(ROUNDS * TOPICS.length * 2);
    const expected = Array.from({ length: ROUNDS }, (_, number) => `${number}`);
    for (const topic of TOPICS) {
      const texts = subscriber.texts(topic);
      assert.deepEqual(
        texts.filter((text) => !text.startsWith('alert')),
        expected,
      );
      assert.deepEqual(
        texts.filter((text) => text.startsWith('alert')),
        expected.map((text) => `alert ${text}`),
      );
    }
    assert.equal(counts.telemetry.accepted, ROUNDS * TOPICS.length);
    assert.equal(counts.telemetry.published, ROUNDS * TOPICS.length);
    assert.equal(cache.nextOffsets.alert, ROUNDS * TOPICS.length);
    for (const clientId of ['press-line', 'press-line-2', 'press-line-3', 'press-line-4']) {
      assert.match(broker.log(), new RegExp(`as ${clientId} `));
    }
    await subject.close();
    assert.ok(!broker.log().includes('press-line-5'));
  });

  test('have client ids of 23 characters at most where none is configured, with the same beginning', async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.stop());
    const subject = await openSubject(t, { url: broker.url, connections: 16, protocolVersion: '3.1.1' });
    const { cache } = await subject.untilOnline();
    const ids = [...broker.log().matchAll(/as (mqtt-north-\S+)/g)].map(([, id]) => id!);
    const first = `mqtt-north-${cache.cacheId}`;
    const expected = [first, ...Array.from({ length: 15 }, (_, index) => `${first}-${index + 2}`)];
    assert.deepEqual(new Set(ids), new Set(expected));
    assert.ok(ids.every((id) => id.length <= 23));
  });

  test('say how many of them are online, and why one is not', async (t) => {
    const broker = await startScriptedBroker({});
    t.after(() => broker.close());
    const subject = await openSubject(t, { url: broker.url, connections: 2, reconnectPeriod: 60_000 });
    await subject.untilOnline();
    // The last one that came loses its connection, and waits for a minute.
    broker.peers.at(-1)?.close();
    const status = await subject.until(({ state }) => state === 'waiting', 'one to wait');
    assert.match(status.description, /^1 of 2 connections online; connection [12]: reconnecting to /);
    assert.equal(status.grant?.broker, status.broker);
    assert.equal(status.lastError?.code, 'CONNECTION_LOST');
    assert.deepEqual(status.connections?.map(({ state }) => state).sort(), ['online', 'waiting']);
    assert.deepEqual(
      subject.failures.map(({ code }) => code),
      ['CONNECTION_LOST'],
    );
  });

  test('tell once what all of them tell', async (t) => {
    const subject = await openSubject(t, { url: 'mqtt://127.0.0.1:1', connections: 4, reconnectPeriod: 60_000 });
    await eventually(
      async () => (await subject.status()).connections?.every(({ state }) => state === 'waiting'),
      'all to wait',
    );
    assert.deepEqual(
      subject.failures.map(({ code }) => code),
      ['BROKER_REFUSED'],
    );
    const { warnings } = await subject.status();
    assert.equal(new Set(warnings).size, warnings.length);
  });

  test('are closed with everything that waits, and go on with it when they are opened again', async (t) => {
    const broker = await startMosquitto({ persistence: true });
    t.after(() => broker.stop());
    const subscriber = await openSubscriber({ url: broker.url, topics: 'plant/#', persistentClientId: 'watcher' });
    t.after(() => subscriber.close());
    const proxy = await startProxy({ targetPort: broker.port });
    t.after(() => proxy.close());
    const settings = { url: proxy.url, qos: 2, connections: 3 } as const;
    const former = await openSubject(t, settings);
    await former.untilOnline();
    await former.send(...round('first'));
    await former.untilEmpty();
    await proxy.refuse();
    proxy.cut();
    await former.send(...round('second'), ...round('third'));
    assert.equal(await waitingOf(former), 4 * TOPICS.length);
    await former.close(0);
    await assert.rejects(former.send('x'), { code: 'SERVICE_STOPPING' });
    await proxy.accept();
    const next = await openSubject(t, settings, { folder: former.folder });
    await next.untilEmpty();
    await subscriber.waitFor(6 * TOPICS.length);
    for (const topic of TOPICS) {
      const texts = subscriber.texts(topic).filter((text) => !text.startsWith('alert'));
      assert.deepEqual(texts, ['first', 'second', 'third']);
    }
  });

  test('miss the cache of one of them that somebody has removed', async (t) => {
    const settings = { url: 'mqtt://127.0.0.1:1', connections: 3 } as const;
    const former = await openSubject(t, settings, { isStopped: true });
    await former.send(...round('one'));
    await former.close();
    rmSync(join(former.folder, 'connection-3'), { recursive: true });
    const next = await openSubject(t, settings, { isStopped: true, folder: former.folder });
    const { cache } = await next.status();
    assert.equal(cache.findings.length, 1);
    assert.match(cache.findings[0]!.message, /^Connection 3: .*cache\.db is missing/);
    assert.match(next.log.join('\n'), /error CACHE_DAMAGED/);
    await next.send(...round('two'));
  });

  test('take nothing when the cache of one of them cannot be opened, and leave nothing open', async (t) => {
    const settings = { url: 'mqtt://127.0.0.1:1', connections: 2 } as const;
    const former = await openSubject(t, settings, { isStopped: true });
    await former.close();
    rmSync(join(former.folder, 'connection-2', 'cache.db'));
    // A folder in the place of the file cannot be opened as a database.
    mkdirSync(join(former.folder, 'connection-2', 'cache.db'));
    await assert.rejects(openSubject(t, settings, { isStopped: true, folder: former.folder }));
    rmSync(join(former.folder, 'connection-2', 'cache.db'), { recursive: true });
    await openSubject(t, settings, { isStopped: true, folder: former.folder });
  });
});

describe('another number of connections', () => {
  const AWAY = 'mqtt://127.0.0.1:1';

  test('takes effect when nothing waits, and goes on with the cache that there was', async (t) => {
    const former = await openSubject(t, { url: AWAY }, { isStopped: true });
    const { cacheId } = (await former.status()).cache;
    await former.close();
    assert.ok(!existsSync(join(former.folder, 'connections.json')));
    const { folder } = former;
    const grown = await openSubject(t, { url: AWAY, connections: 4 }, { isStopped: true, folder });
    const status = await grown.status();
    assert.equal(status.connections?.length, 4);
    assert.equal(status.cache.cacheId, cacheId);
    assert.deepEqual(status.warnings, []);
    await grown.close();
    const record = JSON.parse(readFileSync(join(folder, 'connections.json'), 'utf8')) as Record<string, unknown>;
    assert.deepEqual([record.connections, record.partsCount], [4, 4]);
    const shrunk = await openSubject(t, { url: AWAY, connections: 1 }, { isStopped: true, folder });
    assert.equal((await shrunk.status()).connections?.length, 1);
  });

  for (const [from, to] of [
    [1, 4],
    [4, 2],
    [4, 1],
    [2, 3],
  ] as const) {
    test(`does not take effect while something waits (${from} to ${to}), says so, and then does`, async (t) => {
      const broker = await startMosquitto({ persistence: true });
      t.after(() => broker.stop());
      const subscriber = await openSubscriber({ url: broker.url, topics: 'plant/#', persistentClientId: 'watcher' });
      t.after(() => subscriber.close());
      const clientId = 'press-line';
      const former = await openSubject(t, { url: AWAY, clientId, connections: from }, { isStopped: true });
      await former.send(...round('first'));
      await former.close();
      const { folder } = former;
      const held = await openSubject(t, { url: broker.url, clientId, connections: to }, { folder });
      const before = await held.status();
      assert.equal(before.connections?.length, from);
      assert.match(before.warnings.join(), new RegExp(`connections is ${to}, and ${from} (is|are) still in effect`));
      assert.match(held.log.join('\n'), /warn CONNECTIONS_HELD/);
      await held.send(...round('second'));
      await held.untilEmpty();
      await held.close();
      const next = await openSubject(t, { url: broker.url, clientId, connections: to }, { folder });
      const after = await next.untilOnline();
      assert.equal(after.connections?.length, to);
      assert.doesNotMatch(after.warnings.join(), /in effect/);
      await next.send(...round('third'));
      await next.untilEmpty();
      await subscriber.waitFor(6 * TOPICS.length);
      for (const topic of TOPICS) {
        const texts = subscriber.texts(topic).filter((text) => !text.startsWith('alert'));
        assert.deepEqual(texts, ['first', 'second', 'third']);
      }
    });
  }

  test('leaves what is in quarantine where it is, listed, and what is retried of it is sent from there', async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.stop());
    const subscriber = await openSubscriber({ url: broker.url });
    t.after(() => subscriber.close());
    const former = await openSubject(t, { url: broker.url, connections: 4 });
    await former.untilOnline();
    const topic = topicOf(4, 4);
    // Content that says no topic that can be published goes to quarantine with the one that it has.
    const { quarantined } = await former.connector.accept(
      { type: 'messages', elements: [{ topic: `${topic}/#`, payload: 'x' }, ...round('first')] },
      { source: 'test' },
    );
    assert.equal(quarantined, 1);
    await former.untilEmpty();
    const [entry] = (await former.connector.list({ state: 'quarantined', limit: 10 })).messages;
    await former.close();
    const part = Math.max(1, Math.floor(entry!.id! / 10 ** 12));
    assert.equal(part, partOf(Buffer.from(`${topic}/#`), 4));

    const { folder } = former;
    const next = await openSubject(t, { url: broker.url, connections: 1 }, { folder });
    const status = await next.untilOnline();
    assert.equal(status.connections?.length, 1);
    assert.equal(status.cache.quarantinedCount, 1);
    const { messages } = await next.connector.list({ state: 'quarantined', limit: 10 });
    assert.equal(messages[0]?.id, entry?.id);
    assert.equal(await next.connector.retry({ ids: [entry!.id!] }, 'mended'), 1);
    await subscriber.waitFor((received) => received.some((message) => message.topic === 'mended'));
    await next.untilEmpty();
    assert.equal((await next.status()).cache.quarantinedCount, 0);
  });
});
