/** Where a figure lies along one side of a plot, and which figures are written there. */
import type { BenchPlot } from './case.js';

export interface Axis {
  /** Where the figure lies, in tenths of a pixel. */
  place(value: number): number;
  /** In ascending order; a line without a label has no text. */
  ticks: readonly { value: number; at: number; label: string }[];
}

const LINEAR_TICKS_COUNT = 6;
/** Beyond so many powers of ten, the lines at 2 and 5 would be too many. */
const FINE_DECADES_MAX = 3;
const ROUND_STEPS = [1, 2, 5, 10];

/**
 * @param start the pixel of the least value
 * @param end the pixel of the greatest; smaller than `start` where the axis points up
 */
export function axisOf(values: readonly number[], scale: BenchPlot['xScale'], start: number, end: number): Axis {
  const ticks = scale === 'log' ? logTicks(values) : linearTicks(values);
  const position = scale === 'log' ? Math.log10 : (value: number) => value;
  const least = position(ticks[0]!);
  const most = position(ticks.at(-1)!);
  const place = (value: number): number =>
    Math.round((start + ((position(value) - least) / (most - least)) * (end - start)) * 10) / 10;
  const decades = scale === 'log' ? most - least : 0;
  return {
    place,
    ticks: ticks.map((value) => ({
      value,
      at: place(value),
      label:
        decades > 1.5 && !isPowerOfTen(value) && value !== ticks.at(-1) && value !== ticks[0] ? '' : formatTick(value),
    })),
  };
}

/** Round numbers from 0 (or below it) to the first one that is not exceeded. */
function linearTicks(values: readonly number[]): number[] {
  const least = Math.min(0, ...values);
  const most = Math.max(0, ...values);
  if (least === most) return [0, 1];
  const rough = (most - least) / LINEAR_TICKS_COUNT;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ROUND_STEPS.map((factor) => factor * power).find((each) => each >= rough * 0.999) ?? power * 10;
  const first = Math.floor(least / step);
  const last = Math.ceil(most / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_none, index) => Number(((first + index) * step).toPrecision(12)));
}

/** 1, 2 and 5 of each power of ten around the values; only the powers where they span many. */
function logTicks(values: readonly number[]): number[] {
  if (values.length === 0) return [1, 10];
  const least = Math.min(...values);
  const most = Math.max(...values);
  const isFine = Math.log10(most / least) <= FINE_DECADES_MAX;
  const factors = isFine ? [1, 2, 5] : [1];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.ceil(Math.log10(most)) + 1; power++) {
    for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(12)));
  }
  const first = ticks.findLastIndex((tick) => tick <= least * (1 + 1e-9));
  const last = ticks.findIndex((tick) => tick >= most * (1 - 1e-9));
  return ticks.slice(first, Math.max(last, first + 1) + 1);
}

function isPowerOfTen(value: number): boolean {
  return Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
}

/** `0.5`, `20`, `5,000`, `20 k`, `3 M`: short enough to stand beside each other. */
export function formatTick(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${trimmed(value / 1e9)} G`;
  if (size >= 1e6) return `${trimmed(value / 1e6)} M`;
  if (size >= 10_000) return `${trimmed(value / 1000)} k`;
  return size >= 1000 ? value.toLocaleString('en') : trimmed(value);
}

function trimmed(value: number): string {
  return String(Number(value.toPrecision(6)));
}
