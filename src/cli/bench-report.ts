/** The report of a measurement, for people. */
import type { Distribution } from '../measurement/distribution.js';
import type { LimitedThroughput, MeasurementReport } from '../measurement/measurement-report.js';
import { type Output, printable, wrap } from './terminal.js';

/** Where the figures begin. */
const NAME_WIDTH = 24;
const COLUMN_WIDTH = 14;

export function printMeasurement(to: Output, report: MeasurementReport): void {
  printPlace(to, report);
  printRoundTrip(to, report);
  printAcceptance(to, report);
  printThroughput(to, report);
  printLimits(to, report);
  for (const note of report.notes) printParagraph(to, to.style('yellow', '!'), 2, note);
  const end = report.isInterrupted ? 'Ended before its time' : 'Measured';
  to.writeLine(
    `${end} in ${report.elapsedSeconds} s, by mqtt-north ${report.version} with Node.js ${report.machine.node}.`,
  );
}

function printPlace(to: Output, { broker, grant, disk, machine }: MeasurementReport): void {
  const granted =
    grant === undefined
      ? 'has not accepted us'
      : grant.protocolVersion === 4
        ? 'MQTT 3.1.1, which announces no limits'
        : `MQTT 5, maximum QoS ${grant.maximumQos}, ${number(grant.receiveMaximum)} in flight (receive maximum)`;
  printRow(to, 'broker', `${broker}, ${granted}`);
  printRow(to, 'machine', `${machine.coresCount} × ${machine.model.trim()}`);
  if (disk === undefined) return;
  const { fileSystem, sync } = disk;
  const place = fileSystem.kind === 'unknown' ? fileSystem.type : `${fileSystem.type} on ${fileSystem.device}`;
  const [median, slow] = [micro(sync.fdatasyncUs), micro(sync.fdatasyncSlowUs)];
  printRow(to, 'disk', `${place}; a write with its sync takes ${median}, one in a hundred longer than ${slow}`);
}

function printRoundTrip(to: Output, { roundTrip }: MeasurementReport): void {
  const rows: [name: string, times: Distribution | undefined][] = [
    ['connect', roundTrip.connect],
    ['ping', roundTrip.ping],
    ['publish, QoS 1', roundTrip.publishQos1],
    ['publish, QoS 2', roundTrip.publishQos2],
  ];
  if (rows.every(([, times]) => times === undefined)) return;
  printHead(to, 'One at a time', ['median', '99 % within', 'per second', 'measured']);
  for (const [name, times] of rows) {
    if (times === undefined) continue;
    const perSecond = name.startsWith('publish') ? number(1000 / times.meanMs) : '';
    printColumns(to, name, [milli(times.medianMs), milli(times.p99Ms), perSecond, `${times.count} times`]);
  }
}

function printAcceptance(to: Output, { acceptance }: MeasurementReport): void {
  if (acceptance === undefined) return;
  const { perSecond, requestMessages, requestsAtOnce, single, load } = acceptance;
  printHead(to, 'Acceptance, each synced', ['median', '99 % within', 'per second', 'main thread']);
  if (single !== undefined) {
    const figures = [milli(single.medianMs), milli(single.p99Ms), number(1000 / single.meanMs), ''];
    printColumns(to, 'one message a request', figures);
  }
  if (perSecond !== undefined) {
    printColumns(to, `${number(requestMessages)} a request, ${requestsAtOnce} at once`, [
      '',
      '',
      number(perSecond),
      percent(load.mainThread),
    ]);
  }
}

function printThroughput(to: Output, { throughput }: MeasurementReport): void {
  if (throughput.length === 0) return;
  printHead(to, 'Stored and acknowledged', [
    'messages',
    'window',
    'acknowledged',
    'per second',
    'main thread',
    'machine',
  ]);
  for (const step of throughput) {
    const { qos, acknowledged, window, exchangeMs, perSecond, load } = step;
    printColumns(to, `QoS ${qos}`, [
      number(acknowledged),
      window === undefined ? 'none' : number(window),
      exchangeMs === undefined ? '' : `in ${milli(exchangeMs)}`,
      perSecond === undefined ? 'unknown' : number(perSecond),
      percent(load.mainThread),
      load.machine === undefined ? '' : percent(load.machine),
    ]);
  }
}

function printLimits(to: Output, { throughput }: MeasurementReport): void {
  if (throughput.length === 0) return;
  to.writeLine();
  to.writeLine(to.style('bold', 'What limits'));
  const told = new Set<string>();
  for (const step of throughput) {
    if (step.limit !== undefined) {
      const { text, remedy } = step.limit;
      printParagraph(to, to.style('bold', `QoS ${step.qos}`), 5, `${text}.`);
      if (remedy !== undefined) printParagraph(to, `      ${to.style('green', '→')}`, 7, remedy);
    }
    for (const warning of step.warnings) {
      // A warning about the connection is the same at each QoS.
      if (!told.has(warning)) printParagraph(to, `      ${to.style('yellow', '!')}`, 7, warning);
      told.add(warning);
    }
    for (const note of notesOf(step)) printParagraph(to, `      ${to.style('yellow', '!')}`, 7, note);
  }
  to.writeLine();
}

function notesOf(step: LimitedThroughput): string[] {
  const { accepted, acknowledged, isConfirmed, losses, qos } = step;
  const notes: string[] = [];
  const left = accepted - acknowledged;
  if (left > 0)
    notes.push(`${number(left)} of ${number(accepted)} messages were not sent and acknowledged when it ended.`);
  if (losses > 0) notes.push(`The connection was lost ${losses === 1 ? 'once' : `${losses} times`}.`);
  if (!isConfirmed) notes.push('This broker grants QoS 0 only: what the socket took is counted.');
  else if (qos === 0 && losses > 0) notes.push('What was on the way then may be missing, and is counted all the same.');
  return notes;
}

function printHead(to: Output, name: string, columns: readonly string[]): void {
  to.writeLine();
  printColumns(
    to,
    to.style('bold', name),
    columns.map((column) => to.style('dim', column.padStart(COLUMN_WIDTH))),
    name.length,
  );
}

function printColumns(to: Output, name: string, columns: readonly string[], nameLength = name.length): void {
  const padding = ' '.repeat(Math.max(1, NAME_WIDTH + 4 - nameLength));
  to.writeLine(`${name}${padding}${columns.map((column) => column.padStart(COLUMN_WIDTH)).join('')}`.trimEnd());
}

function printRow(to: Output, name: string, text: string): void {
  printParagraph(to, to.style('dim', name.padEnd(9)), 9, text);
}

/** @param width what the mark takes on the terminal. */
function printParagraph(to: Output, mark: string, width: number, text: string): void {
  for (const [index, line] of wrap(printable(text)).entries()) {
    to.writeLine(index === 0 ? `${mark} ${line}` : `${' '.repeat(width + 1)}${line}`);
  }
}

function number(value: number): string;
function number(value: number | undefined): string;
function number(value: number | undefined): string {
  return value === undefined ? 'unknown' : Math.round(value).toLocaleString('en');
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`;
}

function milli(ms: number): string {
  return ms < 10 ? `${ms.toFixed(2)} ms` : `${ms.toFixed(ms < 100 ? 1 : 0)} ms`;
}

function micro(us: number): string {
  return milli(us / 1000);
}
