import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { startProxy } from '../kit/proxy.js';
import { startSubscriberProcess } from '../kit/subscriber-process.js';
import { serviceFolder } from './service-process.js';

const PRODUCERS = 10_000;
const SOCKETS = 200;
const PATH = '/api/content?connector=plant&type=messages';
const FILLING = 'x'.repeat(1200);

interface Answer {
  status: number;
  /** Of a 202. */
  receipt: string;
  /** Of anything else. */
  code: string;
}

/** One request with a key of its own, over one of the kept connections. */
function hand(url: string, agent: Agent, producer: string): Promise<Answer> {
  const body = JSON.stringify([{ topic: 't', payload: `${producer} ${FILLING}` }]);
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'idempotency-key': `key-${producer}`,
  };
  return new Promise((resolve, reject) => {
    const asked = request(url + PATH, { method: 'POST', agent, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const { receipt = '', code = '' } = JSON.parse(Buffer.concat(parts).toString()) as Partial<Answer>;
        resolve({ status: response.statusCode ?? 0, receipt, code });
      });
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

/** The value of one line of /metrics. */
function metric(page: string, line: string): number {
  const found = page.split('\n').find((each) => each.startsWith(`${line} `));
  assert.ok(found !== undefined, `${line} is not in ${page}`);
  return Number(found.slice(line.length + 1));
}

test('10,000 producers at once while the cache is nearly full: what each was told is exactly what becomes of its message', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.kill());
  const subscriber = await startSubscriberProcess({ url: broker.url });
  t.after(() => subscriber.close());
  const proxy = await startProxy({ targetPort: broker.port });
  t.after(() => proxy.close());
  await proxy.refuse();
  const connector = {
    id: 'plant',
    settings: { url: proxy.url, qos: 2, reconnectPeriod: 200 },
    caching: { maxSize: '12 MiB' },
  };
  const service = await serviceFolder({ connectors: [connector] }).start();
  t.after(() => service.kill());
  const agent = new Agent({ keepAlive: true, maxSockets: SOCKETS });
  t.after(() => agent.destroy());

  const large = JSON.stringify([{ topic: 'first', payload: 'x'.repeat(200_000) }]);
  let firstCount = 0;
  for (; firstCount < 20; firstCount++) assert.equal((await service.post(PATH, large)).status, 202);

  const producers = Array.from({ length: PRODUCERS }, (_, index) => `${index}`);
  const answers = new Map<string, Answer>();
  await Promise.all(producers.map(async (producer) => answers.set(producer, await hand(service.url, agent, producer))));
  const accepted = producers.filter((producer) => answers.get(producer)?.status === 202);
  const refused = producers.filter((producer) => answers.get(producer)?.status !== 202);
  const kinds = new Set(refused.map((producer) => `${answers.get(producer)?.status} ${answers.get(producer)?.code}`));
  assert.deepEqual(kinds, new Set(['507 CACHE_FULL']));
  assert.ok(accepted.length > 500 && refused.length > 500, `${accepted.length} accepted, ${refused.length} refused`);
  assert.equal(new Set(accepted.map((producer) => answers.get(producer)?.receipt)).size, accepted.length);

  // Status and metrics say what the producers saw.
  const expected = firstCount + accepted.length;
  const status = await service.until('plant', () => true, 'its status');
  assert.equal(status.counts.telemetry.accepted, expected);
  assert.equal(status.cache.waitingCounts.telemetry, expected);
  assert.equal(status.cache.quarantinedCount, 0);
  const page = await (await fetch(`${service.url}/metrics`)).text();
  assert.equal(metric(page, 'mqtt_north_messages_accepted_total{connector="plant",lane="telemetry"}'), expected);
  assert.equal(metric(page, 'mqtt_north_cache_messages{connector="plant",state="waiting"}'), expected);
  assert.equal(metric(page, 'mqtt_north_messages_dropped_total{connector="plant",lane="telemetry"}'), 0);
  assert.ok(metric(page, 'mqtt_north_cache_bytes{connector="plant"}') <= 12 * 1024 * 1024, 'within its size');
  const requests = (code: number): number =>
    metric(page, `mqtt_north_http_requests_total{method="POST",route="/api/content",status="${code}"}`);
  assert.equal(requests(202), expected);
  assert.equal(requests(507), refused.length);

  // Asking again with the same key changes nothing for those that were accepted, the full cache notwithstanding.
  const sample = accepted.filter((_, index) => index % 20 === 0);
  for (const producer of sample) {
    assert.equal((await hand(service.url, agent, producer)).receipt, answers.get(producer)?.receipt);
  }

  await proxy.accept();
  const isEmpty = () =>
    service.until('plant', ({ cache }) => cache.waitingCounts.telemetry === 0, 'an empty cache', 60_000);
  await isEmpty();
  const arrived = (): string[] =>
    subscriber
      .messages()
      .filter(({ topic }) => topic === 't')
      .map(({ text }) => text.slice(0, text.indexOf(' ')));
  await eventually(
    () => arrived().length >= accepted.length,
    () => `all; ${arrived().length} have arrived`,
  );
  assert.deepEqual(arrived().sort(), [...accepted].sort(), 'exactly what was accepted, each once');

  // Those that were refused come again with their keys until they are taken, as producers do: a few at a time.
  const waiting = [...refused];
  const insist = async (): Promise<void> => {
    for (let producer = waiting.pop(); producer !== undefined; producer = waiting.pop()) {
      const who = producer;
      await eventually(
        async () => (await hand(service.url, agent, who)).status === 202,
        () => `producer ${who} to be taken; ${waiting.length} come after it, ${arrived().length} have arrived`,
        30_000,
      );
    }
  };
  await Promise.all(Array.from({ length: 50 }, insist));
  await isEmpty();
  await eventually(
    () => arrived().length >= PRODUCERS,
    () => `all; ${arrived().length} have arrived`,
    30_000,
  );
  assert.equal(arrived().length, PRODUCERS, 'each once');
  assert.equal(new Set(arrived()).size, PRODUCERS);
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
  t.diagnostic(`${accepted.length} accepted and ${refused.length} refused at first`);
});
