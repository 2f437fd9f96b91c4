/** `mqtt-north selftest`: does this machine keep the promises? Its report is read by who is responsible for the plant. */
import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { openConfig } from '../config/loading.js';
import { errorText, NorthError } from '../core/error.js';
import { topicProblem } from '../core/topic.js';
import type { Check, Verdict } from '../selftest/check.js';
import { runSelftest, type SelftestReport } from '../selftest/selftest.js';
import { addConfigOption, CONFIG_FILE } from './config-file.js';
import {
  addConnectionOptions,
  type ConnectionOptions,
  checkConnector,
  connectionSettings,
} from './connection-options.js';
import { EXIT_FAILED } from './failure.js';
import { Progress } from './progress.js';
import { notes, type Output, output, printable, writeJson } from './terminal.js';

const KILLS_DEFAULT = 20;
const KILLS_MAX = 10_000;

interface SelftestCommandOptions extends ConnectionOptions {
  dir?: string;
  config?: string;
  url?: string;
  topic: string;
  kills: number;
  json?: boolean;
}

export function registerSelftest(program: Command): void {
  const command = program
    .command('selftest')
    .description(
      'kill a process of its own while it stores and publishes, many times, and tell whether this disk and machine keep every promise',
    )
    .option(
      '--dir <folder>',
      'a folder on the disk in question (default: beside the data directory, or the current one)',
    )
    .option('--kills <number>', 'how often it is killed', killsOf, KILLS_DEFAULT)
    .option('--url <url>', 'publish to this broker (default: one inside the process)')
    .option('-t, --topic <topic>', 'topics of the test lie below this one', 'mqtt-north-selftest');
  addConnectionOptions(addConfigOption(command)).option('--json', 'print the report as JSON').action(selftest);
}

async function selftest(options: SelftestCommandOptions): Promise<void> {
  const problem = topicProblem(options.topic);
  if (problem !== undefined) {
    throw new NorthError('COMMAND_INVALID', problem, { place: '--topic', remedy: 'Give a topic such as a/test.' });
  }
  const place = placeOf(options);
  const connection = options.url === undefined ? undefined : connectionSettings(options.url, options);
  if (connection !== undefined) checkConnector({ id: 'selftest', settings: { ...connection, qos: 2 } });
  const stopped = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.abort());
  notes.writeLine(
    `Testing in ${printable(place.folder)}; a process is killed ${options.kills === 1 ? 'once' : `${options.kills} times`}.`,
  );
  const progress = new Progress('receipts');
  const report = await runSelftest({
    ...place,
    kills: options.kills,
    connection,
    topic: options.topic,
    signal: stopped.signal,
    progress: ({ kills, receipts, arrived }) =>
      progress.show(receipts, `, ${arrived.toLocaleString('en')} arrived, kill ${kills} of ${options.kills}`),
  });
  progress.end('');
  if (report.verdict === 'FAIL') process.exitCode = EXIT_FAILED;
  if (options.json === true) writeJson(report);
  else printReport(output, report);
}

/**
 * The folder for the test, on the disk of the data: beside the data directory or, where a disk of its own is mounted
 * there, inside it.
 */
function placeOf(options: SelftestCommandOptions): { folder: string; plannedBytes: number | undefined } {
  if (options.dir !== undefined) return { folder: existingFolder(options.dir), plannedBytes: undefined };
  if (options.config === undefined && !existsSync(CONFIG_FILE))
    return { folder: resolve('.'), plannedBytes: undefined };
  const { config } = openConfig(options.config ?? CONFIG_FILE);
  const dataDir = resolve(config.dataDir);
  const plannedBytes = config.connectors.reduce((sum, { caching }) => sum + caching.maxSize, 0);
  const parent = existingFolder(nearestFolder(dirname(dataDir)));
  const own = statSync(dataDir, { throwIfNoEntry: false });
  const isOnOwnDisk = own?.isDirectory() === true && own.dev !== statSync(parent).dev;
  return { folder: isOnOwnDisk ? dataDir : parent, plannedBytes };
}

/** The data directory and those above it are made at the first start only. */
function nearestFolder(folder: string): string {
  return existsSync(folder) || folder === dirname(folder) ? folder : nearestFolder(dirname(folder));
}

function existingFolder(folder: string): string {
  const remedy = 'Give an existing folder on the disk in question.';
  let isFolder: boolean | undefined;
  try {
    isFolder = statSync(folder, { throwIfNoEntry: false })?.isDirectory();
  } catch (error) {
    throw new NorthError('COMMAND_INVALID', `The folder cannot be read: ${errorText(error)}.`, {
      place: folder,
      remedy,
    });
  }
  if (isFolder === true) return resolve(folder);
  const text = isFolder === undefined ? 'There is no such folder.' : 'This is no folder.';
  throw new NorthError('COMMAND_INVALID', text, { place: folder, remedy });
}

const STYLES = { PASS: 'green', WARN: 'yellow', FAIL: 'red' } as const satisfies Record<Verdict, string>;
/** Where the texts begin, after verdict and name. */
const INDENT = 19;
const TEXT_WIDTH = 100;

function printReport(to: Output, report: SelftestReport): void {
  for (const check of report.checks) printCheck(to, check);
  to.writeLine();
  const title = to.style(['bold', STYLES[report.verdict]], `Verdict: ${report.verdict}.`);
  to.writeLine(`${title} ${verdictText(report)}`);
  if (report.evidence !== undefined) {
    to.writeLine(`The evidence is kept in ${printable(report.evidence)}: the cache, record.log and report.json.`);
  }
}

function printCheck(to: Output, { name, verdict, found, meaning, remedy }: Check): void {
  const indent = ' '.repeat(INDENT);
  const [first = '', ...rest] = wrap(printable(found));
  to.writeLine(`${to.style(['bold', STYLES[verdict]], verdict)}  ${name.padEnd(INDENT - 6)}${first}`);
  for (const line of rest) to.writeLine(indent + line);
  for (const line of wrap(meaning)) to.writeLine(indent + to.style('dim', line));
  for (const [index, line] of wrap(printable(remedy ?? '')).entries()) {
    to.writeLine(`${indent}${index === 0 ? to.style('green', '→') : ' '} ${line}`);
  }
}

/** Lines of whole words; none for an empty text. */
function wrap(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ').filter((part) => part !== '')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > TEXT_WIDTH) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

function verdictText({ verdict, checks, elapsedSeconds }: SelftestReport): string {
  const names = checks.filter((check) => check.verdict === verdict).map(({ name }) => name);
  const time = `${elapsedSeconds} s`;
  if (verdict === 'PASS') return `This machine kept every promise (${time}).`;
  if (verdict === 'WARN') return `Every promise was kept; read what is said of: ${names.join(', ')} (${time}).`;
  return `Not every promise was kept, or could be shown to be: ${names.join(', ')} (${time}).`;
}

function killsOf(text: string): number {
  const kills = Number(text);
  if (/^\d+$/.test(text) && kills >= 1 && kills <= KILLS_MAX) return kills;
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${KILLS_MAX}.`);
}
