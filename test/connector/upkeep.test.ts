import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Cache } from '../../src/cache/cache.js';
import { openCache } from '../../src/cache/threaded-cache.js';
import { connectorSchema } from '../../src/config/connector.js';
import type { ConnectorStatus } from '../../src/connector/connector.js';
import { LiveConnector } from '../../src/connector/live-connector.js';
import { storeLimits } from '../../src/connector/settings-of.js';
import { Upkeep } from '../../src/connector/upkeep.js';
import { NorthError } from '../../src/core/error.js';
import type { Lane } from '../../src/core/lane.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { openSubscriber } from '../kit/subscriber.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const DISK_FULL = new NorthError('CACHE_DISK_FULL', 'database or disk is full (SQLITE_FULL)');

interface Scene {
  connector: LiveConnector;
  clock: ManualClock;
  log: string[];
  failures: string[];
  texts(): string[];
  /** What saves and reads answer instead of doing anything; undefined: they do it. */
  fault: { save: Error | undefined; read: Error | undefined };
  readCalls: { lane: Lane; fromOffset: number }[];
  send(count: number, qos?: 1 | 2): Promise<void>;
  until(condition: (status: ConnectorStatus) => unknown, describe: string): Promise<ConnectorStatus>;
}

/** A connector at a real broker on a real cache, whose answers to the session can be replaced by errors. */
async function openScene(t: TestContext): Promise<Scene> {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  // Minutes pass here in no time, in which a broker answers nothing.
  const settings = { url: broker.url, keepalive: '0 s', ackTimeout: '10 min', qos: 2 };
  const config = connectorSchema.parse({ id: 'subject', settings });
  const clock = new ManualClock();
  const cache: Cache = await openCache({
    folder: temporaryFolder('upkeep'),
    limits: storeLimits(config.caching),
    clock,
  });
  const fault: Scene['fault'] = { save: undefined, read: undefined };
  const readCalls: Scene['readCalls'] = [];
  const save = cache.save.bind(cache);
  const read = cache.read.bind(cache);
  cache.save = (request, done) => {
    const error = fault.save;
    if (error === undefined) save(request, done);
    else setImmediate(() => done(error));
  };
  cache.read = (lane, fromOffset, sizeBytesMax, done) => {
    readCalls.push({ lane, fromOffset });
    const error = fault.read;
    if (error === undefined) read(lane, fromOffset, sizeBytesMax, done);
    else setImmediate(() => done(error, []));
  };
  const log: string[] = [];
  const write =
    (level: string) =>
    (fields: object, text: string): void => {
      log.push(`${level} ${'code' in fields ? `${fields.code} ` : ''}${text}`);
    };
  const connector = new LiveConnector({
    config,
    cache,
    opened: await cache.status(),
    clock,
    logger: { ...SILENT_LOGGER, info: write('info'), warn: write('warn'), error: write('error') },
    random: Math.random,
    idempotencyRetentionMs: 1000,
  });
  t.after(async () => {
    Object.assign(fault, { save: undefined, read: undefined });
    const isClosed = connector.close(0).then(() => true);
    await eventually(() => {
      clock.advance(1000);
      return Promise.race([isClosed, new Promise<boolean>((resolve) => setImmediate(() => resolve(false)))]);
    }, 'it to be closed');
  });
  const failures: string[] = [];
  connector.on('failure', ({ error }) => failures.push(error.code));
  return {
    connector,
    clock,
    log,
    failures,
    texts: () => subscriber.texts('t'),
    fault,
    readCalls,
    send: async (count, qos = 2) => {
      const elements = Array.from({ length: count }, (_unused, index) => ({ topic: 't', payload: `${index}`, qos }));
      await connector.accept({ type: 'messages', elements }, { source: 'test' });
    },
    until: async (condition, describe) => {
      let last: ConnectorStatus | undefined;
      await eventually(
        async () => {
          last = await connector.status();
          return condition(last);
        },
        () => `${describe}; it has ${JSON.stringify(last)}`,
      );
      return last!;
    },
  };
}

