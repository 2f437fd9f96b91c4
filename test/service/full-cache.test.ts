/** More producers than the service takes at once, on a cache with room for a part of what they bring. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { Agent, type ClientRequest, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { systemCode } from '../../src/core/error.js';
import { SERVER_LIMITS } from '../../src/http/limits.js';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { startProxy } from '../kit/proxy.js';
import { startSubscriberProcess } from '../kit/subscriber-process.js';
import { serviceFolder } from './service-process.js';

const PRODUCERS = 10_000;
const SOCKETS_MOST = 4500;
const SOCKETS_LEAST = 2500;
/** Files that this process and the service each have open beside those sockets. */
const OTHER_FILES = 500;
/** Producers that come while no connection is left for them. */
const LATECOMERS = 50;
/** So many connect at a time, for which the queue of every system is long enough. */
const CONNECTING_MAX = 250;
/** Before who has lost a connection tries to get another one. */
const TAKER_PAUSE_MS = 50;
const LOST_CONNECTION: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);
const PATH = '/api/content?connector=plant&type=messages';
const FILLING = 'x'.repeat(1200);

interface Answer {
  status: number;
  /** Of a 202. */
  receipt: string;
  /** Of anything else. */
  code: string;
  retryAfterSeconds: number;
}

interface Handing {
  /** It is connected, and all but the last byte is on its way. */
  readonly begun: Promise<unknown>;
  readonly answer: Promise<Answer>;
  readonly asked: ClientRequest;
  /** Sends the last byte. */
  finish(): void;
}

/** One request with a key of its own, over one of the agent's connections, up to its last byte. */
function beginHanding(url: string, agent: Agent, producer: string): Handing {
  const body = JSON.stringify([{ topic: 't', payload: `${producer} ${FILLING}` }]);
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'idempotency-key': `key-${producer}`,
  };
  const asked = request(url + PATH, { method: 'POST', agent, headers });
  const answer = new Promise<Answer>((resolve, reject) => {
    asked.on('error', reject);
    asked.on('response', (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const { receipt = '', code = '' } = JSON.parse(Buffer.concat(parts).toString()) as Partial<Answer>;
        const retryAfterSeconds = Number(response.headers['retry-after'] ?? Number.NaN);
        resolve({ status: response.statusCode ?? 0, receipt, code, retryAfterSeconds });
      });
    });
  });
  const begun = new Promise<void>((resolve, reject) => {
    asked.on('error', reject);
    asked.write(body.slice(0, -1), () => resolve());
  });
  // Whoever awaits one of them gets the failure; nobody has to await both.
  begun.catch(() => undefined);
  answer.catch(() => undefined);
  return { begun, answer, asked, finish: () => void asked.end(body.slice(-1)) };
}

/**
 * One request with a key of its own. The service closes connections that were idle for a while, and one may be chosen at
 * just that moment: whoever keeps connections has to ask again then.
 */
async function hand(url: string, agent: Agent, producer: string): Promise<Answer> {
  for (;;) {
    const { answer, asked, finish } = beginHanding(url, agent, producer);
    finish();
    try {
      return await answer;
    } catch (error) {
      if (!asked.reusedSocket || !LOST_CONNECTION.has(systemCode(error) ?? '')) throw error;
    }
  }
}

function openFilesMax(): number {
  const { stdout } = spawnSync('/bin/sh', ['-c', 'ulimit -n'], { encoding: 'utf8' });
  return stdout.trim() === 'unlimited' ? Number.POSITIVE_INFINITY : Number(stdout);
}

/** Takes all connections that the service has left, and each that becomes free, until it is told to let them go. */
class Takers {
  droppedCount = 0;
  readonly #address: { port: number; host: string };
  readonly #sockets = new Set<Socket>();
  #isTaking = true;

  constructor(url: string, count: number) {
    const { hostname, port } = new URL(url);
    this.#address = { port: Number(port), host: hostname };
    for (let i = 0; i < count; i++) this.#take();
  }

