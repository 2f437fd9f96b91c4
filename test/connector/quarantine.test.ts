import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readRecord } from '../../src/core/record.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject, type Subject } from './subject.js';
import { isPublish } from './wire.js';

const PASSWORDS = { north: 'n', watcher: 'w' };
const WATCHING = { username: 'watcher', password: 'w' };
const NORTH = { type: 'basic', username: 'north', password: 'n' } as const;
const ACL = 'user watcher\ntopic read #\nuser north\ntopic write open/#';

interface Quarantined {
  topic: string;
  payload: string;
  code: string | undefined;
  reason: string | undefined;
}

async function quarantineOf({ connector }: Subject): Promise<Quarantined[]> {
  const { messages } = await connector.list({ state: 'quarantined', limit: 1000 });
  return messages.map(({ record, code, reason }) => {
    const view = readRecord(record, 0);
    return { topic: text(view?.topic), payload: text(view?.payload), code, reason };
  });
}

function text(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString();
}

function byTopic(list: readonly Quarantined[]): [string, string | undefined][] {
  return list.map(({ topic, code }): [string, string | undefined] => [topic, code]).sort();
}

for (const qos of [1, 2] as const) {
  test(`what the ACL refuses goes to quarantine with the broker's code, the others flow, and a retry works once it is mended (QoS ${qos})`, async (t) => {
    const broker = await startMosquitto({ passwords: PASSWORDS, acl: ACL });
    t.after(() => broker.stop());
    const subscriber = await openSubscriber({ url: broker.url, client: WATCHING });
    t.after(() => subscriber.close());
    const subject = await openSubject(t, { url: broker.url, qos, authentication: NORTH });
    const told: string[] = [];
    subject.connector.on('quarantined', ({ code, lane }) => told.push(`${lane} ${code}`));
    await subject.untilOnline();
    const elements = Array.from({ length: 60 }, (_, index) => ({
      topic: index % 10 === 5 ? `closed/${index % 20}` : 'open/x',
      payload: `${index}`,
    }));
    await subject.send(...elements);
    const status = await subject.untilEmpty();
    await subscriber.waitFor(54);
    const open = elements.filter(({ topic }) => topic === 'open/x').map(({ payload }) => payload);
    assert.deepEqual(subscriber.texts(), open);
    assert.equal(status.cache.quarantinedCount, 6);
    assert.equal(status.counts.telemetry.quarantined, 6);
    assert.equal(status.counts.telemetry.published, 54);
    assert.equal(status.reconnects, 0, 'it costs no connection');
    assert.deepEqual(told, Array(6).fill('telemetry PUBLISH_NOT_AUTHORIZED'));
    const quarantine = await quarantineOf(subject);
    assert.deepEqual(new Set(quarantine.map(({ code }) => code)), new Set(['PUBLISH_NOT_AUTHORIZED']));
    assert.ok(
      quarantine.every(({ reason }) => reason?.includes('0x87')),
      JSON.stringify(quarantine),
    );
    assert.ok(
      subject.log.some((line) => line.startsWith('warn PUBLISH_NOT_AUTHORIZED')),
      subject.log.join(' | '),
    );

    writeFileSync(join(broker.folder, 'acl'), `${ACL}\ntopic write closed/#\n`);
    process.kill(broker.pid, 'SIGHUP');
    // The broker reads the file in a later turn: the first retry may come too early.
    await subject.until(async () => {
      await subject.connector.retry({ codes: ['PUBLISH_NOT_AUTHORIZED'] });
      return subscriber.messages.length >= 60;
    }, 'the retried messages to arrive');
    assert.equal((await subject.untilEmpty()).cache.quarantinedCount, 0);
    const closed = elements
      .filter(({ topic }) => topic !== 'open/x')
      .map(({ topic, payload }) => `${topic} ${payload}`);
    const late = subscriber.messages.slice(54).map((message) => `${message.topic} ${message.text}`);
    assert.deepEqual(late.sort(), closed.sort());
  });
}

test('a payload above the announced packet size is not sent, and one above an unannounced limit is refused', async (t) => {
  const limits = [
    { options: { maxPacketSize: 5000 }, code: 'PUBLISH_TOO_LARGE', reason: /has \d+ bytes; the broker takes 5000/ },
    { options: { messageSizeLimit: 5000 }, code: 'PUBLISH_REFUSED', reason: /0x95/ },
  ];
  for (const { options, code, reason } of limits) {
    const broker = await startMosquitto(options);
    t.after(() => broker.stop());
    const subscriber = await openSubscriber({ url: broker.url });
    const subject = await openSubject(t, { url: broker.url, qos: 2 });
    await subject.send('small', { topic: 'large', payload: 'x'.repeat(6000) }, 'after');
    const status = await subject.untilEmpty();
    await subscriber.waitFor(2);
    assert.deepEqual(subscriber.texts(), ['small', 'after']);
    const quarantine = await quarantineOf(subject);
    assert.deepEqual(byTopic(quarantine), [['large', code]]);
    assert.match(quarantine[0]?.reason ?? '', reason);
    assert.equal(status.reconnects, 0, 'it costs no connection');
    if (code === 'PUBLISH_TOO_LARGE') assert.equal(status.grant?.maximumPacketSizeBytes, 5000);
    await subject.close();
    await subscriber.close();
  }
});

