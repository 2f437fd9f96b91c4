/**
 * `mqtt-north publish`: publishes through the same cache and session as the service. What was accepted before a kill is
 * sent by the next run, and the next run of the same command on the same input goes on where the last one was cut.
 */

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { type DataDirectory, openDataDirectory } from '../cache/data-directory.js';
import { parseBrokerUrl } from '../config/broker-url.js';
import type { ConnectorConfig } from '../config/connector.js';
import { parseDuration } from '../config/units.js';
import type { ConnectorStatus } from '../connector/connector.js';
import type { LiveConnector } from '../connector/live-connector.js';
import { openLiveConnector } from '../connector/open-connector.js';
import { errorText, NorthError } from '../core/error.js';
import { topicProblem } from '../core/topic.js';
import { readLines } from '../inputs/lines.js';
import {
  addConnectionOptions,
  type ConnectionOptions,
  checkConnector,
  connectionSettings,
} from './connection-options.js';
import { EXIT_FAILED } from './failure.js';
import { LinePublisher } from './line-publisher.js';
import { Progress } from './progress.js';
import { notes, printable, writeJson } from './terminal.js';

const STATUS_PERIOD_MS = 50;
const STOP_TIMEOUT_MS = 5000;
/** So many runs to the same broker can be under way at once, each with a folder of its own. */
const FOLDERS_MAX = 64;

interface PublishOptions extends ConnectionOptions {
  url: string;
  topic: string;
  message?: string;
  file?: string;
  lines?: boolean;
  nullMessage?: boolean;
  qos: 0 | 1 | 2;
  retain?: boolean;
  id?: string;
  dataDir?: string;
  fresh?: boolean;
  wait?: number;
  json?: boolean;
}

export function registerPublish(program: Command): void {
  const command = program
    .command('publish')
    .description('publish once, a file, or line by line from standard input, safely through outages and kills')
    .requiredOption('--url <url>', 'the broker, such as mqtts://broker.example.com:8883')
    .requiredOption('-t, --topic <topic>', 'the topic')
    .option('-m, --message <text>', 'publish this text')
    .option('-f, --file <file>', 'publish the content of this file as one message')
    .option('-l, --lines', 'publish each line of standard input as a message')
    .option('-n, --null-message', 'publish an empty message')
    .option('-q, --qos <qos>', '0, 1 or 2', qosOf, 1)
    .option('-r, --retain', 'ask the broker to keep the message')
    .option('-i, --id <clientId>', 'client id (default: made once and kept)');
  addConnectionOptions(command)
    .option('--data-dir <folder>', 'where messages wait (default: one per broker below the state folder of the user)')
    .option('--fresh', 'do not go on with an interrupted run of the same command: publish the input from its start')
    .option(
      '--wait <time>',
      'give up waiting for the broker after this time, such as 30 s; what is left stays stored',
      timeOf,
    )
    .option('--json', 'print the result as JSON')
    .action(publish);
}

async function publish(options: PublishOptions): Promise<void> {
  checkInput(options);
  const config = configOf(options);
  const directory = openFolder(options);
  let connector: LiveConnector | undefined;
  try {
    connector = await openLiveConnector(config, { folder: directory.connectorFolder(config.id) });
    await publishThrough(connector, options);
  } finally {
    await connector?.close(STOP_TIMEOUT_MS);
    directory.close();
  }
}

async function publishThrough(connector: LiveConnector, options: PublishOptions): Promise<void> {
  const waitingBefore = waitingOf(await connector.status());
  if (waitingBefore > 0) notes.writeLine(`${waitingBefore} messages of an earlier run are sent, too.`);
  const stopped = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.abort());
  const reported = reportTrouble(connector);
  connector.start();

  const progress = new Progress('acknowledged');
  const deadlineMs = options.wait === undefined ? Number.POSITIVE_INFINITY : performance.now() + options.wait;
  const { topic, fresh } = options;
  const publisher = new LinePublisher(connector, { topic, fresh: fresh === true, signal: stopped.signal });
  const accepting = publisher.run(openInput(options));
  let isAccepting = true;
  accepting.then(
    () => {
      isAccepting = false;
    },
    () => {
      isAccepting = false;
    },
  );
  let status = await connector.status();
  while (isAccepting || waitingOf(status) > 0) {
    if (stopped.signal.aborted || (!isAccepting && performance.now() > deadlineMs)) break;
    await new Promise((resolve) => setTimeout(resolve, STATUS_PERIOD_MS));
    status = await connector.status();
    progress.show(publishedOf(status), `, ${waitingOf(status)} wait, ${status.description}`);
  }
  const accepted = await accepting;
  if (waitingOf(status) === 0 && !stopped.signal.aborted) await publisher.finish();
  await connector.stop(STOP_TIMEOUT_MS);
  status = await connector.status();
  reported.end();
  const waiting = waitingOf(status);
  const quarantined = Object.values(status.counts).reduce((sum, lane) => sum + lane.quarantined, 0);
  const result = {
    accepted: accepted.count,
    skipped: accepted.skippedCount,
    acknowledged: publishedOf(status),
    waiting,
    quarantined,
  };
  if (waiting > 0 || quarantined > 0 || stopped.signal.aborted) process.exitCode = EXIT_FAILED;
  if (options.json === true) writeJson(result);
  else progress.end(describeResult(result, options));
}

