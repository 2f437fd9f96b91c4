/** A close in the states that pass quickly: recovering, draining, and in the middle of the search for a message. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, within } from '../kit/deadline.js';
import { type ScriptedBrokerOptions, startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubject } from './subject.js';
import { isPublish } from './wire.js';

const TEXTS = Array.from({ length: 40 }, (_, index) => `${index}`);

function isQuiet(): ScriptedBrokerOptions['onPacket'] {
  return ({ cmd }) => (cmd === 'publish' ? undefined : 'default');
}

/** A broker with a session, which delivers a message once however often it is sent. */
async function startKeepingBroker() {
  const delivered: string[] = [];
  const held = new Set<number>();
  let hold: ScriptedBrokerOptions['onPacket'];
  let receiveMaximum = 20;
  const broker = await startScriptedBroker({
    connack: ({ clean }) => ({
      sessionPresent: clean !== true && broker.peers.length > 1,
      properties: { receiveMaximum },
    }),
    onPacket: (packet, peer) => {
      const id = packet.messageId ?? 0;
      if (isPublish(packet)) {
        if (!held.has(id)) delivered.push(packet.payload.toString());
        held.add(id);
      } else if (packet.cmd === 'pubrel') held.delete(id);
      return hold === undefined ? 'default' : hold(packet, peer);
    },
  });
  const behave = (onPacket: ScriptedBrokerOptions['onPacket'], most = 20): void => {
    hold = onPacket;
    receiveMaximum = most;
  };
  return { broker, delivered, behave };
}

test('closed while it is recovering, it ends at its deadline, and the next one brings each message once', async (t) => {
  const { broker, delivered, behave } = await startKeepingBroker();
  t.after(() => broker.close());
  behave(isQuiet());
  const subject = await openSubject(t, { url: broker.url, qos: 2 });
  await subject.send(...TEXTS);
  await subject.until(({ inflight }) => inflight >= 14, 'a full window');
  behave(isQuiet(), 3);
  broker.peers[0]?.reset();
  await subject.until(({ state }) => state === 'recovering', 'the recovery that cannot end');
  await within(subject.close(200), 'the close');
  assert.equal(subject.states.at(-1), 'stopped');
  behave(undefined);
  const next = await openSubject(t, { url: broker.url, qos: 2 }, { folder: subject.folder });
  await next.untilEmpty();
  assert.deepEqual(delivered, TEXTS);
});

test('closed while it is draining, the shorter deadline counts, and the next one brings each message once', async (t) => {
  const { broker, delivered, behave } = await startKeepingBroker();
  t.after(() => broker.close());
  behave(isQuiet());
  const subject = await openSubject(t, { url: broker.url, qos: 2 });
  await subject.send(...TEXTS);
  await subject.until(({ inflight }) => inflight >= 14, 'a full window');
  const stopped = subject.connector.stop(600_000);
  assert.equal((await subject.status()).state, 'draining');
  await within(subject.close(200), 'the close');
  await within(stopped, 'the stop with the long deadline');
  behave(undefined);
  const next = await openSubject(t, { url: broker.url, qos: 2 }, { folder: subject.folder });
  await next.untilEmpty();
  assert.deepEqual(delivered, TEXTS);
});

test('closed while it looks for the message that makes the broker close, it ends, and the next one finds it', async (t) => {
  const received: string[] = [];
  const broker = await startScriptedBroker({
    onPacket: (packet, peer) => {
      if (!isPublish(packet)) return 'default';
      if (packet.payload.toString() === '17') {
        peer.close();
        return undefined;
      }
      received.push(packet.payload.toString());
      return 'default';
    },
  });
  t.after(() => broker.close());
  const subject = await openSubject(t, { url: broker.url });
  await subject.send(...TEXTS);
  await eventually(() => subject.log.some((line) => line.includes('looking for the message')), 'the search to begin');
  await within(subject.close(1000), 'the close');
  const next = await openSubject(t, { url: broker.url }, { folder: subject.folder });
  const status = await next.until(({ cache }) => cache.quarantinedCount === 1, 'it to be found');
  await next.untilEmpty();
  assert.equal(status.counts.telemetry.quarantined, 1);
  assert.deepEqual(
    [...new Set(received)],
    TEXTS.filter((text) => text !== '17'),
  );
});
