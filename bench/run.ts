/**
 * `npm run bench -- [case …]`: runs the cases named, or all but those that take an hour.
 *
 * `BENCH_RUNS` (5) is how often each contender runs. `BENCH_SCALE` (1) makes everything smaller, to try the code: then
 * the figures mean nothing, and the document is written to `build/bench-trial` instead of `docs`.
 */
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { ROOT_FOLDER } from '../test/kit/process.js';
import { ALL_CASES, casesNamed } from './all-cases.js';
import { brokerVersion } from './broker.js';
import type { BenchCase, BenchContext } from './case.js';
import { writeRecord } from './record.js';
import { type CaseRecord, renderSection } from './report.js';

const RUNS_COUNT = 5;
const ORDER = ALL_CASES.map(({ name }) => name);

process.exit(await main(process.argv.slice(2)));

/** Gives the exit code: 1 when a case has failed, 2 when the command was wrong. */
async function main(names: readonly string[]): Promise<number> {
  let cases: readonly BenchCase[];
  let runsCount: number;
  let scale: number;
  try {
    cases = casesNamed(names);
    runsCount = numberOf('BENCH_RUNS', RUNS_COUNT, Number.isInteger);
    scale = numberOf('BENCH_SCALE', 1, (value) => value <= 1);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
  const folder = scale === 1 ? join(ROOT_FOLDER, 'docs') : join(ROOT_FOLDER, 'build', 'bench-trial');
  let exitCode = 0;
  for (const benchCase of cases) {
    try {
      const record = await runCase(benchCase, runsCount, scale);
      writeRecord(folder, record, ORDER);
      process.stdout.write(`${renderSection(record)}\n`);
      process.stderr.write(`${benchCase.name}: written to ${folder}.\n`);
    } catch (error) {
      // The others are measured all the same; what is on record of this one stays.
      exitCode = 1;
      process.stderr.write(`${benchCase.name} failed: ${error instanceof Error ? error.stack : String(error)}\n`);
    }
  }
  return exitCode;
}

async function runCase(benchCase: BenchCase, runsCount: number, scale: number): Promise<CaseRecord> {
  const { name, title } = benchCase;
  const startMs = performance.now();
  const context: BenchContext = {
    runsCount,
    scale,
    progress: (text) => {
      const seconds = Math.round((performance.now() - startMs) / 1000);
      process.stderr.write(`${name}, ${seconds} s: ${text}\n`);
    },
  };
  const result = await benchCase.run(context);
  return { name, title, date: new Date().toISOString().slice(0, 10), machine: machine(), runsCount, result };
}

function machine(): string {
  const processors = cpus();
  const memory = `${Math.round(totalmem() / 1024 ** 3)} GiB`;
  return `${processors.length} × ${processors[0]?.model ?? 'unknown'}, ${memory}, Node.js ${process.version}, ${brokerVersion()}`;
}

function numberOf(variable: string, fallback: number, isAllowed: (value: number) => boolean): number {
  const text = process.env[variable];
  if (text === undefined) return fallback;
  const value = Number(text);
  if (value > 0 && isAllowed(value)) return value;
  throw new RangeError(
    `${variable} is ${text}: BENCH_RUNS is a whole number from 1 on, BENCH_SCALE is above 0 and at most 1.`,
  );
}
