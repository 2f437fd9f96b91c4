import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { duration, seconds, size } from '../../src/config/quantity.js';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.js';

const wide = { min: 0, max: Number.MAX_SAFE_INTEGER };

test('times and sizes are read in every unit, with and without a space', () => {
  const times = ['7', '7 ms', '7s', '7 min', '7m', ' 7 h ', '7 d', '0.5 s', '1.5h'].map(parseDuration);
  assert.deepEqual(times, [7, 7, 7000, 420_000, 420_000, 25_200_000, 604_800_000, 500, 5_400_000]);
  const sizes = ['7', '7 B', '7kB', '7 KB', '7 MB', '7 KiB', '7 MiB', '7 GiB', '0.5 KiB', '7 TB'].map(parseSize);
  assert.deepEqual(sizes, [7, 7, 7000, 7000, 7e6, 7168, 7 * 1024 ** 2, 7 * 1024 ** 3, 512, 7e12]);
});

test('anything else is no time and no size', () => {
  for (const text of ['', ' ', '-1 s', '1 week', '1,5 s', '1e3', '0x10', 'NaN', '1 S', '1 s s', 's', '١ s']) {
    assert.equal(parseDuration(text), undefined, text);
    assert.ok(!duration(wide).safeParse(text).success, text);
    assert.ok(!seconds(wide).safeParse(text).success, text);
  }
  for (const text of ['', '-1', '1 XB', '1 kiB', '1 mb', '1 b', '1e3', '1 Gb']) {
    assert.equal(parseSize(text), undefined, text);
    assert.ok(!size(wide).safeParse(text).success, text);
  }
});

test('a bare number is milliseconds, seconds or bytes, and must be whole', () => {
  assert.equal(duration(wide).parse(1500), 1500);
  assert.equal(seconds(wide).parse(15), 15);
  assert.equal(seconds(wide).parse('15'), 15);
  assert.equal(seconds(wide).parse('2 min'), 120);
  assert.equal(size(wide).parse(15), 15);
  for (const type of [duration(wide), seconds(wide), size(wide)]) {
    for (const value of [1.5, -1, Number.NaN, Number.POSITIVE_INFINITY, null, true, [], {}]) {
      assert.ok(!type.safeParse(value).success, String(value));
    }
  }
  assert.ok(!seconds(wide).safeParse('1500 ms').success);
});

test('a value outside the limits is told with both ends and their units', () => {
  const messageOf = (type: ReturnType<typeof duration>, value: unknown) =>
    type.safeParse(value).error?.issues[0]?.message;
  assert.equal(messageOf(duration({ min: 100, max: 300_000 }), 50), 'must be between 100 ms and 5 min, is 50 ms');
  assert.equal(messageOf(seconds({ min: 0, max: 60 }), 61), 'must be between 0 s and 1 min, is 61 s');
  assert.equal(messageOf(size({ min: 1024, max: 1024 ** 3 }), 10), 'must be between 1 KiB and 1 GiB, is 10 B');
});

test('what is formatted is read back: times exactly, sizes to one decimal', () => {
  fc.assert(
    fc.property(fc.nat(1e12), (value) => {
      assert.equal(parseDuration(formatDuration(value)), value);
      const bytes = parseSize(formatSize(value)) ?? Number.NaN;
      assert.ok(Math.abs(bytes - value) <= value * 0.05, formatSize(value));
    }),
  );
  assert.deepEqual([90_000, 72 * 3_600_000, 86_400_000, 0, 1500].map(formatDuration), [
    '90 s',
    '3 d',
    '1 d',
    '0 ms',
    '1500 ms',
  ]);
});
