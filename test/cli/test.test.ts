import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { runCli } from '../kit/process.js';
import { serviceFolder } from '../service/service-process.js';

test('test tells for each connector what the broker grants, or which step failed and what to do', async (t) => {
  const broker = await startMosquitto({ passwords: { plant: 'right' }, maxInflight: 7, maxPacketSize: 4096 });
  t.after(() => broker.kill());
  const settings = { url: broker.url, qos: 2, authentication: { type: 'basic', username: 'plant', password: 'right' } };
  const { configFile, folder } = serviceFolder({
    connectors: [
      { id: 'good', settings },
      { id: 'wrong', settings: { ...settings, authentication: { ...settings.authentication, password: 'hunter2' } } },
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
      ['wrong', false, 'BROKER_NOT_AUTHORIZED'],
      ['away', false, 'BROKER_REFUSED'],
    ],
  );
  for (const { error } of reports) assert.notEqual(error?.remedy, '');
  assert.doesNotMatch(all.stdout + all.stderr, /hunter2/);

  const unknown = await run('nobody');
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /good, wrong, away/);
});
