/** The times to acknowledgement as a status shows them. */
import { LATENCY_BUCKETS_MS, type LatencyHistogram as Latencies } from '../session/latency.js';
import type { LatencyHistogram } from './connector.js';

export function histogramOf({ counts, sumMs, count }: Latencies): LatencyHistogram {
  return {
    bucketsSeconds: LATENCY_BUCKETS_MS.map((ms) => ms / 1000),
    counts: counts.slice(0, LATENCY_BUCKETS_MS.length),
    sumSeconds: sumMs / 1000,
    count,
  };
}

/** One histogram of several with the same buckets. */
export function sumOfHistograms(histograms: readonly LatencyHistogram[]): LatencyHistogram | undefined {
  const [first, ...others] = histograms;
  if (first === undefined) return undefined;
  return others.reduce(
    (sum, { counts, sumSeconds, count }) => ({
      bucketsSeconds: sum.bucketsSeconds,
      counts: sum.counts.map((one, index) => one + (counts[index] ?? 0)),
      sumSeconds: sum.sumSeconds + sumSeconds,
      count: sum.count + count,
    }),
    first,
  );
}
