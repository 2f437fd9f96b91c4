import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { runCli, startCli } from '../kit/process.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { serviceFolder } from '../service/service-process.js';

test('test tells for each connector what the broker grants, or which step failed and what to do', async (t) => {
  const broker = await startMosquitto({ passwords: { plant: 'right' }, maxInflight: 7, maxPacketSize: 4096 });
  const capped = await startMosquitto({ maxQos: 1 });
  t.after(() => Promise.all([broker.kill(), capped.kill()]));
  const settings = { url: broker.url, qos: 2, authentication: { type: 'basic', username: 'plant', password: 'right' } };
  const { configFile, folder } = serviceFolder({
    connectors: [
      { id: 'good', settings },
      { id: 'old', settings: { ...settings, protocolVersion: '3.1.1' } },
      { id: 'wrong', settings: { ...settings, authentication: { ...settings.authentication, password: 'hunter2' } } },
      { id: 'capped', settings: { url: capped.url, qos: 2 } },
      { id: 'away', settings: { ...settings, url: `mqtt://127.0.0.1:${await freePort()}` } },
    ],
  });
  const run = (...args: string[]) => runCli(['test', '-c', configFile, ...args], { cwd: folder });

  const good = await run('good');
  assert.equal(good.code, 0, good.stdout);
  assert.match(good.stdout, /✔ connect +accepted, MQTT 5/);
  assert.match(good.stdout, /receive maximum +7\n/);
  assert.match(good.stdout, /packet size +4 KiB\n/);
  assert.match(good.stdout, /delivery +exactly once\n/);
  assert.match(good.stdout, /round trip +[\d.]+ ms\n/);

  assert.match(good.stdout, /session present +yes, at the second connection\n/);
  assert.match(good.stdout, /maximum QoS +2\n/);

  const old = await run('old');
  assert.match(old.stdout, /✔ qos +the broker grants QoS 2 to a subscription/);
  assert.match(old.stdout, /maximum QoS +not announced \(MQTT 3\.1\.1\); 2 granted to a subscription\n/);
  assert.match(old.stdout, /delivery +exactly once\n/);

  const less = await run('capped');
  assert.equal(less.code, 0, less.stdout);
  assert.match(less.stdout, /delivery +at least once: this broker grants QoS 1\n/);
  assert.match(less.stdout, /maximum QoS +1\n/);

  const all = await run('--json');
  assert.equal(all.code, 1);
  const reports = JSON.parse(all.stdout) as {
    connector: string;
    ok: boolean;
    error?: { code: string; remedy: string };
  }[];
  assert.deepEqual(
    reports.map(({ connector, ok, error }) => [connector, ok, error?.code]),
    [
      ['good', true, undefined],
      ['old', true, undefined],
      ['wrong', false, 'BROKER_NOT_AUTHORIZED'],
      ['capped', true, undefined],
      ['away', false, 'BROKER_REFUSED'],
    ],
  );
  for (const { error } of reports) assert.notEqual(error?.remedy, '');
  assert.doesNotMatch(all.stdout + all.stderr, /hunter2/);

  const unknown = await run('nobody');
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /good, old, wrong, capped, away/);
});

test('a test that is stopped by Ctrl+C says so and gives its session back', async (t) => {
  const broker = await startScriptedBroker({ connack: ({ clean }, { number }) => (clean || number === 1 ? {} : null) });
  t.after(() => broker.close());
  const { configFile, folder } = serviceFolder({
    connectors: [
      { id: 'first', settings: { url: broker.url, qos: 2, protocolVersion: '3.1.1' } },
      { id: 'second', settings: { url: broker.url } },
    ],
  });
  const run = startCli(['test', '-c', configFile], { cwd: folder, input: '' });
  const connects = () => broker.packets.filter((packet) => packet.cmd === 'connect');
  await eventually(() => connects().length === 2, 'the second connection');
  assert.deepEqual(await run.kill('SIGINT'), { code: 1, signal: null }, run.output);
  assert.match(run.stdout, /SERVICE_STOPPING: .*The test was cancelled/);
  assert.doesNotMatch(run.stdout, /^second/m);
  assert.deepEqual(
    connects().map(({ clean }) => clean),
    [false, false, true],
  );
});
