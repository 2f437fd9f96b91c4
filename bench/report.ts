/** `docs/benchmarks.md`: what was measured last of every case, as a reader wants it. */
import type { BenchResult, BenchTable, BenchVerdict } from './case.js';

/** The last run of a case, as it is kept in `docs/benchmarks.json`. */
export interface CaseRecord {
  name: string;
  title: string;
  /** The day, as 2026-01-15. */
  date: string;
  machine: string;
  runsCount: number;
  result: BenchResult;
}

/** By the name of the case. */
export type Records = Readonly<Record<string, CaseRecord>>;

/** @param order names of the cases in the order of the document; records of others are left out. */
export function renderReport(records: Records, order: readonly string[]): string {
  const present = order.flatMap((name) => records[name] ?? []);
  return `${[...introduction(), ...summary(present), ...present.flatMap(sectionOf)].join('\n').trimEnd()}\n`;
}

function introduction(): string[] {
  return [
    '# Benchmarks',
    '',
    'Made by `npm run bench`; `npm run bench -- qos1` measures one case anew, and leaves the figures of the others as they are. The raw figures are in [benchmarks.json](benchmarks.json).',
    '',
    '- **MQTT North Connector** is the service as users run it, in a process of its own: values come by HTTP, and every request is on stable storage before it is answered.',
    '- **The bare loop** is the limit: a socket that writes prepared packets from memory and counts acknowledgements, without storage, checks or re-sending.',
    '- **MQTT.js** publishes from memory, without storage, with so many publishes under way at once. One at a time is how many gateways use it.',
    '- **mosquitto_pub -l** publishes the lines of a file, and is measured from its start to its end, where it is installed. Of more than 65,535 lines it loses most at QoS 1 and 2, so that it gets fewer.',
    '- **Node-RED** is measured when it is installed, in any folder: `npm install node-red`, then `NODE_RED_DIR=that/folder npm run bench`. Its flow keeps the MQTT out node supplied from memory.',
    '',
    'The broker is a mosquitto on loopback and shares the machine with whoever is measured. The contenders of a case are interleaved (the first run of all, the second run of all, …), each run in a process of its own with payloads of about 100 bytes. A figure is the median of `BENCH_RUNS` runs, where a case does not say otherwise; the least and the most are in brackets. Machines are shared and noisy: what counts are the ratios within a case.',
    '',
  ];
}

function summary(records: readonly CaseRecord[]): string[] {
  const rows = records.flatMap(({ title, name, result }) =>
    result.verdicts.map((verdict) => [`[${title}](#${name})`, verdict.target, verdict.measured, wordOf(verdict)]),
  );
  if (rows.length === 0) return [];
  return ['## Targets', '', ...renderTable(['case', 'target', 'measured', ''], rows), ''];
}

/** The part of one case, as it is also shown when the case has run. */
export function renderSection(record: CaseRecord): string {
  return sectionOf(record).join('\n').trimEnd();
}

function sectionOf({ name, title, date, machine, runsCount, result }: CaseRecord): string[] {
  return [
    `<a id="${name}"></a>`,
    '',
    `## ${title}`,
    '',
    `\`BENCH_RUNS=${runsCount} npm run bench -- ${name}\`, ${date}, ${machine}.`,
    '',
    ...result.paragraphs.flatMap((text) => [text, '']),
    ...result.verdicts.map(
      ({ target, measured, isMet }) => `- ${target}: **${measured}**${isMet ? '' : ', **missed**'}`,
    ),
    ...(result.verdicts.length > 0 ? [''] : []),
    ...result.tables.flatMap(captionedTable),
    ...result.plots.flatMap(({ title: plotTitle, file }) => [`![${plotTitle}](plots/${file})`, '']),
  ];
}

function captionedTable({ caption, columns, rows }: BenchTable): string[] {
  return [caption, '', ...renderTable(columns, rows), ''];
}

/** A figure, with its unit and its least and most. */
const FIGURE = /^[\d.,–-]+( ?[%×]| \w{1,3})?( \([^)]*\))?$/;

/** Columns of figures are read best when they end at the same place. */
export function renderTable(columns: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const rules = columns.map((_none, index) => {
    const filled = rows.map((row) => row[index] ?? '').filter((cell) => cell !== '');
    return index > 0 && filled.length > 0 && filled.every((cell) => FIGURE.test(cell)) ? '--:' : '---';
  });
  return [
    line(columns),
    `|${rules.join('|')}|`,
    ...rows.map((row) => line(columns.map((_none, index) => row[index] ?? ''))),
  ];
}

function line(cells: readonly string[]): string {
  // An empty cell takes one space, and a bar in a text would end its cell.
  return `|${cells.map((cell) => ` ${cell.replaceAll('|', '\\|').replaceAll('\n', ' ')} `).join('|')}|`;
}

function wordOf({ isMet }: BenchVerdict): string {
  return isMet ? 'met' : '**missed**';
}