function describeResult(
  result: { acknowledged: number; skipped: number; waiting: number; quarantined: number },
  options: PublishOptions,
): string {
  const parts = [options.qos === 0 ? `${result.acknowledged} sent` : `${result.acknowledged} acknowledged`];
  if (result.skipped > 0) parts.push(`${result.skipped} had been taken by the interrupted run before`);
  if (result.waiting > 0) parts.push(`${result.waiting} are stored and sent by the next run of this command`);
  if (result.quarantined > 0) parts.push(`${result.quarantined} refused by the broker, see above`);
  return `${parts.join('; ')}.`;
}

/** Tells each new trouble once: a broker that is away for hours must not fill the terminal. */
function reportTrouble(connector: LiveConnector): { end(): void } {
  let last = '';
  const tell = (text: string): void => {
    if (text === last) return;
    last = text;
    notes.writeLine(printable(text));
  };
  const ends = [
    connector.on('failure', ({ error }) => tell(`${error.code}: ${error.message} ${error.remedy} Trying on.`)),
    connector.on('warning', ({ code, message }) => tell(`${code}: ${message}`)),
    connector.on('quarantined', ({ code, reason }) => tell(`${code}: ${reason}`)),
  ];
  return {
    end: () => {
      for (const end of ends) end();
    },
  };
}

/** The input as chunks of lines; a text or a file is one line, whatever is in it. */
function openInput(options: PublishOptions): AsyncIterable<readonly Buffer[]> {
  if (options.lines === true) return readLines(process.stdin);
  return single(options.file === undefined ? Buffer.from(options.message ?? '') : readPayload(options.file));
}

async function* single(payload: Buffer): AsyncIterable<readonly Buffer[]> {
  yield [payload];
}

function readPayload(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const text = `The file cannot be read: ${errorText(error)}.`;
    throw new NorthError('COMMAND_INVALID', text, {
      place: file,
      remedy: 'Check the path and the rights of the file.',
    });
  }
}

function checkInput(options: PublishOptions): void {
  const sources = [options.message, options.file, options.lines, options.nullMessage].filter(
    (one) => one !== undefined,
  );
  if (sources.length !== 1) {
    const remedy = 'For a text: -m "hello". For each line of standard input: -l.';
    throw new NorthError('COMMAND_INVALID', 'Give exactly one of -m, -f, -l and -n.', { remedy });
  }
  const problem = topicProblem(options.topic);
  if (problem !== undefined)
    throw new NorthError('COMMAND_INVALID', problem, { place: '--topic', remedy: 'Give a topic to publish to.' });
}

function configOf(options: PublishOptions): ConnectorConfig {
  return checkConnector({
    id: 'publish',
    settings: {
      ...connectionSettings(options.url, options),
      qos: options.qos,
      retain: options.retain === true,
      reconnectPeriod: 1000,
      ...(options.id === undefined ? {} : { clientId: options.id }),
    },
  });
}

/**
 * The first folder that no other run holds. Runs at the same time get folders of their own; a run after a kill gets the
 * one that the killed run had, because lower numbers come first.
 */
function openFolder(options: PublishOptions): DataDirectory {
  if (options.dataDir !== undefined) return openDataDirectory(options.dataDir);
  const state = process.env.XDG_STATE_HOME;
  const base = state === undefined || state === '' ? join(homedir(), '.local', 'state') : state;
  const key = [parseBrokerUrl(options.url).display, options.username ?? '', options.id ?? ''].join('\n');
  const name = createHash('sha256').update(key).digest('hex').slice(0, 16);
  for (let number = 1; ; number++) {
    const folder = join(base, 'mqtt-north', 'publish', number === 1 ? name : `${name}-${number}`);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    try {
      return openDataDirectory(folder);
    } catch (error) {
      const isLocked = error instanceof NorthError && error.code === 'CACHE_LOCKED';
      if (!isLocked || number >= FOLDERS_MAX) throw error;
    }
  }
}

function waitingOf(status: ConnectorStatus): number {
  const { command, alert, telemetry } = status.cache.waitingCounts;
  return command + alert + telemetry;
}

function publishedOf(status: ConnectorStatus): number {
  return Object.values(status.counts).reduce((sum, lane) => sum + lane.published, 0);
}

function qosOf(text: string): 0 | 1 | 2 {
  if (text === '0' || text === '1' || text === '2') return Number(text) as 0 | 1 | 2;
  throw new InvalidArgumentError('It must be 0, 1 or 2.');
}

function timeOf(text: string): number {
  const timeMs = parseDuration(text);
  if (timeMs === undefined) throw new InvalidArgumentError('It must be a time such as 30 s or 5 min.');
  return timeMs;
}
