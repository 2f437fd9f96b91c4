import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BenchPlot } from '../../bench/case.js';
import { renderPlot } from '../../bench/plot.js';
import { axisOf } from '../../bench/plot-axis.js';

const PLOT: BenchPlot = {
  file: 'rate.svg',
  title: 'Rate & window <by round trip>',
  xLabel: 'window',
  yLabel: 'messages per second',
  xScale: 'log',
  yScale: 'log',
  series: [
    {
      label: 'a "line"',
      points: [
        [1, 10],
        [10, 100],
        [100, 1000],
      ],
    },
    { label: 'one point', points: [[10, 500]] },
  ],
};

function polylines(svg: string): [number, number][][] {
  return [...svg.matchAll(/<polyline [^>]*points="([^"]+)"/g)].map(([, points = '']) =>
    points.split(' ').map((point) => {
      const [x, y] = point.split(',').map(Number);
      return [x!, y!];
    }),
  );
}

test('equal factors are equal distances on a logarithmic scale, and greater figures are further up', () => {
  const [line = []] = polylines(renderPlot(PLOT));
  const [first, second, third] = line;
  assert.ok(first && second && third && line.length === 3);
  assert.ok(Math.abs(second[0] - first[0] - (third[0] - second[0])) <= 0.2);
  assert.ok(Math.abs(second[1] - first[1] - (third[1] - second[1])) <= 0.2);
  assert.ok(first[1] > second[1] && second[1] > third[1]);
});

test('a plot names its axes, its lines and itself, with every sign of them escaped', () => {
  const svg = renderPlot(PLOT);
  for (const text of [
    'Rate &amp; window &lt;by round trip&gt;',
    'messages per second',
    'a &quot;line&quot;',
    'one point',
  ]) {
    assert.ok(svg.includes(`>${text}</text>`), text);
  }
  assert.doesNotMatch(svg.replace(/&(amp|lt|gt|quot);/g, ''), /&/);
});

test('a series of one point is a mark without a line', () => {
  const svg = renderPlot({ ...PLOT, series: [{ label: 'one point', points: [[10, 500]] }] });
  assert.equal(polylines(svg).length, 0);
  assert.match(svg, /class="mark0"/);
});

test('figures that cannot be shown are left out and leave no NaN behind', () => {
  const points: [number, number][] = [
    [0, 5],
    [Number.NaN, 5],
    [1, Number.POSITIVE_INFINITY],
    [2, 5],
    [3, 6],
  ];
  const svg = renderPlot({ ...PLOT, series: [{ label: 'holes', points }] });
  assert.equal(polylines(svg)[0]?.length, 2);
  assert.doesNotMatch(svg, /NaN|Infinity/);
});

test('a plot without any figure and one with a single value are rendered all the same', () => {
  for (const scale of ['linear', 'log'] as const) {
    for (const points of [[], [[7, 7]], [[0, 0]]] as [number, number][][]) {
      const svg = renderPlot({ ...PLOT, xScale: scale, yScale: scale, series: [{ label: 'little', points }] });
      assert.doesNotMatch(svg, /NaN|Infinity|undefined/, `${scale} ${JSON.stringify(points)}`);
    }
  }
});

test('no two of eighteen lines are drawn alike', () => {
  const series = Array.from({ length: 18 }, (_none, index) => ({
    label: String(index),
    points: [[index + 1, index + 1]] as [number, number][],
  }));
  const svg = renderPlot({ ...PLOT, series });
  const marks = [...svg.matchAll(/<(circle|rect|path) class="(mark\d+)" (?:cx|x|d)="([^"]+)"/g)].map(
    ([, shape, colour, place = '']) =>
      `${shape} ${colour} ${place.replace(/M[\d.]+ [\d.]+/, '').replace(/^[\d.]+$/, '')}`,
  );
  assert.equal(marks.length, 36, 'one in the plot and one beside its name');
  assert.equal(new Set(marks).size, 18);
});

test('a plot looks the same in the same figures, and has its own colours in the dark', () => {
  assert.equal(renderPlot(PLOT), renderPlot(PLOT));
  assert.match(renderPlot(PLOT), /@media \(prefers-color-scheme: dark\)/);
});

test('an axis begins and ends at round figures around all values', () => {
  const ticksOf = (values: number[], scale: 'linear' | 'log') =>
    axisOf(values, scale, 0, 100).ticks.map(({ value }) => value);
  assert.deepEqual(ticksOf([3, 97], 'linear'), [0, 20, 40, 60, 80, 100]);
  assert.deepEqual(ticksOf([0.1, 0.3], 'linear'), [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]);
  assert.deepEqual(ticksOf([3, 18], 'log'), [2, 5, 10, 20]);
  assert.deepEqual(ticksOf([1000, 10_000_000], 'log'), [1000, 10_000, 100_000, 1_000_000, 10_000_000]);
  for (const values of [[3, 97], [0.0123], [5, 5], [1e9, 2e9]]) {
    for (const scale of ['linear', 'log'] as const) {
      const { place } = axisOf(values, scale, 0, 100);
      for (const value of values) assert.ok(place(value) >= 0 && place(value) <= 100, `${value} of ${values}`);
    }
  }
});

test('figures at an axis are short', () => {
  const labels = axisOf([1000, 10_000_000], 'log', 0, 100).ticks.map(({ label }) => label);
  assert.deepEqual(labels, ['1,000', '10 k', '100 k', '1 M', '10 M']);
});
