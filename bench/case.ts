/** What a case of the benchmark is given and what it gives back, so that every case is run and shown the same way. */
export interface BenchContext {
  /** Repetitions of which the median counts. */
  runsCount: number;
  /** 1: the sizes of the record; smaller ones only try the code out. */
  scale: number;
  progress(text: string): void;
}

export interface BenchTable {
  caption: string;
  columns: readonly string[];
  rows: readonly (readonly string[])[];
}

export interface BenchPlot {
  /** The name of the file in `docs/plots`, as `window-sweep.svg`. */
  file: string;
  title: string;
  xLabel: string;
  yLabel: string;
  xScale: 'linear' | 'log';
  yScale: 'linear' | 'log';
  series: readonly { label: string; points: readonly (readonly [number, number])[] }[];
}

/** A target and what was measured against it. */
export interface BenchVerdict {
  target: string;
  measured: string;
  isMet: boolean;
}

export interface BenchResult {
  paragraphs: readonly string[];
  tables: readonly BenchTable[];
  plots: readonly BenchPlot[];
  verdicts: readonly BenchVerdict[];
  /** The figures as they were measured; they are kept in `docs/benchmarks.json`. */
  raw: unknown;
}

export interface BenchCase {
  /** The word that names the case on the command line, as `qos1`. */
  name: string;
  title: string;
  run(context: BenchContext): Promise<BenchResult>;
}