for (const protocolVersion of ['5', '3.1.1'] as const) {
  test(`a message whose sight makes the broker close is found among many, and the others arrive once (MQTT ${protocolVersion})`, async (t) => {
    const received: string[] = [];
    /** What the broker holds between PUBLISH and PUBREL, over all connections, as its session. */
    const held = new Set<number>();
    const broker = await startScriptedBroker({
      connack: ({ clean }) => ({ sessionPresent: clean !== true && broker.peers.length > 1 }),
      onPacket: (packet, peer) => {
        if (isPublish(packet)) {
          if (packet.topic === 'poison') {
            peer.reset();
            return undefined;
          }
          const id = packet.messageId ?? 0;
          if (!held.has(id)) received.push(packet.payload.toString());
          held.add(id);
        } else if (packet.cmd === 'pubrel') held.delete(packet.messageId ?? 0);
        return peer.isClosed ? undefined : 'default';
      },
    });
    t.after(() => broker.close());
    const subject = await openSubject(t, { url: broker.url, qos: 2, protocolVersion });
    await subject.untilOnline();
    const payloads = Array.from({ length: 1000 }, (_, index) => `${index}`);
    const elements = payloads.map((payload, index) => ({ topic: index === 333 ? 'poison' : 't', payload }));
    await subject.send(...elements);
    const status = await subject.untilEmpty(20_000);
    const quarantine = await quarantineOf(subject);
    assert.deepEqual(
      quarantine.map(({ topic, payload, code }) => [topic, payload, code]),
      [['poison', '333', 'PUBLISH_POISONOUS']],
    );
    assert.match(quarantine[0]?.reason ?? '', /alone in flight/);
    assert.deepEqual(
      received,
      payloads.filter((payload) => payload !== '333'),
    );
    assert.equal(status.counts.telemetry.published, 999);
    assert.equal(status.counts.telemetry.possibleDuplicates, 0);
    assert.ok(status.reconnects <= 8, `${status.reconnects} connections were lost to it`);
    assert.ok(
      subject.log.some((line) => line.includes('looking for the message')),
      'the search is told',
    );
    await subject.send('later');
    await subject.untilEmpty();
    assert.equal(received.at(-1), 'later');
    assert.deepEqual((await subject.status()).warnings, [], 'nothing is left of the search');
  });
}

test('a broker that is out of quota is asked again later and takes the message once', async (t) => {
  let refusals = 0;
  const broker = await startScriptedBroker({
    onPacket: (packet, peer) => {
      if (!isPublish(packet) || packet.payload.toString() !== 'x' || refusals >= 2) return 'default';
      refusals++;
      peer.send({ cmd: 'puback', messageId: packet.messageId ?? 0, reasonCode: 0x97 });
      return undefined;
    },
  });
  t.after(() => broker.close());
  const subject = await openSubject(t, { url: broker.url });
  await subject.send('x', 'y');
  const status = await subject.untilEmpty();
  assert.equal(refusals, 2);
  assert.equal(status.counts.telemetry.published, 2);
  assert.equal(status.cache.quarantinedCount, 0);
  const sent = broker.packets.filter(isPublish).map(({ payload, dup }) => [payload.toString(), dup]);
  assert.deepEqual(sent.sort(), [
    ['x', false],
    ['x', false],
    ['x', false],
    ['y', false],
  ]);
});

test('a point without a mapping waits in quarantine, and goes out with a topic that is given by hand', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const transformers = [
    { from: '*', type: 'time-values-to-mqtt' as const, mapping: [{ pointId: 'known', topic: 'k' }] },
  ];
  const subject = await openSubject(t, { url: broker.url }, { transformers });
  const value = { timestamp: '2026-01-15T10:00:00.000Z', data: { value: 1 } };
  const elements = [
    { pointId: 'unknown', ...value },
    { pointId: 'known', ...value },
  ];
  const receipt = await subject.connector.accept({ type: 'time-values', elements }, { source: 'test' });
  assert.deepEqual([receipt.accepted, receipt.quarantined, receipt.rejected.length], [2, 1, 0]);
  await subscriber.waitFor(1);
  const { messages } = await subject.connector.list({ state: 'quarantined', limit: 10 });
  assert.equal(messages[0]?.code, 'UNMAPPED');
  await subject.connector.retry({ ids: [messages[0]?.id ?? -1] }, 'by/hand');
  await subscriber.waitFor(2);
  assert.deepEqual(
    subscriber.messages.map(({ topic }) => topic),
    ['k', 'by/hand'],
  );
  assert.equal((await subject.untilEmpty()).cache.quarantinedCount, 0);
});
