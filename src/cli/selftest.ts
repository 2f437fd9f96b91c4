/** `mqtt-north selftest`: does this machine keep the promises? Its report is read by who is responsible for the plant. */
import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { openConfig } from '../config/loading.js';
import { NorthError } from '../core/error.js';
import { topicProblem } from '../core/topic.js';
import type { Check, Verdict } from '../selftest/check.js';
import { runSelftest, type SelftestReport } from '../selftest/selftest.js';
import { addConfigOption, CONFIG_FILE } from './config-file.js';
import {
  addConnectionOptions,
  assertNoConnectionOptions,
  type ConnectionOptions,
  checkConnector,
  connectionSettings,
} from './connection-options.js';
import { existingFolder } from './existing-folder.js';
import { EXIT_FAILED } from './failure.js';
import { Progress } from './progress.js';
import { notes, type Output, output, printable, wrap, writeJson } from './terminal.js';

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

async function selftest(options: SelftestCommandOptions, command: Command): Promise<void> {
  const problem = topicProblem(options.topic);
  if (problem !== undefined) {
    throw new NorthError('COMMAND_INVALID', problem, { place: '--topic', remedy: 'Give a topic such as a/test.' });
  }
  if (options.url === undefined) {
    assertNoConnectionOptions(
      command,
      'Name the broker with --url, or leave them out: one inside the process is used.',
    );
  }
  const place = placeOf(options);
  const connection = options.url === undefined ? undefined : connectionSettings(options.url, options);
  if (connection !== undefined) checkConnector({ id: 'selftest', settings: { ...connection, qos: 2 } });
  const stopped = new AbortController();
  // Heard to the end: a second one must not kill it while it clears away what it has made.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopped.abort());
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
    progress: ({ kills, receipts, arrived }) => {
      // After SIGHUP there is no terminal any more.
      if (stopped.signal.aborted) return;
      progress.show(receipts, `, ${arrived.toLocaleString('en')} arrived, kill ${kills} of ${options.kills}`);
    },
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

const STYLES = { PASS: 'green', WARN: 'yellow', FAIL: 'red' } as const satisfies Record<Verdict, string>;
/** Where the texts begin, after verdict and name. */
const INDENT = 19;

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