  letGo(): void {
    this.#isTaking = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  #take(): void {
    const socket = connect(this.#address);
    this.#sockets.add(socket);
    socket.on('error', () => undefined).resume();
    socket.on('close', () => {
      this.droppedCount++;
      this.#sockets.delete(socket);
      if (this.#isTaking) setTimeout(() => this.#isTaking && this.#take(), TAKER_PAUSE_MS);
    });
  }
}

/** The value of one line of /metrics. */
function metric(page: string, line: string): number {
  const found = page.split('\n').find((each) => each.startsWith(`${line} `));
  assert.ok(found !== undefined, `${line} is not in ${page}`);
  return Number(found.slice(line.length + 1));
}

test('10,000 producers at once while the cache is nearly full: what each was told is exactly what becomes of its message', async (t) => {
  const socketsCount = Math.min(SOCKETS_MOST, openFilesMax() - OTHER_FILES);
  assert.ok(socketsCount >= SOCKETS_LEAST, `only ${openFilesMax()} open files are allowed here: ulimit -n`);
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
  const agent = new Agent({ keepAlive: true, maxSockets: socketsCount, maxFreeSockets: socketsCount });
  t.after(() => agent.destroy());

  const large = JSON.stringify([{ topic: 'first', payload: 'x'.repeat(200_000) }]);
  let firstCount = 0;
  for (; firstCount < 20; firstCount++) assert.equal((await service.post(PATH, large)).status, 202);

  const metrics = async (): Promise<string> => (await fetch(`${service.url}/metrics`)).text();
  const requestsOf = (page: string, code: number): number =>
    metric(page, `mqtt_north_http_requests_total{method="POST",route="/api/content",status="${code}"}`);
  const producers = Array.from({ length: PRODUCERS }, (_, index) => `${index}`);
  const answers = new Map<string, Answer>();
  const laterMs = new Map<string, number>();
  let tooManyCount = 0;
  const note = (producer: string, answer: Answer): void => {
    if (answer.status !== 429) {
      answers.set(producer, answer);
      return;
    }
    assert.equal(answer.code, 'REQUEST_TOO_MANY');
    assert.ok(answer.retryAfterSeconds > 0, 'it says when to come again');
    tooManyCount++;
    laterMs.set(producer, answer.retryAfterSeconds * 1000);
  };

  // All that have a connection are there before any of them is done: what is over the limit is refused, and nothing else.
  const early = producers.slice(0, socketsCount);
  const handings = new Map<string, Handing>();
  const held: Promise<void>[] = [];
  for (let from = 0; from < early.length; from += CONNECTING_MAX) {
    const some = early.slice(from, from + CONNECTING_MAX).map((producer) => {
      const handing = beginHanding(service.url, agent, producer);
      handings.set(producer, handing);
      const done = handing.answer.then((answer) => {
        note(producer, answer);
        // Who is refused says the rest of what it began, so that its connection stays.
        if (answer.status === 429) handing.finish();
      });
      held.push(done);
      return handing.begun;
    });
    await Promise.all(some);
  }
  const expectedTooMany = socketsCount - SERVER_LIMITS.requestsMax;
  await eventually(
    () => tooManyCount === expectedTooMany,
    () => `${expectedTooMany} to be told to come again; ${tooManyCount} were`,
    30_000,
  );
  assert.equal(answers.size, 0, 'nobody else was told anything');
  assert.equal(requestsOf(await metrics(), 429), expectedTooMany);
  const before = await service.until('plant', () => true, 'its status');
  assert.equal(before.counts.telemetry.accepted, firstCount);

  // No connection is left for more: they are told nothing, and nothing of theirs is taken.
  if (openFilesMax() >= 2 * SERVER_LIMITS.connectionsMax + OTHER_FILES) {
    const takers = new Takers(service.url, SERVER_LIMITS.connectionsMax - SERVER_LIMITS.requestsMax + CONNECTING_MAX);
    t.after(() => takers.letGo());
    const lateAgent = new Agent({ keepAlive: false });
    // Connections of those that were refused end meanwhile, so that a few of the late ones may still get one.
    const toldCount = async (): Promise<number> => {
      const late = producers.slice(-LATECOMERS).map((producer) => hand(service.url, lateAgent, producer));
      let count = 0;
      for (const [i, result] of (await Promise.allSettled(late)).entries()) {
        if (result.status === 'rejected') continue;
        note(`${PRODUCERS - LATECOMERS + i}`, result.value);
        count++;
      }
      return count;
    };
    await eventually(
      async () => takers.droppedCount >= CONNECTING_MAX && (await toldCount()) === 0,
      () => `no connection to be left; ${takers.droppedCount} were dropped`,
      60_000,
    );
    assert.equal(answers.size, 0, 'nobody was let in');
    takers.letGo();
    assert.match(service.process.output, /Connections are refused because there are too many/);
  } else t.diagnostic(`${openFilesMax()} open files are too few to use up all connections: ulimit -n`);

  // Now all at once: those that are held are done, those that were refused come again when they were told to, with all
  // others. Who is refused again waits again.
  for (const [producer, handing] of handings) if (!laterMs.has(producer)) handing.finish();
  const untilDecided = async (producer: string): Promise<void> => {
    while (!answers.has(producer)) {
      const waitMs = laterMs.get(producer);
      if (waitMs !== undefined) await delay(waitMs);
      try {
        note(producer, await hand(service.url, agent, producer));
      } catch (error) {
        // Connections of those that have gone may still be counted; who gets none asks again.
        if (!LOST_CONNECTION.has(systemCode(error) ?? '')) throw error;
        laterMs.set(producer, TAKER_PAUSE_MS);
      }
    }
  };
  const unanswered = producers.filter((producer) => !handings.has(producer) || laterMs.has(producer));
  await Promise.all([...held, ...unanswered.map(untilDecided)]);
  assert.equal(answers.size, PRODUCERS);
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
  const page = await metrics();
  assert.equal(metric(page, 'mqtt_north_messages_accepted_total{connector="plant",lane="telemetry"}'), expected);
  assert.equal(metric(page, 'mqtt_north_cache_messages{connector="plant",state="waiting"}'), expected);
  assert.equal(metric(page, 'mqtt_north_messages_dropped_total{connector="plant",lane="telemetry"}'), 0);
  assert.ok(metric(page, 'mqtt_north_cache_bytes{connector="plant"}') <= 12 * 1024 * 1024, 'within its size');
  assert.equal(requestsOf(page, 202), expected);
  assert.equal(requestsOf(page, 507), refused.length);
  assert.equal(requestsOf(page, 429), tooManyCount);

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
  t.diagnostic(
    `over ${socketsCount} connections: ${accepted.length} accepted and ${refused.length} refused at first, ${tooManyCount} answers 429`,
  );
});
