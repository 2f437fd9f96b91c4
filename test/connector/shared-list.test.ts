import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ListQuery, StoredMessage } from '../../src/cache/store.js';
import { type ListedPart, listShared, removeShared, retryShared } from '../../src/connector/shared-list.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import { readRecord } from '../../src/core/record.js';
import { batch, draft } from '../cache/requests.js';
import { Random } from '../simulation/random.js';
import { RealParts } from './real-parts.js';

const COUNT = 3;

function listed(parts: RealParts): ListedPart[] {
  return Array.from({ length: COUNT }, (_, index) => {
    const cache = parts.cache(index + 1);
    return {
      number: index + 1,
      list: (query) => cache.list(query),
      retry: async (which, topic) => (await cache.retry(which, topic === undefined ? {} : { topic })).count,
      remove: (which) => cache.remove(which),
    };
  });
}

async function append(parts: RealParts, part: number, lane: Lane, texts: readonly string[], acceptedAtMs: number) {
  await parts.cache(part).append({ batches: [batch(lane, texts)], quarantined: [], acceptedAtMs });
}

async function quarantine(parts: RealParts, part: number, texts: readonly string[], acceptedAtMs: number) {
  const quarantined = texts.map((text) => draft('telemetry', text, 'some/topic', `CODE_${part}`));
  await parts.cache(part).append({ batches: [], quarantined, acceptedAtMs });
}

function textOf({ record }: StoredMessage): string {
  return Buffer.from(readRecord(record, 0)!.payload).toString();
}

async function readAll(all: readonly ListedPart[], query: ListQuery): Promise<StoredMessage[]> {
  const messages: StoredMessage[] = [];
  let after: string | undefined;
  for (let pages = 0; ; pages++) {
    assert.ok(pages < 1000, `the pages do not end: ${after}`);
    const page = await listShared(all, { ...query, ...(after === undefined ? {} : { after }) });
    assert.ok(page.messages.length <= query.limit);
    messages.push(...page.messages);
    if (page.cursor === undefined) return messages;
    after = page.cursor;
  }
}

describe('the list of several parts', () => {
  test('has what waits in all of them once, by lane and then by time, whatever the size of a page', async (t) => {
    const parts = new RealParts(COUNT);
    t.after(() => parts.close());
    const random = new Random(11);
    let count = 0;
    for (let time = 1000; time < 1100; time++) {
      const texts = Array.from({ length: random.between(1, 4) }, () => `${time} ${count++}`);
      await append(parts, random.between(1, COUNT), random.pick(LANES), texts, time);
    }
    const all = listed(parts);
    const whole = await readAll(all, { state: 'waiting', limit: 1000 });
    assert.equal(whole.length, count);
    assert.equal(new Set(whole.map(textOf)).size, count);
    const sorted = whole.toSorted(
      (one, other) => LANES.indexOf(one.lane) - LANES.indexOf(other.lane) || one.acceptedAtMs - other.acceptedAtMs,
    );
    assert.deepEqual(whole.map(textOf), sorted.map(textOf));
    for (const limit of [1, 2, 7, 50]) {
      assert.deepEqual((await readAll(all, { state: 'waiting', limit })).map(textOf), whole.map(textOf));
      const alerts = await readAll(all, { state: 'waiting', limit, lane: 'alert' });
      assert.deepEqual(alerts.map(textOf), whole.filter(({ lane }) => lane === 'alert').map(textOf));
    }
  });

  test('names each quarantined message uniquely, and retry and remove find it by that number', async (t) => {
    const parts = new RealParts(COUNT);
    t.after(() => parts.close());
    for (let part = 1; part <= COUNT; part++) await quarantine(parts, part, [`a${part}`, `b${part}`], 1000 + part);
    const all = listed(parts);
    const read = () => readAll(all, { state: 'quarantined', limit: 2 });
    const messages = await read();
    assert.deepEqual(
      messages.map((message) => [message.id, textOf(message)]),
      [
        [1, 'a1'],
        [2, 'b1'],
        [2_000_000_000_001, 'a2'],
        [2_000_000_000_002, 'b2'],
        [3_000_000_000_001, 'a3'],
        [3_000_000_000_002, 'b3'],
      ],
    );
    assert.equal(await removeShared(all, { ids: [1, 3_000_000_000_002, 1_000_000_000_002, 9_000_000_000_001] }), 2);
    assert.deepEqual((await read()).map(textOf), ['b1', 'a2', 'b2', 'a3']);
    assert.equal(await retryShared(all, { ids: [2_000_000_000_001] }, 'mended/topic'), 1);
    assert.deepEqual(parts.waiting(2), [{ topic: 'mended/topic', text: 'a2' }]);
    assert.equal(await retryShared(all, { codes: ['CODE_2', 'CODE_3'] }), 2);
    assert.equal(await removeShared(all, { all: true }), 1);
    assert.deepEqual(await read(), []);
  });

  test('says what is wrong with a request as one part would', async (t) => {
    const parts = new RealParts(COUNT);
    t.after(() => parts.close());
    const all = listed(parts);
    await assert.rejects(listShared(all, { state: 'waiting', limit: 1, after: '1:x' }), { code: 'REQUEST_INVALID' });
    await assert.rejects(listShared(all, { state: 'quarantined', limit: 1, after: '1:0.5' }), {
      code: 'REQUEST_INVALID',
    });
    await assert.rejects(retryShared(all, { all: true }, 'a'), { code: 'REQUEST_INVALID' });
    await quarantine(parts, 2, ['a'], 1);
    await assert.rejects(retryShared(all, { ids: [2_000_000_000_001] }, 'a/#'), { code: 'TOPIC_INVALID' });
    assert.deepEqual(await listShared(all, { state: 'waiting', limit: 10, after: '9:' }), {
      messages: [],
      cursor: undefined,
    });
  });

  test('ends also where a page of a part is cut short because few messages have the topic', async (t) => {
    const parts = new RealParts(COUNT);
    t.after(() => parts.close());
    const texts = Array.from({ length: 10 }, () => 'x'.repeat(100_000));
    for (let part = 1; part <= COUNT; part++) {
      for (let round = 0; round < 5; round++) await append(parts, part, 'telemetry', texts, 1000 + round);
      await parts.cache(part).append({
        batches: [batch('telemetry', [`rare ${part}`], 'rare')],
        quarantined: [],
        acceptedAtMs: 2000 - part,
      });
    }
    const found = await readAll(listed(parts), { state: 'waiting', limit: 5, topic: 'rare' });
    assert.deepEqual(found.map(textOf), ['rare 3', 'rare 2', 'rare 1']);
  });
});
