import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import Database from 'better-sqlite3';
import type { Cache } from '../../src/cache/cache.js';
import { SWEEP_PERIOD_MS } from '../../src/cache/cache-front.js';
import type { AppendReply, Batch, StoreLimits } from '../../src/cache/store.js';
import { openCache } from '../../src/cache/threaded-cache.js';
import type { Lane } from '../../src/core/lane.js';
import { eventually, within } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startScript } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { append, batch, draft, LIMITS, messagesOf, numbered, payloads, START_MS } from './requests.js';

function read(cache: Cache, lane: Lane, from: number, sizeBytesMax: number): Promise<Batch[]> {
  return new Promise((resolve, reject) => {
    cache.read(lane, from, sizeBytesMax, (error, batches) => (error === undefined ? resolve(batches) : reject(error)));
  });
}

function save(cache: Cache, firstUnsettled: number, quarantinedOffsets: readonly number[] = []): Promise<void> {
  const none = { firstUnsettled: 0, boundOffset: 0, settled: [] };
  const telemetry = { firstUnsettled, boundOffset: firstUnsettled, settled: [] };
  const progress = { lanes: { command: none, alert: none, telemetry }, received: [] };
  const quarantine = quarantinedOffsets.map((offset) => ({
    lane: 'telemetry' as const,
    offset,
    code: 'PUBLISH_REFUSED',
    reason: 'no',
  }));
  return new Promise((resolve, reject) => {
    cache.save({ progress, quarantine, atMs: START_MS }, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** Opens a cache together with the thread that it starts. */
async function openWithThread(folder: string, limits: StoreLimits = LIMITS): Promise<{ cache: Cache; thread: Worker }> {
  const started = new Promise<Worker>((resolve) => process.once('worker', resolve));
  const cache = await openCache({ folder, limits });
  return { cache, thread: await started };
}

describe('the cache in its thread', () => {
  test('gives receipts in order, tells of each run before, and gives back what it took', async () => {
    const folder = temporaryFolder('threaded');
    const cache = await openCache({ folder, limits: LIMITS });
    const events: string[] = [];
    cache.onAppended = (lane, from, to) => events.push(`${lane} ${from} to ${to}`);
    const appends = ['a', 'b', 'c'].map(async (text) => {
      const reply = await cache.append(append('telemetry', [text]));
      events.push(`receipt ${reply.ranges[0]!.from}`);
    });
    await Promise.all(appends);
    assert.deepEqual(events, ['telemetry 0 to 3', 'receipt 0', 'receipt 1', 'receipt 2']);
    assert.deepEqual(payloads(messagesOf(await read(cache, 'telemetry', 0, 1000))), ['a', 'b', 'c']);
    assert.match(cache.cacheId, /^[0-9a-f]{8}$/);
    await cache.close();
    const again = await openCache({ folder, limits: LIMITS });
    assert.equal(again.cacheId, cache.cacheId);
    assert.deepEqual(payloads(messagesOf(await read(again, 'telemetry', 0, 1000))), ['a', 'b', 'c']);
    await again.close();
  });

  test('gives what is kept for the session out of memory, and reads it with the same bytes and offsets', async () => {
    const cache = await openCache({ folder: temporaryFolder('threaded'), limits: LIMITS });
    const told: Batch[] = [];
    cache.onAppended = (_lane, _from, _to, batches) => told.push(...batches);
    cache.isKeptFor = (lane) => lane === 'telemetry';
    const large = 'x'.repeat(100_000);
    const requests = [
      append('telemetry', ['a', large]),
      { ...append('alert', ['b']), batches: [batch('alert', ['b']), batch('telemetry', ['c'])] },
    ];
    const replies = await Promise.all(requests.map((request) => cache.append(request)));
    assert.deepEqual(replies[1]!.ranges, [
      { lane: 'alert', from: 0, to: 1 },
      { lane: 'telemetry', from: 2, to: 3, isLent: true },
    ]);
    assert.deepEqual(
      told.map(({ lane, firstOffset, count, acceptedAtMs }) => ({ lane, firstOffset, count, acceptedAtMs })),
      [
        { lane: 'telemetry', firstOffset: 0, count: 2, acceptedAtMs: START_MS },
        { lane: 'telemetry', firstOffset: 2, count: 1, acceptedAtMs: START_MS },
      ],
    );
    assert.deepEqual(payloads(messagesOf(told)), ['a', large, 'c']);
    assert.deepEqual(payloads(messagesOf(await read(cache, 'telemetry', 0, 1))), ['a', large, 'c']);
    await cache.close();
  });

  test('commits what comes while it syncs in few transactions', async () => {
    const folder = temporaryFolder('threaded');
    const cache = await openCache({ folder, limits: LIMITS });
    await Promise.all(numbered('m', 500).map((text) => cache.append(append('telemetry', [text]))));
    assert.deepEqual(payloads(messagesOf(await read(cache, 'telemetry', 0, 1_000_000))), numbered('m', 500));
    await cache.close();
    const db = new Database(join(folder, 'cache.db'), { readonly: true });
    const rows = db.prepare<[], number>('SELECT count(*) FROM batch').pluck().get()!;
    db.close();
    assert.ok(rows <= 5, `500 appends at once became ${rows} rows`);
  });

  test('answers everything that comes while it is busy, turn after turn', async () => {
    const cache = await openCache({ folder: temporaryFolder('threaded'), limits: LIMITS });
    const receipts: Promise<AppendReply>[] = [];
    for (let turn = 0; turn < 200; turn++) {
      receipts.push(cache.append(append('telemetry', [`${turn}`])), cache.append(append('alert', [`${turn}`])));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const replies = await within(Promise.all(receipts), 'the receipts of all turns');
    assert.deepEqual(
      replies.map(({ ranges }) => ranges[0]!.from),
      replies.map((_, index) => Math.floor(index / 2)),
    );
    await cache.close();
  });

  test('carries batches of every size across unharmed, in both directions', async () => {
    const cache = await openCache({ folder: temporaryFolder('threaded'), limits: LIMITS });
    const sizes = [0, 1, 100, 16_000, 16_383, 16_384, 20_000, 100_000, 1_000_000, 3_000_000, 5];
    const texts = sizes.map((size, index) => String.fromCharCode(97 + index).repeat(size));
    await Promise.all(
      texts.map((text, index) => cache.append(append('telemetry', [text], { acceptedAtMs: START_MS + index * 5000 }))),
    );
    const batches = await read(cache, 'telemetry', 0, 100_000_000);
    assert.equal(batches.length, sizes.length);
    assert.deepEqual(payloads(messagesOf(batches)), texts);
    await cache.close();
  });

  test('hands a large batch over without copying it, and never more of a small one than itself', async () => {
    const cache = await openCache({ folder: temporaryFolder('threaded'), limits: LIMITS });
    const large = batch('telemetry', ['x'.repeat(500_000)]);
    const small = batch('telemetry', ['small']);
    const pool = Buffer.alloc(1_000_000);
    small.data.copy(pool, 777);
    const view = { ...small, data: pool.subarray(777, 777 + small.data.length) };
    await cache.append({ batches: [large], quarantined: [], acceptedAtMs: START_MS });
    await cache.append({ batches: [view], quarantined: [], acceptedAtMs: START_MS });
    assert.equal(large.data.length, 0, 'the buffer has moved to the thread');
    assert.equal(pool.length, 1_000_000, 'a part of somebody’s buffer is copied');
    const shared = batch('telemetry', ['y'.repeat(50_000)]);
    const memory = Buffer.from(new SharedArrayBuffer(shared.data.length));
    shared.data.copy(memory);
    await cache.append({ batches: [{ ...shared, data: memory }], quarantined: [], acceptedAtMs: START_MS });
    assert.equal(memory.length, shared.data.length);
    assert.equal(payloads(messagesOf(await read(cache, 'telemetry', 2, 1_000_000))).at(-1), 'y'.repeat(50_000));
    await cache.close();
  });

  test('rejects what is refused and what is impossible, each alone', async () => {
    const cache = await openCache({ folder: temporaryFolder('threaded'), limits: LIMITS });
    const idempotency = { key: 'k', contentHash: 'h', expiresAtMs: START_MS + 1, answer: 'r' };
    const outcomes = await Promise.allSettled([
      cache.append(append('telemetry', ['first'], { idempotency })),
      cache.append(append('telemetry', ['other'], { idempotency: { ...idempotency, contentHash: 'x' } })),
      cache.append({ ...append('telemetry', []), batches: [{ ...batch('telemetry', ['a', 'b']), count: 9 }] }),
      cache.append(append('telemetry', ['last'])),
      cache.append(append('telemetry', ['huge'], { batches: [{ lane: 'alert', count: 1, data: Buffer.alloc(9, 9) }] })),
    ]);
    assert.deepEqual(
      outcomes.map((one) => (one.status === 'fulfilled' ? one.value.ranges[0]!.from : one.reason.code)),
      [0, 'IDEMPOTENCY_KEY_REUSED', 'INTERNAL', 1, 'INTERNAL'],
    );
    await assert.rejects(save(cache, 99), { code: 'INTERNAL' });
    await cache.close();
  });

  test('fails the calls that cannot be sent to a thread, and goes on', async () => {
    const cache = await openCache({ folder: temporaryFolder('threaded'), limits: LIMITS });
    const uncloneable = append('telemetry', ['a'], { acceptedAtMs: (() => 0) as unknown as number });
    await assert.rejects(cache.append(uncloneable), { code: 'CACHE_FAILED' });
    await cache.append(append('telemetry', ['b']));
    await cache.close();
  });

  test('retries and removes any number of quarantined messages, in parts', async () => {
    const cache = await openCache({ folder: temporaryFolder('threaded'), limits: LIMITS });
    const quarantined = numbered('q', 2500).map((text) => draft('telemetry', text, 'a/b', 'MENDED'));
    await cache.append({ batches: [], quarantined, acceptedAtMs: START_MS });
    const told: number[] = [];
    cache.onAppended = (_lane, from, to) => told.push(from, to);
    const reply = await cache.retry({ codes: ['MENDED'] });
    assert.equal(reply.count, 2500);
    assert.deepEqual([told[0], told.at(-1)], [0, 2500]);
    assert.deepEqual(payloads(messagesOf(await read(cache, 'telemetry', 0, 10_000_000))), numbered('q', 2500));
    await save(cache, 2500, numbered('', 2500).map(Number));
    assert.equal(await cache.remove({ all: true }), 2500);
    assert.equal(await cache.remove({ all: true }), 0);
    await cache.close();
  });

  test('takes a new topic for one message that is named, and refuses a bad one', async () => {
    const cache = await openCache({ folder: temporaryFolder('threaded'), limits: LIMITS });
    const reply = await cache.append({
      ...append('telemetry', []),
      batches: [],
      quarantined: [draft('telemetry', 'v')],
    });
    const ids = [...reply.quarantinedIds];
    await assert.rejects(cache.retry({ ids }, { topic: 'a/+' }), { code: 'TOPIC_INVALID' });
    await assert.rejects(cache.retry({ all: true }, { topic: 'a/b' }), { code: 'REQUEST_INVALID' });
    assert.equal((await cache.retry({ ids }, { topic: 'a/b' })).count, 1);
    assert.deepEqual(messagesOf(await read(cache, 'telemetry', 0, 1000)), [{ offset: 0, topic: 'a/b', payload: 'v' }]);
    await cache.close();
  });

  test('looks every minute for what has been kept for its time, and not after it is closed', async () => {
    const clock = new ManualClock(START_MS);
    const limits = { ...LIMITS, quarantineRetentionMs: 30_000 };
    const cache = await openCache({ folder: temporaryFolder('threaded'), limits, clock });
    const quarantined = numbered('q', 5000).map((text) => draft('telemetry', text));
    await cache.append({ batches: [], quarantined, acceptedAtMs: START_MS });
    clock.advance(SWEEP_PERIOD_MS - 1);
    assert.equal((await cache.status()).quarantinedCount, 5000);
    clock.advance(1);
    await eventually(async () => (await cache.status()).quarantinedCount === 0, 'the sweep to remove all of it');
    await eventually(() => clock.waitsMs.length === 1, 'the next sweep to be planned');
    await cache.close();
    assert.deepEqual(clock.waitsMs, []);
  });

  test('commits what is queued when it is closed, and rejects what comes later', async () => {
    const folder = temporaryFolder('threaded');
    const cache = await openCache({ folder, limits: LIMITS });
    const before = cache.append(append('telemetry', ['queued']));
    const closed = cache.close();
    const after = cache.append(append('telemetry', ['late']));
    await assert.rejects(after, { code: 'CACHE_CLOSED' });
    await assert.rejects(cache.status(), { code: 'CACHE_CLOSED' });
    assert.deepEqual((await before).ranges, [{ lane: 'telemetry', from: 0, to: 1 }]);
    await closed;
    await cache.close();
    await assert.rejects(read(cache, 'telemetry', 0, 1), { code: 'CACHE_CLOSED' });
    const again = await openCache({ folder, limits: LIMITS });
    assert.deepEqual((await again.status()).nextOffsets.telemetry, 1);
    await again.close();
  });

  test('rejects everything that is pending, and says so, when its thread dies', async () => {
    const folder = temporaryFolder('threaded');
    const { cache, thread } = await openWithThread(folder);
    await cache.append(append('telemetry', ['safe']));
    const failures: string[] = [];
    cache.onFailed = (error) => failures.push(error.code);
    const pending = [cache.append(append('telemetry', ['lost?'])), save(cache, 1), read(cache, 'telemetry', 0, 1)];
    const ended = thread.terminate();
    const outcomes = await Promise.allSettled(pending);
    await ended;
    const rejected = outcomes.filter((one) => one.status === 'rejected');
    assert.ok(rejected.every((one) => one.reason.code === 'CACHE_FAILED'));
    await assert.rejects(cache.append(append('telemetry', ['x'])), { code: 'CACHE_FAILED' });
    assert.deepEqual(failures, ['CACHE_FAILED']);
    await cache.close();
    const again = await openCache({ folder, limits: LIMITS });
    assert.ok((await again.status()).nextOffsets.telemetry >= 1);
    await again.close();
  });

  test('says why it cannot be opened', async () => {
    const folder = temporaryFolder('threaded');
    const blocked = join(folder, 'file');
    writeFileSync(blocked, 'no folder');
    await assert.rejects(openCache({ folder: join(blocked, 'cache'), limits: LIMITS }), { code: 'CACHE_FAILED' });
  });

  test('keeps the process alive while it has something to do, and only then', async () => {
    const child = startScript('test/cache/process-that-appends-once.js', [temporaryFolder('threaded')]);
    const end = await child.ended;
    assert.deepEqual({ ...end, output: child.output }, { code: 0, signal: null, output: 'stored 0\n' });
  });
});
