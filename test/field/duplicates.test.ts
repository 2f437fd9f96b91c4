/** What goes wrong in this field: duplicates. Each number is a case of that list. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Packet } from 'mqtt-packet';
import { openSubject } from '../connector/subject.js';
import { isPublish } from '../connector/wire.js';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { startSubscriberProcess } from '../kit/subscriber-process.js';
import { accept, elementsOf, MESSAGES, openScene, untilEmpty } from './scene.js';

const COUNTS = { 1: 20_000, 2: 6000 } as const;

for (const [qos, signal] of [
  [2, 'SIGTERM'],
  [2, 'SIGKILL'],
  [1, 'SIGTERM'],
  [1, 'SIGKILL'],
] as const) {
  const promise = qos === 2 || signal === 'SIGTERM' ? 'nothing of it again' : 'only what was just in flight again';
  test(`field 10: ${signal} in the middle of one large batch sends ${promise} (QoS ${qos})`, async (t) => {
    const broker = await startMosquitto({ persistence: true });
    t.after(() => broker.kill());
    const subscriber = await startSubscriberProcess({ url: broker.url, persistentClientId: 'watcher' });
    t.after(() => subscriber.close());
    const COUNT = COUNTS[qos];
    const scene = await openScene(t, { settings: { url: broker.url, qos } });
    await accept(scene.service, elementsOf(COUNT));
    await subscriber.waitFor(COUNT / 4);
    await scene.service.process.kill(signal);
    const before = subscriber.messages().length;
    assert.ok(before < COUNT, `${before} of ${COUNT} had arrived: the stop came too late to show anything`);
    await scene.restart();
    await untilEmpty(scene.service, 60_000);
    await subscriber.waitFor((messages) => new Set(messages.map(({ text }) => text)).size === COUNT, 20_000);
    const duplicatesCount = subscriber.messages().length - COUNT;
    // At QoS 1 the acknowledgements of the last moment are not on disk yet: more of them, the slower the disk.
    const most = promise.startsWith('nothing') ? 0 : before / 2;
    assert.ok(duplicatesCount <= most, `${duplicatesCount} of ${COUNT} arrived twice`);
    t.diagnostic(`${duplicatesCount} duplicates after ${before} messages`);
  });
}

interface Sent {
  text: string;
  id: number;
  dup: boolean;
}

function sentIn(packets: readonly Packet[]): Sent[] {
  return packets
    .filter(isPublish)
    .map(({ payload, messageId = 0, dup }) => ({ text: payload.toString(), id: messageId, dup }));
}

for (const isKept of [true, false]) {
  const how = isKept
    ? 'with its session kept, with DUP, the same identifiers and in order'
    : 'with its session lost, as new, without DUP, and counted';
  test(`field 11: what is in doubt is sent again as Session Present says: ${how}`, async (t) => {
    let mayAcknowledge = false;
    const broker = await startScriptedBroker({
      connack: () => ({ sessionPresent: isKept && broker.peers.length > 1 }),
      onPacket: ({ cmd }) => (cmd === 'publish' && !mayAcknowledge ? undefined : 'default'),
    });
    t.after(() => broker.close());
    const subject = await openSubject(t, { url: broker.url, qos: 2, clientId: 'press-line-7' });
    await subject.send(...elementsOf(10).map(({ payload }) => payload));
    await eventually(() => sentIn(broker.packets).length === 10, 'all to be sent');
    const [first] = broker.peers;
    mayAcknowledge = true;
    first?.reset();
    const status = await subject.untilEmpty();
    const before = sentIn(first?.packets ?? []);
    const again = sentIn(broker.peers[1]?.packets ?? []);
    assert.deepEqual(
      again.map(({ text, dup }) => [text, dup]),
      before.map(({ text }) => [text, isKept]),
    );
    if (isKept) {
      assert.deepEqual(
        again.map(({ id }) => id),
        before.map(({ id }) => id),
      );
    }
    assert.equal(status.counts.telemetry.possibleDuplicates, isKept ? 0 : 10);
    assert.equal(status.counts.telemetry.published, 10);
  });
}

test('field 12: a producer that gives up waiting and asks again with its key is published once', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.kill());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const { service } = await openScene(t, { settings: { url: broker.url, qos: 2 } });
  const COUNT_OF_PRODUCERS = 60;
  const produce = async (producer: number): Promise<string> => {
    const body = JSON.stringify([{ topic: 't', payload: `${producer}` }]);
    const headers = { 'content-type': 'application/json', 'idempotency-key': `key-${producer}` };
    const ask = (signal: AbortSignal): Promise<Response> =>
      fetch(service.url + MESSAGES, { method: 'POST', body, headers, signal });
    // Some give up before the service has read them, some in the middle of the commit, some after the answer.
    for (const patienceMs of [1, 3, 6, 12]) await ask(AbortSignal.timeout(patienceMs)).catch(() => undefined);
    const answers = await Promise.all([ask(AbortSignal.timeout(10_000)), ask(AbortSignal.timeout(10_000))]);
    const receipts = await Promise.all(
      answers.map(async (answer) => {
        assert.equal(answer.status, 202);
        return ((await answer.json()) as { receipt: string }).receipt;
      }),
    );
    assert.equal(receipts[0], receipts[1]);
    return receipts[0] ?? '';
  };
  const receipts = await Promise.all(Array.from({ length: COUNT_OF_PRODUCERS }, (_, producer) => produce(producer)));
  assert.equal(new Set(receipts).size, COUNT_OF_PRODUCERS);
  await untilEmpty(service);
  await subscriber.waitFor(COUNT_OF_PRODUCERS);
  await accept(service, [{ topic: 't', payload: 'last' }]);
  await subscriber.waitFor((messages) => messages.at(-1)?.text === 'last');
  assert.equal(subscriber.messages.length, COUNT_OF_PRODUCERS + 1);
  const { counts } = await service.until('plant', () => true, 'its status');
  assert.equal(counts.telemetry.accepted, COUNT_OF_PRODUCERS + 1);
});

test('field 13: after kill -9 a message whose PUBREC had come goes on with PUBREL, and is not published again', async (t) => {
  const port = await freePort();
  /** It delivers at PUBREL, and completes nothing before the kill. */
  const delivered: string[] = [];
  const held = new Map<number, string>();
  let completes = false;
  const broker = await startScriptedBroker({
    port,
    connack: ({ clean }) => ({ sessionPresent: clean !== true }),
    onPacket: (packet, peer) => {
      const id = packet.messageId ?? 0;
      if (isPublish(packet)) held.set(id, packet.payload.toString());
      if (packet.cmd !== 'pubrel') return 'default';
      const text = held.get(id);
      held.delete(id);
      if (text !== undefined) delivered.push(text);
      if (completes) peer.answer(packet);
      return undefined;
    },
  });
  t.after(() => broker.close());
  const scene = await openScene(t, { settings: { url: broker.url, qos: 2 } });
  const texts = elementsOf(10).map(({ payload }) => payload);
  await accept(scene.service, elementsOf(10));
  await eventually(() => broker.packets.filter(({ cmd }) => cmd === 'pubrel').length === 10, 'all PUBRELs');
  await scene.service.kill();
  completes = true;
  const peersBefore = broker.peers.length;
  await scene.restart();
  await untilEmpty(scene.service);
  assert.deepEqual(delivered, texts, 'each once');
  const later = broker.peers.slice(peersBefore).flatMap(({ packets }) => packets);
  assert.deepEqual(
    later.map(({ cmd }) => cmd).filter((cmd) => cmd !== 'pingreq'),
    ['connect', ...Array<string>(10).fill('pubrel')],
  );
  const ids = (cmd: string, packets: readonly Packet[]): unknown[] =>
    packets.filter((packet) => packet.cmd === cmd).map(({ messageId }) => messageId);
  assert.deepEqual(ids('pubrel', later), ids('publish', broker.packets), 'in the order of the messages');
});