test('progress that cannot be stored is told in the state, the log and the warnings, once, and so is that it can again', async (t) => {
  const scene = await openScene(t);
  const { connector, clock, fault, log, failures } = scene;
  connector.start();
  const before = await scene.until(({ state }) => state === 'online', 'it to be online');
  fault.save = DISK_FULL;
  await scene.send(50);
  // Under QoS 2 the first window of PUBRECs waits for its save.
  const first = await scene.until(({ lastError }) => lastError !== undefined, 'the failure in the status');
  assert.equal(first.description, `${before.description}; cannot store its progress: the disk is full`);
  assert.equal(first.state, 'online');
  assert.equal(first.lastError?.code, 'CACHE_DISK_FULL');
  assert.match(first.warnings.join(), /cannot store its progress: database or disk is full.*Free room/);
  for (let second = 0; second < 300; second++) {
    clock.advance(1000);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const lines = log.filter((line) => line.includes('cannot store'));
  assert.equal(lines.length, 1, log.join('\n'));
  assert.match(lines[0]!, /^warn CACHE_DISK_FULL/);
  assert.deepEqual(failures, ['CACHE_DISK_FULL']);
  assert.equal(scene.texts().length, 0, 'no PUBREL before its PUBREC is stored');

  fault.save = undefined;
  await eventually(
    () => {
      clock.advance(1000);
      return scene.texts().length === 50;
    },
    () => `50 messages, of which ${scene.texts().length} came`,
  );
  const after = await scene.until(({ cache }) => {
    clock.advance(100);
    return cache.waitingCounts.telemetry === 0;
  }, 'all to be settled');
  assert.doesNotMatch(after.description, /cannot/);
  assert.equal(after.lastError, undefined);
  assert.deepEqual(after.warnings, before.warnings);
  assert.match(log.filter((line) => line.includes('stores its progress again')).join('|'), /^info .* after \d+ s/);
});

test('a progress that the cache takes for impossible is told as a fault of the program', async (t) => {
  const scene = await openScene(t);
  scene.connector.start();
  await scene.until(({ state }) => state === 'online', 'it to be online');
  scene.fault.save = new NorthError('INTERNAL', 'The lane telemetry goes back from 7 to 5.');
  await scene.send(1, 1);
  const { description } = await eventually(async () => {
    scene.clock.advance(100);
    const status = await scene.connector.status();
    return status.lastError?.code === 'INTERNAL' ? status : undefined;
  }, 'the failure in the status');
  assert.match(description, /cannot store its progress: The lane telemetry goes back/);
  assert.equal(scene.log.filter((line) => line.startsWith('warn INTERNAL')).length, 1);
});

test('a lane that cannot be read is tried again after a second, and not with every event, and goes on then', async (t) => {
  const scene = await openScene(t);
  const { connector, clock, fault, readCalls } = scene;
  await scene.send(20);
  fault.read = new NorthError('CACHE_FAILED', 'disk I/O error (SQLITE_IOERR_READ)');
  connector.start();
  const status = await scene.until(({ lastError }) => lastError?.code === 'CACHE_FAILED', 'the failure in the status');
  assert.match(status.description, /; cannot read what waits: disk I\/O error/);
  // What is accepted meanwhile is an event each time, and cannot be sent before what waits in front of it.
  const readsCount = readCalls.length;
  for (let index = 0; index < 20; index++) await scene.send(1);
  assert.equal(readCalls.length, readsCount, 'not read in between');
  for (let second = 1; second <= 3; second++) {
    clock.advance(1000);
    await eventually(
      () => readCalls.length === readsCount + second,
      () => `one read a second; after ${second} s there were ${readCalls.length - readsCount}`,
    );
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(scene.log.filter((line) => line.includes('cannot read')).length, 1, scene.log.join('\n'));
  fault.read = undefined;
  await eventually(
    () => {
      clock.advance(1000);
      return scene.texts().length === 40;
    },
    () => `40 messages, of which ${scene.texts().length} came`,
  );
  await scene.until(({ lastError, description }) => lastError === undefined && !/cannot/.test(description), 'recovery');
});

test('a lane that could not be read when the connector was stopped is read after the next start', async (t) => {
  const scene = await openScene(t);
  const { connector, clock, fault } = scene;
  await scene.send(20);
  fault.read = new NorthError('CACHE_FAILED', 'disk I/O error (SQLITE_IOERR_READ)');
  connector.start();
  await scene.until(({ lastError }) => lastError?.code === 'CACHE_FAILED', 'the failure in the status');
  // The session has asked again by now, and is held back.
  await scene.send(1);
  await connector.stop(0);
  assert.ok(!clock.waitsMs.includes(1000), `nothing waits to read: ${clock.waitsMs}`);
  fault.read = undefined;
  connector.start();
  await eventually(
    () => {
      clock.advance(100);
      return scene.texts().length === 21;
    },
    () => `21 messages, of which ${scene.texts().length} came`,
  );
});

test('a disk that fails and works in turns makes no more than a line of each kind in ten seconds', () => {
  const clock = new ManualClock();
  const lines: string[] = [];
  const note =
    (level: string) =>
    (_fields: object, text: string): void => {
      lines.push(`${level} ${text}`);
    };
  const logger = { ...SILENT_LOGGER, info: note('info'), warn: note('warn') };
  const upkeep = new Upkeep('subject', clock, logger, () => undefined);
  for (let turn = 0; turn < 200; turn++) {
    upkeep.failed('save', DISK_FULL);
    clock.advance(250);
    upkeep.worked('save');
    clock.advance(250);
  }
  assert.ok(lines.length <= 2 * 11, `${lines.length} lines in 100 s`);
  upkeep.failed('save', new NorthError('CACHE_CLOSED', 'closed'));
  assert.equal(upkeep.text, undefined);
});
