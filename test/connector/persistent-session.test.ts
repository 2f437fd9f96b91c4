import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { type ScriptedBroker, startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject, type SettingsInput, type Subject } from './subject.js';
import { isConnect } from './wire.js';

const VERSIONS = ['5', '3.1.1'] as const;

async function untilBack(subject: Subject, reconnects: number) {
  return subject.until((status) => status.reconnects >= reconnects && status.state === 'online', 'it to be back');
}

for (const protocolVersion of VERSIONS) {
  test(`the session is found again when we restart and when the broker does, under MQTT ${protocolVersion}`, async (t) => {
    const broker = await startMosquitto({ persistence: true });
    t.after(() => broker.stop());
    const settings = { url: broker.url, protocolVersion };
    const first = await openSubject(t, settings);
    await first.send('x');
    const before = await first.untilEmpty();
    assert.equal(before.grant?.sessionPresent, false);
    await first.close();

    const second = await openSubject(t, settings, { folder: first.folder });
    assert.equal((await second.untilOnline()).grant?.sessionPresent, true, 'after our restart');
    await broker.restart();
    const back = await untilBack(second, 1);
    assert.equal(back.grant?.sessionPresent, true, "after the broker's restart");
    assert.equal(back.grant?.clientId, before.grant?.clientId);
    assert.doesNotMatch(back.warnings.join(), /lost our session/);
  });

  test(`a session that the broker has lost is told, and everything still arrives, under MQTT ${protocolVersion}`, async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.stop());
    const subject = await openSubject(t, { url: broker.url, protocolVersion, qos: 2 });
    await subject.send('before');
    await subject.untilEmpty();
    await broker.stop();
    await subject.send('meanwhile');
    await broker.restart();
    const subscriber = await openSubscriber({ url: broker.url });
    t.after(() => subscriber.close());
    await subject.send('after');
    await subscriber.waitFor((messages) => messages.some(({ text }) => text === 'after'));
    const status = await subject.untilEmpty();
    assert.equal(status.grant?.sessionPresent, false);
    assert.match(status.warnings.join(), /lost our session/);
    assert.match(status.description, /, at least once: this broker has lost our session$/);
    assert.equal(status.counts.telemetry.published, 3);
  });

  test(`without persistent each session is a clean one, under MQTT ${protocolVersion}`, async (t) => {
    const broker = await startMosquitto({ persistence: true });
    t.after(() => broker.stop());
    const settings = { url: broker.url, protocolVersion, persistent: false };
    const subject = await openSubject(t, settings);
    await subject.send('x');
    await subject.untilEmpty();
    await broker.restart();
    const back = await untilBack(subject, 1);
    assert.equal(back.grant?.sessionPresent, false);
    assert.doesNotMatch(back.warnings.join(), /lost our session/);
    await subject.close();
    const again = await openSubject(t, settings, { folder: subject.folder });
    assert.equal((await again.untilOnline()).grant?.sessionPresent, false);
  });
}

test('the first connection of 3.1.1 leaves a lasting session behind', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subject = await openSubject(t, { url: broker.url, protocolVersion: '3.1.1', qos: 2 });
  const { grant } = await subject.untilOnline();
  await subject.close();
  // Another client with that id asks the broker itself.
  const [present] = await new Promise<[boolean]>((resolve, reject) => {
    import('mqtt').then(({ connect }) => {
      const client = connect(broker.url, {
        protocolVersion: 4,
        clean: false,
        clientId: grant?.clientId ?? '',
        reconnectPeriod: 0,
      });
      client.on('connect', ({ sessionPresent }) => client.end(true, () => resolve([sessionPresent])));
      client.on('error', reject);
    }, reject);
  });
  assert.equal(present, true);
});

async function connectOf(t: TestContext, settings: Partial<SettingsInput>) {
  const broker = await startScriptedBroker();
  t.after(() => broker.close());
  const subject = await openSubject(t, { url: broker.url, ...settings });
  await subject.untilOnline();
  await subject.close();
  return broker.packets.find(isConnect);
}

test('how long the broker is to keep the session goes into CONNECT', async (t) => {
  const expiryOf = async (settings: Partial<SettingsInput>) =>
    (await connectOf(t, settings))?.properties?.sessionExpiryInterval;
  assert.equal(await expiryOf({}), 7 * 86_400);
  assert.equal(await expiryOf({ sessionExpiryInterval: '12 h' }), 43_200);
  assert.equal(await expiryOf({ sessionExpiryInterval: 'never' }), 0xffff_ffff);
  assert.equal(await expiryOf({ persistent: false }), 0);
  assert.equal(await expiryOf({ qos: 0 }), 0);
});

test('a session of an unknown life is wiped out before a new one begins', async (t) => {
  for (const protocolVersion of VERSIONS) {
    const broker = await startMosquitto();
    t.after(() => broker.stop());
    const settings = { url: broker.url, protocolVersion, clientId: 'press-line-7', qos: 2 } as const;
    const former = await openSubject(t, settings);
    await former.untilOnline();
    await former.close();
    // The data directory was lost; the broker still has its side.
    const subject = await openSubject(t, settings);
    await subject.send('x');
    const status = await subject.untilEmpty();
    assert.equal(status.grant?.sessionPresent, false);
    assert.equal(status.counts.telemetry.possibleDuplicates, 0);
    await subject.close();
    const again = await openSubject(t, settings, { folder: subject.folder });
    assert.equal((await again.untilOnline()).grant?.sessionPresent, true);
  }
});

test('another client with our id makes no fight: it is told, and we stay away for half a minute', async (t) => {
  const broker: ScriptedBroker = await startScriptedBroker();
  t.after(() => broker.close());
  const subject = await openSubject(t, { url: broker.url });
  await subject.untilOnline();
  const [peer] = broker.peers;
  peer?.send({ cmd: 'disconnect', reasonCode: 0x8e });
  peer?.close();
  const error = await subject.untilFailed('CLIENT_ID_TAKEN');
  assert.match(error.remedy, /different clientId/);
  const status = await subject.until(({ state }) => state === 'waiting', 'it to wait');
  const seconds = Number(/in (\d+) s/.exec(status.description)?.[1]);
  assert.ok(seconds >= 28 && seconds <= 31, status.description);
  await eventually(() => subject.log.filter((line) => line.includes('CLIENT_ID_TAKEN')).length === 1, 'one log line');
});
