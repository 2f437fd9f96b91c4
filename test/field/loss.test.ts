/** What goes wrong in this field: loss. Each number is a case of that list. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { openSubject } from '../connector/subject.js';
import { isPublish } from '../connector/wire.js';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { runCli } from '../kit/process.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { accept, codeOf, elementsOf, MESSAGES, openScene, plantConfig, untilEmpty } from './scene.js';

async function awayUrl(): Promise<string> {
  return `mqtt://127.0.0.1:${await freePort()}`;
}

test('field 1: what a producer has a receipt for is there after kill -9, whatever was under way then', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.kill());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const port = await freePort();
  const scene = await openScene(t, { settings: { url: `mqtt://127.0.0.1:${port}`, qos: 2 } });
  const receipts: string[] = [];
  const produce = async (producer: number): Promise<void> => {
    for (let number = 0; number < 1000; number++) {
      const payload = `${producer}-${number}`;
      const answer = await scene.service.post(MESSAGES, [{ topic: 't', payload }]).catch(() => undefined);
      if (answer === undefined) return;
      assert.equal(answer.status, 202);
      receipts.push(payload);
    }
  };
  const producers = Array.from({ length: 8 }, (_, producer) => produce(producer));
  await eventually(() => receipts.length >= 200, 'some receipts');
  await scene.service.kill();
  await Promise.all(producers);
  writeFileSync(
    scene.folder.configFile,
    readFileSync(scene.folder.configFile, 'utf8').replace(`127.0.0.1:${port}`, `127.0.0.1:${broker.port}`),
  );
  await scene.restart();
  await untilEmpty(scene.service);
  // What was stored when the kill came before its answer has arrived, too: at most one for each producer.
  const arrived = new Set(subscriber.texts());
  assert.deepEqual(
    receipts.filter((payload) => !arrived.has(payload)),
    [],
  );
  assert.ok(arrived.size <= receipts.length + 8 && arrived.size === subscriber.messages.length);
});

test('field 2: data that goes nowhere gets no 2xx: unknown, disabled, no transformer, full', async (t) => {
  const url = await awayUrl();
  const scene = await openScene(t, {
    settings: { url },
    caching: { maxSize: '1 MiB' },
    connectors: [{ id: 'off', enabled: false, settings: { url } }],
  });
  const { service } = scene;
  const post = async (connector: string, type: string, body: unknown): Promise<[number, string]> => {
    const answer = await service.post(`/api/content?connector=${connector}&type=${type}`, body);
    return [answer.status, answer.ok ? '' : await codeOf(answer)];
  };
  const element = [{ topic: 't', payload: 'x' }];
  const value = [{ pointId: 'p', timestamp: '2026-01-15T10:00:00.000Z', data: { value: 1 } }];
  assert.deepEqual(await post('nobody', 'messages', element), [404, 'CONNECTOR_UNKNOWN']);
  assert.deepEqual(await post('plant,nobody', 'messages', element), [404, 'CONNECTOR_UNKNOWN']);
  assert.deepEqual(await post('off', 'messages', element), [409, 'CONNECTOR_DISABLED']);
  assert.deepEqual(await post('plant', 'time-values', value), [422, 'TRANSFORMER_MISSING']);
  const { cache } = await service.until('plant', () => true, 'its status');
  assert.equal(cache.waitingCounts.telemetry, 0, 'nothing of it is stored');
  let accepted = 0;
  let refused: [number, string] = [202, ''];
  for (const payload = 'x'.repeat(50_000); refused[0] === 202 && accepted < 100; accepted++) {
    refused = await post('plant', 'messages', [{ topic: 't', payload }]);
  }
  assert.deepEqual(refused, [507, 'CACHE_FULL']);
  await service.until(
    'plant',
    (status) => status.cache.waitingCounts.telemetry === accepted - 1,
    'exactly the accepted',
  );
});

test('field 3: a message stays in the cache until the broker has acknowledged it, not until it was read or sent', async (t) => {
  const port = await freePort();
  // It takes everything and acknowledges nothing.
  const mute = await startScriptedBroker({ port, onPacket: ({ cmd }) => (cmd === 'publish' ? undefined : 'default') });
  t.after(() => mute.close());
  const scene = await openScene(t, { settings: { url: mute.url } });
  await accept(scene.service, elementsOf(15));
  await eventually(() => mute.packets.filter(isPublish).length === 15, 'all to be sent');
  await scene.service.until('plant', ({ cache }) => cache.waitingCounts.telemetry === 15, 'all to be kept');
  await scene.service.kill();
  await mute.close();
  const taking = await startScriptedBroker({ port });
  t.after(() => taking.close());
  await scene.restart();
  await untilEmpty(scene.service);
  const arrived = taking.packets.filter(isPublish).map(({ payload }) => payload.toString());
  assert.deepEqual(
    arrived,
    elementsOf(15).map(({ payload }) => payload),
  );
});

test('field 4: the cache is found again after a restart and after the connector was configured anew', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.kill());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const scene = await openScene(t, { settings: { url: await awayUrl() } });
  const { folder } = scene;
  const connectors = join(folder.folder, 'data', 'connectors');
  await accept(scene.service, elementsOf(5));
  assert.equal((await scene.service.stop()).code, 0);
  const changed = {
    ...plantConfig({
      settings: { url: broker.url, qos: 2, clientId: 'another' },
      caching: { maxSize: '64 MiB', archive: { enabled: true } },
      transformers: [{ type: 'setpoints-to-mqtt', mapping: [] }],
    }),
    dataDir: './data',
    server: { port: 0 },
    logging: { format: 'json' },
  };
  writeFileSync(folder.configFile, JSON.stringify(changed));
  await scene.restart();
  await untilEmpty(scene.service);
  await subscriber.waitFor(5);
  assert.deepEqual(
    subscriber.texts(),
    elementsOf(5).map(({ payload }) => payload),
  );
  assert.deepEqual(readdirSync(connectors), ['plant'], 'no second cache beside it');
});

test('field 5: 200 uploads of the same file name at once all arrive, each with its own content', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.kill());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const transformers = [
    {
      type: 'csv-to-mqtt',
      topic: 'rows',
      payloadType: 'object',
      objectFields: [{ column: 'value', key: 'value', type: 'number' }],
    },
  ];
  const { service } = await openScene(t, { settings: { url: broker.url, qos: 2 }, transformers });
  const upload = async (value: number): Promise<number> => {
    const form = new FormData();
    form.append('file', new Blob([`value\n${value}\n`], { type: 'text/csv' }), 'report.csv');
    const url = `${service.url}/api/content/file?northId=plant&dataSourceId=press`;
    return (await fetch(url, { method: 'POST', body: form })).status;
  };
  const statuses = await Promise.all(Array.from({ length: 200 }, (_, value) => upload(value)));
  assert.deepEqual(new Set(statuses), new Set([204]));
  await subscriber.waitFor(200);
  await untilEmpty(service);
  const values = subscriber.texts().map((text) => (JSON.parse(text) as { value: number }).value);
  assert.deepEqual(
    values.sort((one, other) => one - other),
    Array.from({ length: 200 }, (_, value) => value),
  );
});

test('field 6: a wrong count in the store loses no message, and one that cannot be read is set aside and kept', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.kill());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const scene = await openScene(t, { settings: { url: await awayUrl(), qos: 2 } });
  const { folder } = scene;
  const texts = Array.from({ length: 30 }, (_, index) => `message-${index}.`.padEnd(40, '-'));
  for (const part of [texts.slice(0, 10), texts.slice(10, 20), texts.slice(20)]) {
    await accept(
      scene.service,
      part.map((payload) => ({ topic: 't', payload })),
    );
  }
  assert.equal((await scene.service.stop()).code, 0);
  const path = join(folder.folder, 'data', 'connectors', 'plant', 'cache.db');
  const db = new Database(path);
  db.exec('UPDATE batch SET count = count + 7 WHERE key = (SELECT min(key) FROM batch)');
  db.close();
  const bytes = readFileSync(path);
  const at = bytes.indexOf('message-25.');
  assert.ok(at > 0);
  bytes.writeUInt8(0, at);
  writeFileSync(path, bytes);
  writeFileSync(
    folder.configFile,
    readFileSync(folder.configFile, 'utf8').replace(/mqtt:\/\/127\.0\.0\.1:\d+/, broker.url),
  );
  await scene.restart();
  await untilEmpty(scene.service);
  await subscriber.waitFor(29);
  assert.deepEqual(
    subscriber.texts(),
    texts.filter((_, index) => index !== 25),
  );
  const listed = await runCli(['cache', 'list', '--json', '-c', folder.configFile], { cwd: folder.folder });
  const { messages } = JSON.parse(listed.stdout) as { messages: { code: string; offset: number }[] };
  assert.deepEqual(
    messages.map(({ code, offset }) => [code, offset]),
    [['MESSAGE_UNREADABLE', 25]],
  );
});

test('field 7: 70,000 messages, more than there are packet identifiers, all arrive once and in order', async (t) => {
  const broker = await startMosquitto({ maxInflight: 1000 });
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const COUNT = 70_000;
  const subject = await openSubject(t, { url: broker.url, qos: 2 }, { isStopped: true });
  for (let from = 0; from < COUNT; from += 10_000) await subject.send(...elementsOf(10_000, 't', from));
  subject.connector.start();
  await subscriber.waitFor(COUNT, 60_000);
  const status = await subject.untilEmpty();
  const texts = subscriber.texts();
  assert.equal(texts.length, COUNT);
  assert.equal(
    texts.findIndex((text, index) => text !== `${index}`),
    -1,
    'in order, none twice, none overwritten',
  );
  assert.equal(status.counts.telemetry.possibleDuplicates, 0);
});

test('field 8: what a CSV file says arrives as it is written there', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.kill());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const text = (column: string) => ({ column, key: column, type: 'string' });
  const transformers = [
    {
      type: 'csv-to-mqtt',
      topicColumn: 'topic',
      payloadType: 'object',
      objectFields: [text('id'), text('code'), text('day'), text('note')],
    },
  ];
  const { service } = await openScene(t, { settings: { url: broker.url }, transformers });
  // With a byte-order mark and line ends of Windows, as spreadsheets write it.
  const rows = [
    'topic,id,code,day,note',
    'press/1,007,1e3,2026-01-15,a\tb',
    'press/2,0012.50,0x10,2026-01-15T10:00:00Z, c ',
  ];
  const csv = `\ufeff${rows.join('\r\n')}\r\n`;
  const path = '/api/content?connector=plant&type=csv';
  const answer = await service.post(path, csv, { 'content-type': 'text/csv' });
  assert.equal(answer.status, 202, await answer.clone().text());
  await subscriber.waitFor(2);
  assert.deepEqual(
    subscriber.messages.map(({ topic, text: payload }) => [topic, JSON.parse(payload)]),
    [
      ['press/1', { id: '007', code: '1e3', day: '2026-01-15', note: 'a\tb' }],
      ['press/2', { id: '0012.50', code: '0x10', day: '2026-01-15T10:00:00Z', note: ' c ' }],
    ],
  );
});

test('field 9: MQTT 5 comes first, so that a refusal of the access rules is seen; where only 3.1.1 is spoken, the test warns', async (t) => {
  const broker = await startMosquitto({ acl: 'topic readwrite open/#' });
  t.after(() => broker.kill());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const subject = await openSubject(t, { url: broker.url });
  const elements = ['open/a', 'closed/a', 'open/b'].map((topic) => ({ topic, payload: topic }));
  await subject.send(...elements);
  const status = await subject.untilEmpty();
  assert.equal(status.grant?.protocolVersion, 5);
  assert.equal(status.cache.quarantinedCount, 1);
  assert.match(subject.log.join('\n'), /PUBLISH_NOT_AUTHORIZED.*0x87/);
  assert.equal(status.counts.telemetry.published, 2, 'what was refused does not count as published');

  // This broker acknowledges under 3.1.1 what it then drops, which nobody here can see; nothing is held up by it.
  const old = await openScene(t, { settings: { url: broker.url, protocolVersion: '3.1.1' } });
  await accept(old.service, [...elements, { topic: 'open/c', payload: 'open/c' }]);
  await subscriber.waitFor(5);
  await untilEmpty(old.service);
  assert.deepEqual(subscriber.texts().slice(2), ['open/a', 'open/b', 'open/c']);
  const tested = await runCli(['test', '-c', old.folder.configFile], { cwd: old.folder.folder });
  assert.equal(tested.code, 0, tested.stderr);
  assert.match(tested.stdout, /! MQTT 3\.1\.1 has no answer for a message that is refused.*Use MQTT 5/);
  const fresh = await runCli(['test', '--json', '-c', old.folder.configFile], { cwd: old.folder.folder });
  assert.equal((JSON.parse(fresh.stdout) as { warnings: string[] }[])[0]?.warnings.length, 1);
});

test('field 9: a message that nobody subscribes to is a success that the operator sees', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.kill());
  const { service } = await openScene(t, { settings: { url: broker.url } });
  await accept(service, elementsOf(3, 'nobody/listens'));
  const { counts } = await service.until(
    'plant',
    (status) => status.counts.telemetry.published === 3,
    'three published',
  );
  assert.equal((counts.telemetry as { noSubscribers?: number }).noSubscribers, 3);
});
