import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Aedes } from 'aedes';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startProcess } from '../kit/process.js';
import { startProxy } from '../kit/proxy.js';
import { type ScriptedBroker, type ScriptedBrokerOptions, startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { openSubject } from './subject.js';
import { isConnect, recordedPackets } from './wire.js';

async function startScript(t: TestContext, options: ScriptedBrokerOptions): Promise<ScriptedBroker> {
  const broker = await startScriptedBroker(options);
  t.after(() => broker.close());
  return broker;
}

function versionsAskedFor({ packets }: Pick<ScriptedBroker, 'packets'>): (number | undefined)[] {
  return packets.filter(isConnect).map(({ protocolVersion }) => protocolVersion);
}

/** CONNACK of MQTT 3.1.1: "unacceptable protocol version". */
const OLD_REFUSAL = Buffer.from([0x20, 2, 0, 1]);

const OLD_BROKERS: readonly [string, NonNullable<ScriptedBrokerOptions['connack']>][] = [
  [
    'answers with the old refusal',
    ({ protocolVersion }, peer) => {
      if (protocolVersion !== 5) return {};
      peer.sendBytes(OLD_REFUSAL);
      peer.close();
      return null;
    },
  ],
  [
    'closes',
    ({ protocolVersion }, peer) => {
      if (protocolVersion !== 5) return {};
      peer.close();
      return null;
    },
  ],
  [
    'resets',
    ({ protocolVersion }, peer) => {
      if (protocolVersion !== 5) return {};
      peer.reset();
      return null;
    },
  ],
  [
    'answers with the reason code of MQTT 5',
    ({ protocolVersion }) => (protocolVersion === 5 ? { reasonCode: 0x84 } : {}),
  ],
];

for (const [name, connack] of OLD_BROKERS) {
  test(`a broker that ${name} is asked in 3.1.1 within the same attempt, and remembered`, async (t) => {
    const broker = await startScript(t, { connack });
    // A second attempt would come after the test's deadline.
    const subject = await openSubject(t, { url: broker.url, reconnectPeriod: '300 s' });
    await subject.send('x');
    await subject.untilEmpty();
    const status = await subject.status();
    assert.equal(status.grant?.protocolVersion, 4);
    assert.deepEqual(versionsAskedFor(broker), [5, 4]);
    assert.equal(subject.failures.length, 0);
  });
}

test('the remembered version is used at once for the next connection', async (t) => {
  const [, connack] = OLD_BROKERS[0]!;
  const broker = await startScript(t, { connack });
  const subject = await openSubject(t, { url: broker.url });
  await subject.untilOnline();
  broker.peers.at(-1)?.close();
  await subject.until(({ reconnects, state }) => reconnects === 1 && state === 'online', 'it to be back');
  assert.deepEqual(versionsAskedFor(broker), [5, 4, 4]);
});

test('a fixed version is the only one that is tried', async (t) => {
  for (const [protocolVersion, level] of [
    ['5', 5],
    ['3.1.1', 4],
  ] as const) {
    const broker = await startScript(t, { connack: { reasonCode: 0x84, returnCode: 1 } });
    const subject = await openSubject(t, { url: broker.url, protocolVersion });
    await subject.untilFailed('BROKER_VERSION');
    broker.options = {};
    const status = await subject.untilOnline();
    assert.equal(status.grant?.protocolVersion, level);
    assert.deepEqual(new Set(versionsAskedFor(broker)), new Set([level]));
  }
});

test('mosquitto is spoken to in each version, as the settings say', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  for (const [protocolVersion, level] of [
    ['auto', 5],
    ['5', 5],
    ['3.1.1', 4],
  ] as const) {
    const proxy = await startProxy({ targetPort: broker.port, record: true });
    const subject = await openSubject(t, { url: proxy.url, protocolVersion, qos: 2 });
    await subject.send('x');
    await subject.untilEmpty();
    const { grant } = await subject.status();
    assert.equal(grant?.protocolVersion, level);
    await subject.close();
    const connects = recordedPackets(proxy, 'toBroker').filter(isConnect);
    assert.deepEqual(
      connects.map((packet) => packet.protocolVersion),
      [level],
    );
    await proxy.close();
  }
});

test('Aedes, the broker of the quick start, gets everything exactly once', async (t) => {
  const aedes = await Aedes.createBroker();
  const server = createServer(aedes.handle);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    aedes.close();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const url = `mqtt://127.0.0.1:${address.port}`;
  const subscriber = await openSubscriber({ url, protocolVersion: 4 });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url, qos: 2 });
  const texts = Array.from({ length: 200 }, (_, index) => `${index}`);
  await subject.send(...texts);
  const status = await subject.untilEmpty();
  await subscriber.waitFor(200);
  assert.deepEqual(subscriber.texts(), texts);
  assert.match(status.description, /exactly once$/);
});

const HAS_NATS = spawnSync('nats-server', ['--version']).status === 0;

test('a NATS server, which speaks 3.1.1 alone, gets everything', {
  skip: HAS_NATS ? false : 'no nats-server is installed',
}, async (t) => {
  const folder = temporaryFolder('nats');
  const port = await freePort();
  const lines = [
    'host: 127.0.0.1',
    'port: -1',
    'server_name: n1',
    `jetstream { store_dir: "${join(folder, 'store')}" }`,
    `mqtt { host: 127.0.0.1, port: ${port} }`,
  ];
  writeFileSync(join(folder, 'nats.conf'), lines.join('\n'));
  const server = startProcess('nats-server', ['-c', join(folder, 'nats.conf')]);
  t.after(() => server.kill());
  await server.waitForOutput('Server is ready');
  const url = `mqtt://127.0.0.1:${port}`;
  const subscriber = await openSubscriber({ url, protocolVersion: 4, qos: 1, topics: 'plant/#' });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url });
  await subject.send(...Array.from({ length: 200 }, (_, index) => ({ topic: 'plant/x', payload: `${index}` })));
  const status = await subject.untilEmpty();
  await subscriber.waitFor(200);
  assert.deepEqual(
    subscriber.texts(),
    Array.from({ length: 200 }, (_, index) => `${index}`),
  );
  assert.equal(status.grant?.protocolVersion, 4);
  assert.match(status.description, /at least once/);
});
