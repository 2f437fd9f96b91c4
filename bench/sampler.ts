/** Looks at a running service now and then: memory and disk over time. */
import type { BenchService } from './service.js';

export interface Sample {
  /** Since the sampler was started. */
  atMs: number;
  residentBytes: number;
  diskBytes: number;
}

export interface SampledFigures {
  samples: readonly Sample[];
  /** What the kernel says was the most; it misses no peak between two samples. */
  peakBytes: number;
  diskMostBytes: number;
}

/** Samples the process that runs when it is made; made anew for another. */
export class Sampler {
  readonly #service: BenchService;
  readonly #samples: Sample[] = [];
  readonly #startMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  #peakBytes = 0;
  #diskMostBytes = 0;

  constructor(service: BenchService, everyMs: number) {
    this.#service = service;
    this.#take();
    this.#timer = setInterval(() => this.#take(), everyMs);
  }

  get latest(): Sample {
    return this.#samples.at(-1)!;
  }

  /** Takes a last sample. The service must still run. */
  stop(): SampledFigures {
    this.#take();
    this.cancel();
    return { samples: this.#samples, peakBytes: this.#peakBytes, diskMostBytes: this.#diskMostBytes };
  }

  /** Ends without a last sample, when the service has failed. */
  cancel(): void {
    clearInterval(this.#timer);
  }

  #take(): void {
    try {
      const { residentBytes, peakBytes } = this.#service.memory();
      const diskBytes = this.#service.diskBytes();
      this.#samples.push({ atMs: Math.round(performance.now() - this.#startMs), residentBytes, diskBytes });
      this.#peakBytes = Math.max(this.#peakBytes, peakBytes);
      this.#diskMostBytes = Math.max(this.#diskMostBytes, diskBytes);
    } catch {
      // The process has ended under it. Whoever waits for the service learns that, with its output.
      this.cancel();
    }
  }
}

/** At most so many of the points, evenly chosen, with the last one: a plot needs no more, and a document less. */
export function thinOut<T>(points: readonly T[], mostCount: number): T[] {
  if (points.length <= mostCount) return [...points];
  const step = (points.length - 1) / (mostCount - 1);
  return Array.from({ length: mostCount }, (_unused, index) => points[Math.round(index * step)]!);
}

/** Figures for a document need no more digits than are read. */
export function roundTo(value: number, decimals: number): number {
  return Number(value.toFixed(decimals));
}
