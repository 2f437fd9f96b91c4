/** Many times of the same thing, in the figures that a technician wants to know. */
export interface Distribution {
  count: number;
  medianMs: number;
  /** One in a hundred takes longer; with fewer than a hundred it is the longest. */
  p99Ms: number;
  meanMs: number;
}

/** Undefined when there are no times. */
export function distributionOf(timesMs: readonly number[]): Distribution | undefined {
  if (timesMs.length === 0) return undefined;
  const sorted = [...timesMs].sort((one, other) => one - other);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)]!;
  const sumMs = sorted.reduce((sum, timeMs) => sum + timeMs, 0);
  return {
    count: sorted.length,
    medianMs: roundMs(at(0.5)),
    p99Ms: roundMs(at(0.99)),
    meanMs: roundMs(sumMs / sorted.length),
  };
}

/** To microseconds: what lies below is noise. */
export function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
