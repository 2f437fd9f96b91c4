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
import { startAckCounter, startSyncProbe } from './recent.js';
import { accept, elementsOf, MESSAGES, openScene, untilEmpty } from './scene.js';

/** Mosquitto's Receive Maximum. */
const WINDOW = 20;
/** A settlement waits for its save until there are so many, or for so long. */
const SETTLEMENTS_PER_SAVE = 256;
const SAVE_DELAY_MS = 100;
/** Beside its sync, a commit waits for a processor twice, on its way to another thread and back. */
const COMMIT_LEAST_MS = 100;
/** How slow the disk was in this time before a kill is taken for how slow it is then. */
const LAST_MOMENT_MS = 300;

const CASES = [
  { qos: 2, signal: 'SIGTERM', count: 6000, again: 'nothing of it' },
  { qos: 2, signal: 'SIGKILL', count: 6000, again: 'nothing of it' },
  { qos: 1, signal: 'SIGTERM', count: 20_000, again: 'nothing of it' },
  // Slowly, so that what may come again is little against what may not.
  {
    qos: 1,
    signal: 'SIGKILL',
    count: 6000,
    again: 'only what was just in flight',
    rateLimit: { messagesPerSecond: 2000 },
  },
] as const;

for (const { qos, signal, count, again, ...more } of CASES) {
  test(`field 10: ${signal} in the middle of one large batch sends ${again} again (QoS ${qos})`, async (t) => {
    const broker = await startMosquitto({ persistence: true });
    t.after(() => broker.kill());
    const subscriber = await startSubscriberProcess({ url: broker.url, persistentClientId: 'watcher' });
    t.after(() => subscriber.close());
    const { url, atMs: ackedAtMs } = await startAckCounter(t, broker.port);
    const scene = await openScene(t, { settings: { url, qos, ...more } });
    const probe = startSyncProbe(t);
    await accept(scene.service, elementsOf(count));
    await subscriber.waitFor(count / 3);
    const killedMs = performance.now();
    await scene.service.process.kill(signal);
    const commitMs = Math.max(COMMIT_LEAST_MS, probe.longestMs(killedMs - LAST_MOMENT_MS));
    const before = subscriber.messages().length;
    assert.ok(before < count, `${before} of ${count} had arrived: the stop came too late to show anything`);
    await scene.restart();
    await untilEmpty(scene.service, 60_000);
    await subscriber.waitFor((messages) => new Set(messages.map(({ text }) => text)).size === count, 20_000);
    const duplicatesCount = subscriber.messages().length - count;
    // At QoS 1, beside what is in flight, those may come again whose acknowledgement is not on disk: the last save that is
    // there began when the one before it was done or its time had come, and the next one was still under way.
    const fromMs = killedMs - SAVE_DELAY_MS - 2 * commitMs;
    const recentCount = ackedAtMs.filter((atMs) => atMs >= fromMs).length;
    const most = again === 'nothing of it' ? 0 : WINDOW + Math.max(SETTLEMENTS_PER_SAVE, recentCount);
    assert.ok(duplicatesCount <= most, `${duplicatesCount} of ${count} arrived twice; permitted are ${most}`);
    t.diagnostic(
      `${duplicatesCount} duplicates after ${before} messages, permitted are ${most} for commits of ${Math.round(commitMs)} ms`,
    );
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
