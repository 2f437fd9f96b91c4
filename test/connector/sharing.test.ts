import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { AppendDraft } from '../../src/connector/content-store.js';
import { partOf, type Shares, shareOut } from '../../src/connector/sharing.js';
import type { Lane } from '../../src/core/lane.js';
import { BatchBuilder, readRecord } from '../../src/core/record.js';
import { draft, message } from '../cache/requests.js';
import { Random } from '../simulation/random.js';

function requestOf(messages: readonly { lane: Lane; topic: string; payload: string }[]): AppendDraft {
  const builders = new Map<Lane, BatchBuilder>();
  for (const { lane, topic, payload } of messages) {
    const builder = builders.get(lane) ?? new BatchBuilder();
    builders.set(lane, builder);
    builder.push(message(lane, topic, payload));
  }
  const batches = [...builders].map(([lane, builder]) => ({ lane, count: builder.count, data: builder.finish() }));
  return { batches, quarantined: [], acceptedAtMs: 1 };
}

function recordsOf(shares: Shares): { part: number; lane: Lane; topic: string; payload: string }[] {
  return [...shares].flatMap(([part, { batches }]) =>
    batches.flatMap(({ lane, count, data }) => {
      const records = [];
      for (let at = 0; at < data.length; ) {
        const record = readRecord(data, at)!;
        const [topic, payload] = [record.topic, record.payload].map((bytes) => Buffer.from(bytes).toString());
        records.push({ part, lane, topic: topic!, payload: payload! });
        at += record.sizeBytes;
      }
      assert.equal(records.length, count);
      return records;
    }),
  );
}

describe('the part of a topic', () => {
  // What waits on disk was shared out by these numbers: whoever changes them loses the order of what waits.
  test('is the same for ever', () => {
    const parts = ['', 'a', 'plant/boiler/temperature', 'plant/boiler/pressure', 'größe/ä', 'x'.repeat(1000)];
    const of = (count: number) => parts.map((topic) => partOf(Buffer.from(topic), count));
    assert.deepEqual(
      [of(1), of(2), of(4), of(7), of(16)],
      [
        [1, 1, 1, 1, 1, 1],
        [2, 2, 1, 2, 2, 1],
        [4, 4, 1, 2, 4, 3],
        [5, 1, 4, 4, 3, 3],
        [12, 4, 9, 10, 16, 3],
      ],
    );
  });

  test('is drawn evenly for topics that differ in a number', () => {
    for (const count of [2, 3, 4, 8, 16]) {
      const counts = new Map<number, number>();
      for (let number = 0; number < 16_000; number++) {
        const part = partOf(Buffer.from(`plant/line-${number % 7}/sensor-${number}`), count);
        counts.set(part, (counts.get(part) ?? 0) + 1);
      }
      assert.deepEqual([...counts.keys()].sort((one, other) => one - other).length, count);
      for (const [part, found] of counts) {
        const expected = 16_000 / count;
        assert.ok(Math.abs(found - expected) < expected * 0.1, `part ${part} of ${count} has ${found}`);
      }
    }
  });
});

describe('sharing out', () => {
  test('gives each message to the part of its topic, in every lane, and keeps the order', () => {
    const random = new Random(7);
    for (let round = 0; round < 60; round++) {
      const count = random.between(1, 6);
      const messages = Array.from({ length: random.between(1, 80) }, (_, index) => ({
        lane: random.pick(['command', 'alert', 'telemetry'] as const),
        topic: `t/${random.between(0, 9)}`,
        payload: `${index} ${'x'.repeat(random.between(0, 40))}`,
      }));
      const shared = recordsOf(shareOut(requestOf(messages), count));
      assert.equal(shared.length, messages.length);
      for (const { part, topic } of shared) assert.equal(part, partOf(Buffer.from(topic), count));
      const key = ({ lane, topic }: { lane: Lane; topic: string }) => `${lane} ${topic}`;
      for (const each of new Set(messages.map(key))) {
        const sent = messages.filter((one) => key(one) === each).map(({ payload }) => payload);
        assert.deepEqual(
          shared.filter((one) => key(one) === each).map(({ payload }) => payload),
          sent,
        );
      }
    }
  });

  test('does not copy what belongs to one part alone', () => {
    const request = requestOf([1, 2, 3].map((number) => ({ lane: 'telemetry', topic: 'one', payload: `${number}` })));
    const shares = shareOut(request, 4);
    assert.equal(shares.size, 1);
    assert.equal([...shares.values()][0]?.batches[0]?.data, request.batches[0]?.data);
  });

  test('gives what goes to quarantine to the part of its topic, and to the first one without a topic', () => {
    const topic = ['a', 'b', 'c', 'd', 'e'].find((one) => partOf(Buffer.from(one), 4) === 3)!;
    const quarantined = [draft('telemetry', 'with', topic), draft('alert', 'without')];
    const shares = shareOut({ batches: [], quarantined, acceptedAtMs: 1 }, 4);
    assert.deepEqual([...shares].map(([part, share]) => [part, share.quarantined]).sort(), [
      [1, [quarantined[1]]],
      [3, [quarantined[0]]],
    ]);
  });
});
