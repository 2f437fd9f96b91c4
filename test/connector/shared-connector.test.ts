import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { CacheFront } from '../../src/cache/cache-front.js';
import { openDirectCache } from '../../src/cache/direct-cache.js';
import { connectorSchema } from '../../src/config/connector.js';
import { LiveConnector } from '../../src/connector/live-connector.js';
import { SharedConnector } from '../../src/connector/shared-connector.js';
import { partOf } from '../../src/connector/sharing.js';
import { systemClock } from '../../src/core/clock.js';
import { NorthError } from '../../src/core/error.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import { openIn } from '../cache/sqlite-subject.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const CONNECTIONS = 3;

/** A connector whose caches are in this thread, so that one of them can fail at a moment of the test's choice. */
function openInThread(t: TestContext): { connector: SharedConnector; caches: CacheFront[] } {
  const clock = systemClock();
  const config = connectorSchema.parse({ id: 'shared', settings: { url: 'mqtt://127.0.0.1:1', connections: 3 } });
  const common = { clock, logger: SILENT_LOGGER, idempotencyRetentionMs: 1000 };
  const caches: CacheFront[] = [];
  const parts = new Map<number, { connector: LiveConnector; hasWaiting: boolean }>();
  for (let number = 1; number <= CONNECTIONS; number++) {
    const store = openIn(temporaryFolder('part'));
    const { cacheId } = store;
    const cache = openDirectCache({ store, cacheId, clock, schedule: (work) => queueMicrotask(work) });
    caches.push(cache);
    const connector = new LiveConnector({ config, cache, opened: store.status(), random: Math.random, ...common });
    parts.set(number, { connector, hasWaiting: false });
  }
  const connector = new SharedConnector({
    config,
    sharing: { connections: CONNECTIONS, generation: 1 },
    former: [],
    parts,
    openPart: () => Promise.reject(new Error('There are no others.')),
    heldBack: undefined,
    ...common,
  });
  t.after(() => connector.close(0));
  return { connector, caches };
}

function messagesFor(parts: readonly number[]): { topic: string; payload: string }[] {
  return Array.from({ length: 50 }, (_, index) => ({ topic: `t/${index}`, payload: 'x' })).filter(({ topic }) =>
    parts.includes(partOf(Buffer.from(topic), CONNECTIONS)),
  );
}

test('a cache that fails is told as the state, refuses what belongs to it, and leaves the others at work', async (t) => {
  const { connector, caches } = openInThread(t);
  const states: string[] = [];
  connector.on('state', ({ state, description }) => states.push(`${state} ${description}`));
  const failures: string[] = [];
  connector.on('failure', ({ error }) => failures.push(error.code));
  caches[1]!.fail(new NorthError('CACHE_FAILED', 'The disk is gone.'));
  assert.equal(connector.failedBy?.code, 'CACHE_FAILED');
  const { state, description, lastError } = await connector.status();
  assert.equal(state, 'failed');
  assert.equal(description, '0 of 3 connections online; connection 2: failed: The disk is gone.; 2 more not online');
  assert.equal(lastError?.code, 'CACHE_FAILED');
  assert.deepEqual(failures, ['CACHE_FAILED']);
  assert.deepEqual(states, [`failed ${description}`]);

  const accept = (parts: number[]) =>
    connector.accept({ type: 'messages', elements: messagesFor(parts) }, { source: 'test' });
  await assert.rejects(accept([2]), { code: 'CACHE_FAILED' });
  await assert.rejects(accept([1, 2, 3]), { code: 'CACHE_FAILED' });
  const before = (await connector.status()).cache.waitingCounts.telemetry;
  await assert.rejects(accept([1, 2, 3]), { code: 'CACHE_FAILED' });
  assert.equal((await connector.status()).cache.waitingCounts.telemetry, before, 'the others are asked no more');
  assert.equal((await accept([1, 3])).accepted, messagesFor([1, 3]).length);
});

test('content is refused while it stops, and stopping and closing twice is as good as once', async (t) => {
  const { connector } = openInThread(t);
  connector.start();
  connector.start();
  await Promise.all([connector.stop(0), connector.stop(0)]);
  assert.equal((await connector.status()).state, 'stopped');
  assert.equal((await connector.status()).description, 'stopped');
  await connector.accept({ type: 'messages', elements: messagesFor([1, 2]) }, { source: 'test' });
  await Promise.all([connector.close(0), connector.close(0)]);
  await assert.rejects(connector.accept({ type: 'messages', elements: messagesFor([1]) }, { source: 'test' }), {
    code: 'SERVICE_STOPPING',
  });
  const { cache } = await connector.status();
  assert.equal(cache.waitingCounts.telemetry, messagesFor([1, 2]).length, 'the last status is shown');
});
