import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openDirectCache } from '../../src/cache/direct-cache.js';
import { ManualClock } from '../kit/manual-clock.js';
import { ModelStore } from './model-store.js';
import { append, LIMITS, messagesOf, payloads, START_MS, save } from './requests.js';

test('a cache on a store in this thread does everything when the world says so, and not before', async () => {
  const store = new ModelStore(LIMITS);
  const due: (() => void)[] = [];
  const cache = openDirectCache({
    store,
    cacheId: store.cacheId,
    clock: new ManualClock(START_MS),
    schedule: (work) => due.push(work),
  });
  const events: string[] = [];
  cache.onAppended = (lane, from, to) => events.push(`${lane} ${from} to ${to}`);
  const receipts = [cache.append(append('telemetry', ['a'])), cache.append(append('telemetry', ['b']))];
  cache.save(save(store, {}), (error) => events.push(`saved ${error}`));
  cache.read('telemetry', 0, 1000, (_error, batches) => events.push(`read ${payloads(messagesOf(batches))}`));
  assert.equal(due.length, 1, 'one transaction for all');
  assert.equal(events.length, 0);
  due.shift()!();
  assert.deepEqual(events, ['read ', 'telemetry 0 to 2', 'saved undefined']);
  assert.deepEqual(
    (await Promise.all(receipts)).map(({ ranges }) => ranges[0]!.from),
    [0, 1],
  );
  cache.read('telemetry', 0, 1000, (_error, batches) => events.push(`read ${payloads(messagesOf(batches))}`));
  due.shift()!();
  assert.equal(events.at(-1), 'read a,b');
  const closed = cache.close();
  due.shift()!();
  await closed;
  await assert.rejects(cache.status(), { code: 'CACHE_CLOSED' });
});
