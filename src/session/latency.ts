/** How long acknowledgements take, counted into fixed buckets; upper bounds in milliseconds, the last one is open. */
export const LATENCY_BUCKETS_MS: readonly number[] = [
  0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000,
];

export class LatencyHistogram {
  /** One more than there are bounds. Not cumulative. */
  readonly counts: number[] = new Array<number>(LATENCY_BUCKETS_MS.length + 1).fill(0);
  sumMs = 0;
  count = 0;

  observe(tookMs: number): void {
    let bucket = 0;
    while (bucket < LATENCY_BUCKETS_MS.length && tookMs > LATENCY_BUCKETS_MS[bucket]!) bucket++;
    this.counts[bucket]!++;
    this.sumMs += tookMs;
    this.count++;
  }
}
