import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { distributionOf } from '../../src/measurement/distribution.js';
import { loadBetween, markLoad } from '../../src/measurement/machine-load.js';
import { RateRecord } from '../../src/measurement/rate-record.js';

test('of a hundred times, one is beyond the ninety-ninth and half are beyond the median', () => {
  const times = Array.from({ length: 100 }, (_unused, at) => 100 - at);
  assert.deepEqual(distributionOf(times), { count: 100, medianMs: 50, p99Ms: 99, meanMs: 50.5 });
  assert.deepEqual(distributionOf([3]), { count: 1, medianMs: 3, p99Ms: 3, meanMs: 3 });
  assert.equal(distributionOf([]), undefined);
});

describe('the rate', () => {
  test('is that of the second half', () => {
    const record = new RateRecord(1000);
    assert.equal(record.perSecond(), undefined);
    for (const [count, timeMs] of [
      [10, 2000],
      [50, 3000],
      [75, 3100],
      [100, 3200],
    ] as const) {
      record.note(count, timeMs);
    }
    assert.deepEqual([record.halfwayMs, record.endMs, record.perSecond()], [3000, 3200, 250]);
  });

  test('of a single step is that of the whole', () => {
    const record = new RateRecord(1000);
    record.note(100, 1500);
    assert.equal(record.perSecond(), 200);
    record.note(100, 9000);
    assert.equal(record.perSecond(), 200, 'what does not grow is not noted');
  });

  test('of what stopped growing counts the time until it was given up', () => {
    const record = new RateRecord(0);
    record.breakOff(1000);
    assert.equal(record.perSecond(), undefined);
    record.note(100, 1000);
    record.note(200, 2000);
    record.breakOff(11_000);
    assert.deepEqual([record.grownMs, record.endMs, record.perSecond()], [2000, 11_000, 10]);
  });

  test('of a jump over the half begins before the jump', () => {
    const record = new RateRecord(0);
    record.note(10, 100);
    record.note(100, 200);
    record.note(110, 300);
    assert.equal(record.perSecond(), 500);
  });
});

test('a busy thread is seen', () => {
  const before = markLoad();
  while (performance.now() - before.timeMs < 200);
  const { mainThread, processCores, machine } = loadBetween(before, markLoad());
  assert.ok(mainThread > 0.9, String(mainThread));
  assert.ok(processCores > 0, String(processCores));
  assert.ok(machine === undefined || (machine > 0 && machine <= 1), String(machine));
});
