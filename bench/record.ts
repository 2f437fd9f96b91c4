/** The record of the benchmark in a folder: `benchmarks.json`, and what is rendered from it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderPlot } from './plot.js';
import { type CaseRecord, type Records, renderReport } from './report.js';

const PLOTS = 'plots';

/**
 * Replaces the part of this case and renders the document and all plots anew, so that they always show the last figures
 * of every case. Plots that no case has any more are removed.
 *
 * @param order names of all cases in the order of the document; parts of others are dropped.
 */
export function writeRecord(folder: string, record: CaseRecord, order: readonly string[]): void {
  const before = readRecords(folder);
  const records: Record<string, CaseRecord> = {};
  for (const name of order) {
    const kept = name === record.name ? record : before[name];
    if (kept !== undefined) records[name] = kept;
  }
  const plotsFolder = join(folder, PLOTS);
  mkdirSync(plotsFolder, { recursive: true });
  writeFileSync(join(folder, 'benchmarks.json'), `${JSON.stringify({ cases: records }, null, 2)}\n`);
  writeFileSync(join(folder, 'benchmarks.md'), renderReport(records, order));
  const plots = Object.values(records).flatMap(({ result }) => result.plots);
  for (const plot of plots) writeFileSync(join(plotsFolder, plot.file), renderPlot(plot));
  for (const file of readdirSync(plotsFolder)) {
    if (file.endsWith('.svg') && !plots.some((plot) => plot.file === file)) rmSync(join(plotsFolder, file));
  }
}

/** What is on record; nothing where there is no record of this form. */
function readRecords(folder: string): Records {
  const file = join(folder, 'benchmarks.json');
  if (!existsSync(file)) return {};
  // Only `writeRecord` writes it.
  return (JSON.parse(readFileSync(file, 'utf8')) as { cases?: Records }).cases ?? {};
}
