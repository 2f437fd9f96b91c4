/** What is said about repeated measurements: the middle one, and how far apart they lie. */

/** The middle value; of an even number of values, the mean of the two in the middle. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = ascending(values);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return Number.NaN;
  if (sorted.length % 2 === 1) return sorted[Math.floor(middle)]!;
  return (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * The smallest of the values that at least this share of them (0 to 1) does not exceed. It is always a value that was
 * measured: 0.99 of 50 latencies is the greatest, not something between the two greatest. NaN of none.
 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = ascending(values);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

export interface Spread {
  median: number;
  least: number;
  most: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = ascending(values);
  return { median: median(sorted), least: sorted[0] ?? Number.NaN, most: sorted.at(-1) ?? Number.NaN };
}

/** A whole number with thousands set apart: `12,345`. What could not be measured is a dash. */
export function formatCount(value: number): string {
  return Number.isFinite(value) ? Math.round(value).toLocaleString('en') : '–';
}

/** Three significant digits below 100: `0.123`, `4.56`, `78.9`; whole numbers above. */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return Math.abs(value) >= 100 ? formatCount(value) : String(Number(value.toPrecision(3)));
}

/** `58,591 (58,583 to 59,167)`: the median, and the least and the most. */
export function formatSpread(values: readonly number[], format: (value: number) => string = formatCount): string {
  const { median: middle, least, most } = spreadOf(values);
  return values.length < 2 ? format(middle) : `${format(middle)} (${format(least)} to ${format(most)})`;
}

/** A share as per cent: 0.874 is `87 %`. */
export function formatShare(share: number): string {
  return Number.isFinite(share) ? `${Math.round(share * 100)} %` : '–';
}

function ascending(values: readonly number[]): number[] {
  return [...values].sort((one, other) => one - other);
}
