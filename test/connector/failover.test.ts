import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startProxy } from '../kit/proxy.js';
import { type ScriptedBrokerOptions, startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject } from './subject.js';
import { isConnect } from './wire.js';

test('brokers are tried in order, the second takes over when the first goes, and the first is preferred again', async (t) => {
  const [first, second] = [await startMosquitto({ persistence: true }), await startMosquitto({ persistence: true })];
  t.after(() => Promise.all([first.stop(), second.stop()]));
  const proxy = await startProxy({ targetPort: second.port });
  t.after(() => proxy.close());
  const atFirst = await openSubscriber({ url: first.url, persistentClientId: 'watcher' });
  const atSecond = await openSubscriber({ url: second.url });
  t.after(() => Promise.all([atFirst.close(), atSecond.close()]));

  const subject = await openSubject(t, { url: first.url, brokers: [proxy.url], qos: 2 });
  await subject.send('1');
  assert.equal((await subject.untilEmpty()).broker, first.url);
  await first.stop();
  await subject.send('2');
  await subject.until(({ broker, state }) => broker === proxy.url && state === 'online', 'the second to take over');
  await atSecond.waitFor(1);
  assert.deepEqual(atSecond.texts(), ['2']);
  await subject.untilEmpty();

  await first.restart();
  await subject.send('3');
  await atSecond.waitFor(2);
  assert.equal((await subject.status()).broker, proxy.url, 'a connection that works is kept');
  proxy.cut();
  await subject.until(({ broker, state }) => broker === first.url && state === 'online', 'the first to be back');
  await subject.send('4');
  await atFirst.waitFor(2);
  await subject.untilEmpty();
  assert.deepEqual(atFirst.texts(), ['1', '4']);
  assert.deepEqual(atSecond.texts(), ['2', '3']);
});

test('a broker that is away at the start is passed over within the same attempt', async (t) => {
  const broker = await startScriptedBroker();
  t.after(() => broker.close());
  const url = `mqtt://127.0.0.1:${await freePort()}`;
  // A second attempt would come after the test's deadline.
  const subject = await openSubject(t, { url, brokers: [broker.url], reconnectPeriod: '300 s' });
  const status = await subject.untilOnline();
  assert.equal(status.broker, broker.url);
  assert.deepEqual(
    subject.failures.map(({ code }) => code),
    ['BROKER_REFUSED'],
  );
});

test('each broker is asked in its own version', async (t) => {
  const closesAt5: ScriptedBrokerOptions['connack'] = ({ protocolVersion }, peer) => {
    if (protocolVersion !== 5) return { returnCode: 3, reasonCode: 0x88 };
    peer.close();
    return null;
  };
  const [old, young] = [await startScriptedBroker({ connack: closesAt5 }), await startScriptedBroker()];
  t.after(() => Promise.all([old.close(), young.close()]));
  const subject = await openSubject(t, { url: old.url, brokers: [young.url] });
  await subject.untilOnline();
  const versions = (broker: typeof old) =>
    broker.packets.filter(isConnect).map(({ protocolVersion }) => protocolVersion);
  assert.deepEqual(versions(old), [5, 4]);
  assert.deepEqual(versions(young), [5]);
});

test('what is in doubt at the broker that goes is sent to the other one and counted', async (t) => {
  const mute = await startScriptedBroker({ onPacket: ({ cmd }) => (cmd === 'publish' ? undefined : 'default') });
  const other = await startMosquitto();
  t.after(() => Promise.all([mute.close(), other.stop()]));
  const subscriber = await openSubscriber({ url: other.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: mute.url, brokers: [other.url], qos: 2 });
  await subject.send('in doubt');
  await eventually(() => mute.packets.some(({ cmd }) => cmd === 'publish'), 'the message to arrive');
  await mute.close();
  await subject.send('new');
  await subscriber.waitFor(2);
  const status = await subject.untilEmpty();
  assert.deepEqual(subscriber.texts(), ['in doubt', 'new']);
  assert.equal(status.counts.telemetry.possibleDuplicates, 1);
  assert.doesNotMatch(status.warnings.join(), /lost our session/, 'this broker never had it');
});
