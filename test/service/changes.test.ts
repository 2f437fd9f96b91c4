import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startCli } from '../kit/process.js';
import { openSubscriber } from '../kit/subscriber.js';
import { serviceFolder } from './service-process.js';

const MESSAGES = '/api/content?connector=plant&type=messages';

test('a connector is made, changed and removed by the API; what is queued stays, secrets are encrypted', async (t) => {
  const broker = await startMosquitto({ passwords: { plant: 'hunter2' } });
  t.after(() => broker.kill());
  const subscriber = await openSubscriber({ url: broker.url, client: { username: 'plant', password: 'hunter2' } });
  t.after(() => subscriber.close());
  const folder = serviceFolder({ connectors: [] });
  let service = await folder.start();
  t.after(() => service.kill());

  const away = `mqtt://127.0.0.1:${await freePort()}`;
  const authentication = { type: 'basic', username: 'plant', password: 'hunter2' };
  const settings = { url: away, reconnectPeriod: 200, authentication };
  const made = await service.post('/api/connectors', { id: 'plant', settings });
  assert.equal(made.status, 201, await made.clone().text());
  assert.equal((await service.post('/api/connectors', { id: 'plant', settings })).status, 409);
  assert.equal((await service.post(MESSAGES, [{ topic: 'a', payload: 'queued' }])).status, 202);

  const seen = (await service.get('/api/connectors/plant')) as { config: { settings: typeof settings } };
  assert.match(seen.config.settings.authentication.password, /^(secret:[\w.-]+|\[redacted\])$/);
  const config = { ...seen.config, settings: { ...seen.config.settings, url: broker.url } };
  const changed = await service.put('/api/connectors/plant', config);
  assert.equal(changed.status, 200, await changed.clone().text());
  await subscriber.waitFor(1);
  assert.deepEqual(subscriber.texts(), ['queued']);

  assert.equal((await service.stop()).code, 0);
  for (const name of readdirSync(folder.folder, { recursive: true, encoding: 'utf8' })) {
    if (!/\.(yaml|json|db|db-wal)$/.test(name)) continue;
    assert.doesNotMatch(readFileSync(join(folder.folder, name), 'latin1'), /hunter2/, name);
  }
  assert.doesNotMatch(service.process.output, /hunter2/);

  service = await folder.start();
  await service.until('plant', ({ state }) => state === 'online', 'the connector online after a restart');
  assert.equal((await service.remove('/api/connectors/plant')).status, 204);
  assert.equal((await service.post(MESSAGES, [{ topic: 'a', payload: 'x' }])).status, 404);
});

test('while a connector is changed, producers are told to come again and never that there is none', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.kill());
  const settings = { url: broker.url, reconnectPeriod: 200 };
  const service = await serviceFolder({ connectors: [{ id: 'plant', settings }] }).start();
  t.after(() => service.kill());
  const answers = new Set<number>();
  let isDone = false;
  const producer = async () => {
    while (!isDone) answers.add((await service.post(MESSAGES, [{ topic: 'a', payload: 'x' }])).status);
  };
  const viewed = new Set<string>();
  const viewer = async () => {
    while (!isDone) {
      const { status } = (await service.get('/api/connectors/plant')) as { status: { state: string } };
      viewed.add(status.state);
    }
  };
  const work = Promise.all([producer(), producer(), viewer()]);
  for (const keepalive of [20, 30, 40]) {
    const changed = await service.put('/api/connectors/plant', { id: 'plant', settings: { ...settings, keepalive } });
    assert.equal(changed.status, 200, await changed.clone().text());
  }
  isDone = true;
  await work;
  assert.deepEqual([...answers].sort(), [202, 503]);
  assert.ok(!viewed.has('failed'), `the states were ${[...viewed].join(', ')}`);
});

test('a connector with messages is not removed unless they are to be discarded', async (t) => {
  const folder = serviceFolder({
    connectors: [{ id: 'plant', settings: { url: `mqtt://127.0.0.1:${await freePort()}` } }],
  });
  const service = await folder.start();
  t.after(() => service.kill());
  assert.equal((await service.post(MESSAGES, [{ topic: 'a', payload: 'x' }])).status, 202);
  const refused = await service.remove('/api/connectors/plant');
  assert.equal(refused.status, 409);
  assert.equal(((await refused.json()) as { code: string }).code, 'CONNECTOR_NOT_EMPTY');
  assert.equal((await service.remove('/api/connectors/plant?discard=true')).status, 204);
});

test('a second service on the same data directory is refused with the pid of the first', async (t) => {
  const folder = serviceFolder({ connectors: [] });
  const first = await folder.start();
  t.after(() => first.kill());
  const second = startCli(['run', '-c', folder.configFile], { cwd: folder.folder });
  t.after(() => second.kill());
  const end = await second.ended;
  assert.equal(end.code, 1);
  assert.match(second.stderr, new RegExp(`CACHE_LOCKED[\\s\\S]*\\b${first.process.pid}\\b`));
  await first.kill();
  const third = await folder.start();
  t.after(() => third.kill());
  await eventually(() => third.url !== '', 'the service after a kill');
});

test('a test of settings never sends a stored password to another broker', async (t) => {
  const folder = serviceFolder({
    connectors: [
      {
        id: 'plant',
        settings: {
          url: `mqtt://127.0.0.1:${await freePort()}`,
          authentication: { type: 'basic', username: 'plant', password: 'hunter2' },
        },
      },
    ],
  });
  const service = await folder.start();
  t.after(() => service.kill());
  const settings = {
    url: `mqtt://127.0.0.1:${await freePort()}`,
    authentication: { type: 'basic', username: 'plant', password: '[redacted]' },
  };
  const answer = await service.post('/api/connectors/plant/test', { settings });
  assert.equal(answer.status, 400);
});
