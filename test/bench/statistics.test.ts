import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatCount,
  formatFigure,
  formatShare,
  formatSpread,
  median,
  percentile,
  spreadOf,
} from '../../bench/statistics.js';

test('the median is the middle value, and the mean of the two in the middle', () => {
  assert.equal(median([9, 1, 10]), 9);
  assert.equal(median([4, 1, 3, 100]), 3.5);
  assert.equal(median([7]), 7);
  assert.ok(Number.isNaN(median([])));
});

test('the median leaves the values in their order', () => {
  const values = [3, 1, 2];
  median(values);
  spreadOf(values);
  percentile(values, 0.5);
  assert.deepEqual(values, [3, 1, 2]);
});

test('a percentile is a value that was measured, and not exceeded by its share of them', () => {
  const hundred = Array.from({ length: 100 }, (_none, index) => 100 - index);
  assert.equal(percentile(hundred, 0.5), 50);
  assert.equal(percentile(hundred, 0.99), 99);
  assert.equal(percentile(hundred, 1), 100);
  assert.equal(percentile(hundred, 0), 1);
  assert.equal(percentile([1, 2, 500], 0.99), 500);
  assert.ok(Number.isNaN(percentile([], 0.5)));
});

test('values are compared as numbers', () => {
  assert.deepEqual(spreadOf([10, 9, 100]), { median: 10, least: 9, most: 100 });
});

test('figures are written with thousands set apart, three significant digits, and a dash where there is none', () => {
  assert.equal(formatCount(1234567.8), '1,234,568');
  assert.equal(formatCount(Number.NaN), '–');
  assert.equal(formatFigure(0.45678), '0.457');
  assert.equal(formatFigure(12.345), '12.3');
  assert.equal(formatFigure(1234.5), '1,235');
  assert.equal(formatFigure(Number.NaN), '–');
  assert.equal(formatShare(0.874), '87 %');
  assert.equal(formatSpread([1000, 3000, 2000]), '2,000 (1,000 to 3,000)');
  assert.equal(formatSpread([1000]), '1,000');
});
