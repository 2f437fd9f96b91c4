import assert from 'node:assert/strict';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { runCli } from '../kit/process.js';
import { openSubscriber } from '../kit/subscriber.js';
import { Random } from '../simulation/random.js';
import { type ServiceProcess, serviceFolder, timeValues, valuesOf } from './service-process.js';

const CONNECTIONS = 4;
/** When the service is killed. The environment variable SEED repeats what a run has printed. */
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);

function connector(url: string, settings: object = {}): Record<string, unknown> {
  return {
    id: 'plant',
    settings: { url, qos: 2, reconnectPeriod: 200, connections: CONNECTIONS, ...settings },
    transformers: [
      { type: 'time-values-to-mqtt', topic: 'plant/{pointId}' },
      {
        type: 'csv-to-mqtt',
        topic: 'rows/{point}',
        payloadType: 'object',
        objectFields: [{ column: 'value', key: 'value', type: 'number' }],
      },
    ],
  };
}

/** The values of each topic. */
function valuesByTopic(messages: readonly { topic: string; text: string }[]): Map<string, number[]> {
  const values = new Map<string, number[]>();
  for (const { topic, text } of messages) values.set(topic, [...(values.get(topic) ?? []), ...valuesOf([text])]);
  return values;
}

describe('a service whose connector has several connections', () => {
  test('killed again and again at QoS 2, delivers each value and each row exactly once and in the order of its topic', async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    const random = new Random(SEED);
    const broker = await startMosquitto({ persistence: true, extra: ['max_queued_messages 0'] });
    t.after(() => broker.kill());
    const subscriber = await openSubscriber({ url: broker.url, persistentClientId: 'historian' });
    t.after(() => subscriber.close());
    const folder = serviceFolder({
      connectors: [connector(broker.url)],
      inputs: [
        { id: 'files', type: 'folder', path: './drop', pattern: '*.csv', interval: '100 ms', settleTime: '0 s' },
      ],
    });
    let service = await folder.start();
    t.after(() => service.kill());

    const ROWS = 40_000;
    const rows = Array.from({ length: ROWS }, (_, row) => `p${row % 30},${row}`);
    mkdirSync(join(folder.folder, 'drop'), { recursive: true });
    const file = join(folder.folder, 'rows.part');
    writeFileSync(file, `point,value\n${rows.join('\n')}\n`);
    renameSync(file, join(folder.folder, 'drop', 'rows.csv'));

    const COUNT = 6000;
    const PER_REQUEST = 200;
    let next = 0;
    /** Hands in one request after the other, each with its key until it is accepted, as long as this service lives. */
    const produce = async (running: ServiceProcess): Promise<void> => {
      while (next < COUNT) {
        const path = '/api/content?connector=plant&type=time-values';
        const answer = await running.post(path, timeValues(next, PER_REQUEST), { 'idempotency-key': `from ${next}` });
        assert.equal(answer.status, 202, await answer.text());
        next += PER_REQUEST;
      }
    };
    let kills = 0;
    while (next < COUNT || kills < 4) {
      const producing = produce(service).catch((error: unknown) => {
        // Only a service that is gone gives no answer.
        if (error instanceof assert.AssertionError) throw error;
      });
      if (kills < 4) {
        kills++;
        const goal = subscriber.messages.length + random.between(50, 4000);
        await subscriber.waitFor((messages) => messages.length >= goal, 30_000);
        await service.kill();
        await producing;
        service = await folder.start();
      } else await producing;
    }
    await eventually(() => existsSync(join(folder.folder, 'drop', 'done')), 'the file to be done', 60_000);
    await service.until('plant', ({ cache }) => cache.waitingCounts.telemetry === 0, 'an empty cache', 60_000);
    await subscriber.waitFor(COUNT + ROWS, 30_000);
    assert.deepEqual(await service.stop(), { code: 0, signal: null });

    assert.equal(subscriber.messages.length, COUNT + ROWS);
    const found = valuesByTopic(subscriber.messages);
    for (const [prefix, topics, count] of [
      ['plant/point-', 50, COUNT],
      ['rows/p', 30, ROWS],
    ] as const) {
      for (let topic = 0; topic < topics; topic++) {
        const expected = Array.from({ length: count }, (_, value) => value).filter((value) => value % topics === topic);
        assert.deepEqual(found.get(`${prefix}${topic}`), expected, `${prefix}${topic}`);
      }
    }
  });

  test('shows one connector in status, metrics, lists and commands, and removes all of it', async (t) => {
    const broker = await startMosquitto({ acl: 'topic readwrite allowed/#' });
    t.after(() => broker.kill());
    const folder = serviceFolder({ connectors: [connector(broker.url, { qos: 1 })] });
    let service = await folder.start();
    t.after(() => service.kill());
    const COUNT = 12;
    const elements = Array.from({ length: COUNT }, (_, index) => ({
      topic: `forbidden/${index}`,
      payload: `${index}`,
    }));
    assert.equal((await service.post('/api/content?connector=plant&type=messages', elements)).status, 202);
    const status = await service.until('plant', ({ cache }) => cache.quarantinedCount === COUNT, 'all in quarantine');
    assert.equal(status.counts.telemetry.accepted, COUNT);
    assert.match(status.description, /^4 connections online/);
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    assert.match(metrics, /mqtt_north_messages_accepted_total\{connector="plant",lane="telemetry"\} 12\n/);
    assert.match(metrics, /mqtt_north_cache_messages\{connector="plant",state="quarantined"\} 12\n/);
    assert.match(metrics, /mqtt_north_session_state\{connector="plant",state="online"\} 1\n/);

    const paged: number[] = [];
    for (let after = ''; ; ) {
      const query = `state=quarantined&limit=5${after === '' ? '' : `&after=${encodeURIComponent(after)}`}`;
      const page = (await service.get(`/api/connectors/plant/cache?${query}`)) as {
        messages: { id: number }[];
        cursor?: string;
      };
      paged.push(...page.messages.map(({ id }) => id));
      if (page.cursor === undefined) break;
      after = page.cursor;
    }
    assert.equal(new Set(paged).size, COUNT);
    assert.equal(paged.length, COUNT);

    const cache = (...args: string[]) => runCli(['cache', ...args, '-c', folder.configFile], { cwd: folder.folder });
    const ids = async (): Promise<number[]> => {
      const { messages } = JSON.parse((await cache('list', '--json')).stdout) as { messages: { id: number }[] };
      return messages.map(({ id }) => id).toSorted((one, other) => one - other);
    };
    for (const where of ['running', 'stopped'] as const) {
      if (where === 'stopped') assert.deepEqual(await service.stop(), { code: 0, signal: null });
      const listed = await ids();
      assert.equal(new Set(listed).size, listed.length);
      const last = listed.at(-1)!;
      assert.ok(last > 10 ** 12, `${where}: ${last} is of a further part`);
      const shown = await cache('show', `${last}`);
      assert.match(shown.stdout, /topic +forbidden\//);
      assert.match((await cache('remove', '--id', `${last}`)).stdout, /^1 removed/);
      assert.match((await cache('retry', '--id', `${listed.at(-2)}`, '--topic', `allowed/${where}`)).stdout, /^1 wait/);
      assert.deepEqual((await ids()).length, listed.length - 2);
    }
    const exported = await cache('export');
    assert.equal(exported.stdout.trim().split('\n').length, COUNT - 4);
    service = await folder.start();
    await service.until('plant', ({ counts }) => counts.telemetry.published === 1, 'the retried one to be published');

    const path = '/api/connectors/plant';
    const { config } = (await service.get(path)) as { config: unknown };
    assert.equal((await service.remove(path)).status, 409);
    assert.equal((await service.remove(`${path}?discard=true`)).status, 204);
    assert.ok(!existsSync(join(folder.folder, 'data', 'connectors', 'plant')));
    assert.equal((await service.post('/api/connectors', config)).status, 201);
    const anew = (await service.get(path)) as { status: { cache: { findings: unknown[]; quarantinedCount: number } } };
    assert.deepEqual([anew.status.cache.findings, anew.status.cache.quarantinedCount], [[], 0]);
  });

  test('takes another number of connections with a new configuration when nothing waits', async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.kill());
    const folder = serviceFolder({ connectors: [connector(broker.url)] });
    const service = await folder.start();
    t.after(() => service.kill());
    await service.until('plant', ({ description }) => /^4 connections online/.test(description), 'four connections');
    const path = '/api/connectors/plant';
    for (const [connections, expected] of [
      [2, /^2 connections online/],
      [1, /^online with/],
      [3, /^3 connections online/],
    ] as const) {
      const put = await service.put(path, connector(broker.url, { connections }));
      assert.equal(put.status, 200, await put.text());
      await service.until('plant', ({ description }) => expected.test(description), `${connections} connections`);
    }
    const refused = await service.put(path, connector(broker.url, { connections: 17 }));
    assert.equal(refused.status, 400);
    const { config } = (await service.get(path)) as { config: object };
    const small = await service.put(path, { ...config, caching: { maxSize: '2 MiB' } });
    assert.match(await small.text(), /is less than 1 MiB for each of the 3 connections/);
  });
});
