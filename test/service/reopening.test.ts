import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDataDirectory } from '../../src/cache/data-directory.js';
import { connectorSchema } from '../../src/config/connector.js';
import type { Connector } from '../../src/connector/connector.js';
import { FailedConnector } from '../../src/connector/failed-connector.js';
import { systemClock } from '../../src/core/clock.js';
import { NorthError } from '../../src/core/error.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import type { ServiceEvent } from '../../src/http/service.js';
import { ConnectorSet } from '../../src/service/connector-set.js';
import { Reopening } from '../../src/service/reopening.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Any connector; only its end is looked at. */
class ClosingConnector extends FailedConnector {
  isClosed = false;

  constructor() {
    super({ id: 'plant', name: 'plant', enabled: true }, new NorthError('CACHE_FAILED', 'failed'), 0);
  }

  override async close(): Promise<void> {
    this.isClosed = true;
  }
}

test('the pause between two attempts to open doubles up to a minute, and nothing is tried after a success', async () => {
  const clock = new ManualClock();
  let attemptsCount = 0;
  let found: Connector | undefined;
  const opened: Connector[] = [];
  const reopening = new Reopening({
    clock,
    open: async () => {
      attemptsCount++;
      return found;
    },
    opened: (connector) => opened.push(connector),
  });
  for (const pauseMs of [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]) {
    assert.deepEqual(clock.waitsMs, [pauseMs]);
    clock.advance(pauseMs);
    await turn();
  }
  assert.equal(attemptsCount, 8);
  found = new ClosingConnector();
  clock.advance(60_000);
  await turn();
  assert.deepEqual(opened, [found]);
  assert.deepEqual(clock.waitsMs, []);
  await reopening.end();
});

test('what is opened while the end is awaited is closed, and nothing is tried any more', async () => {
  const clock = new ManualClock();
  const connector = new ClosingConnector();
  let finish = (): void => undefined;
  const reopening = new Reopening({
    clock,
    open: () =>
      new Promise((resolve) => {
        finish = () => resolve(connector);
      }),
    opened: () => assert.fail('it was ended'),
  });
  clock.advance(1000);
  const ended = reopening.end();
  finish();
  await ended;
  assert.ok(connector.isClosed);
  assert.deepEqual(clock.waitsMs, []);

  await new Reopening({ clock, open: () => assert.fail('it was ended'), opened: () => undefined }).end();
  clock.advance(100_000);
});

test('a connector whose folder could not be opened works as soon as it can be, without a restart', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const dataDir = temporaryFolder('reopening');
  const directory = openDataDirectory(dataDir);
  t.after(() => directory.close());
  const obstacle = join(dataDir, 'connectors');
  writeFileSync(obstacle, 'This is a file where a folder has to be.');
  const told: ServiceEvent[] = [];
  const errors: string[] = [];
  const connectors = new ConnectorSet({
    directory,
    clock: systemClock(),
    logger: { ...SILENT_LOGGER, error: (_fields, text) => errors.push(text) },
    idempotencyRetentionMs: 1000,
    stopTimeoutMs: 1000,
    tell: (event) => told.push(event),
  });
  t.after(() => connectors.closeAll());
  const config = connectorSchema.parse({ id: 'plant', settings: { url: broker.url, reconnectPeriod: 100 } });
  const failed = await connectors.open(config);
  assert.equal(failed.failedBy?.code, 'CACHE_FAILED');
  const { state, description, cache } = await failed.status();
  assert.equal(state, 'failed');
  assert.match(description, /It is tried again by itself/);
  assert.equal(cache, undefined, 'nothing is known of it');
  const content = { type: 'messages', elements: [{ topic: 't', payload: 'x' }] } as const;
  await assert.rejects(failed.accept(content, { source: 'test' }), { code: 'CACHE_FAILED' });
  await eventually(() => connectors.get('plant') !== failed, 'another attempt');
  assert.equal(errors.length, 1, `the same problem is logged once: ${errors}`);

  rmSync(obstacle);
  const opened = await eventually(
    () => connectors.list().find(({ failedBy }) => failedBy === undefined),
    'the connector to be opened',
  );
  await opened.accept(content, { source: 'test' });
  await eventually(async () => (await opened.status()).counts.telemetry.published === 1, 'the message to be published');
  assert.ok(
    told.some(({ name, data }) => name === 'state' && 'state' in data && data.state === 'online'),
    'what it says is heard',
  );
});

test('a connector that is given another configuration while it is tried again is opened once', async (t) => {
  const dataDir = temporaryFolder('reopening');
  const directory = openDataDirectory(dataDir);
  t.after(() => directory.close());
  const obstacle = join(dataDir, 'connectors');
  writeFileSync(obstacle, '');
  const clock = new ManualClock();
  const connectors = new ConnectorSet({
    directory,
    clock,
    logger: SILENT_LOGGER,
    idempotencyRetentionMs: 1000,
    stopTimeoutMs: 0,
    tell: () => undefined,
  });
  const config = connectorSchema.parse({ id: 'plant', enabled: false, settings: { url: 'mqtt://127.0.0.1:1' } });
  await connectors.open(config);
  rmSync(obstacle);
  clock.advance(1000);
  const replaced = await connectors.replace({ ...config, name: 'other' });
  assert.equal(replaced.failedBy, undefined);
  assert.equal(replaced.name, 'other');
  assert.equal(connectors.list().length, 1);
  clock.advance(100_000);
  await turn();
  assert.equal(connectors.get('plant'), replaced);
  await connectors.closeAll();
});

test('a connector that could not be opened does not say that nothing of a file is stored', async () => {
  const error = new NorthError('CACHE_DISK_FULL', 'The disk is full.');
  const config = { id: 'plant', name: 'plant' };
  await assert.rejects(new FailedConnector({ ...config, enabled: true }, error, 0).position(), {
    code: 'CACHE_DISK_FULL',
  });
  assert.equal(await new FailedConnector({ ...config, enabled: false }, error, 0).position(), undefined);
});
