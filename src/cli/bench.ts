/** `mqtt-north bench`: how fast are this broker, the way to it, this disk and this machine, and which of them limits? */
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseBrokerUrl } from '../config/broker-url.js';
import { formatSize, parseDuration, parseSize } from '../config/units.js';
import { NorthError } from '../core/error.js';
import { topicProblem } from '../core/topic.js';
import { type MeasurementOptions, measure, messageSizeBytes, messagesInAll } from '../measurement/measurement.js';
import { printMeasurement } from './bench-report.js';
import {
  addConnectionOptions,
  type ConnectionOptions,
  checkConnector,
  connectionSettings,
} from './connection-options.js';
import { existingFolder } from './existing-folder.js';
import { EXIT_FAILED, printFailure } from './failure.js';
import { Progress } from './progress.js';
import { notes, output, printable, writeJson } from './terminal.js';

const MESSAGES_DEFAULT = 50_000;
const MESSAGES_MAX = 100_000_000;
const MESSAGES_LEAST = 100;
/** With larger payloads there are fewer messages, unless their number is given. */
const DEFAULT_SIZE_MAX_BYTES = 64 * 1024 * 1024;
const PAYLOAD_DEFAULT_BYTES = 100;
const PAYLOAD_MAX_BYTES = 8 * 1024 * 1024;
const TIME_DEFAULT_MS = 10_000;
const TIME_LEAST_MS = 100;
const TIME_MAX_MS = 3_600_000;
const RATE_MAX = 10_000_000;

interface BenchOptions extends ConnectionOptions {
  url: string;
  topic?: string;
  id?: string;
  qos: readonly (0 | 1 | 2)[];
  messages?: number;
  seconds: number;
  payload: number;
  rate?: number;
  dir?: string;
  json?: boolean;
}

export function registerBench(program: Command): void {
  const command = program
    .command('bench')
    .description(
      'measure this broker, the way to it, this disk and this machine, politely, and tell which of them limits',
    )
    .requiredOption('--url <url>', 'the broker, such as mqtts://broker.example.com:8883')
    .option('-t, --topic <topic>', 'publish to this topic (default: mqtt-north/bench/ and a random name)')
    .option('-i, --id <clientId>', 'client id (default: a random one)')
    .addOption(
      new Option('-q, --qos <levels>', '0, 1 or 2, or several as 1,2').argParser(levelsOf).default([0, 1, 2], 'all'),
    )
    .option(
      '--messages <number>',
      `at most so many at each QoS (default: ${MESSAGES_DEFAULT}, fewer large ones)`,
      countOf,
    )
    .addOption(
      new Option('--seconds <number>', 'at most so long at each QoS').argParser(timeOf).default(TIME_DEFAULT_MS, '10'),
    )
    .addOption(
      new Option('--payload <size>', 'bytes of each message, such as 100 or 4 KiB')
        .argParser(payloadOf)
        .default(PAYLOAD_DEFAULT_BYTES),
    )
    .option('--rate <number>', 'at most so many messages a second', rateOf)
    .option('--dir <folder>', 'a folder on the disk to be measured (default: that for temporary files)');
  addConnectionOptions(command).option('--json', 'print the figures as JSON').action(bench);
}

async function bench(options: BenchOptions): Promise<void> {
  const topic = options.topic ?? `mqtt-north/bench/${randomBytes(4).toString('hex')}`;
  const problem = topicProblem(topic);
  if (problem !== undefined) {
    throw new NorthError('COMMAND_INVALID', problem, { place: '--topic', remedy: 'Give a topic such as a/test.' });
  }
  const connection = connectionSettings(options.url, options);
  checkConnector({
    id: 'bench',
    settings: { ...connection, ...(options.id === undefined ? {} : { clientId: options.id }) },
  });
  const stopped = new AbortController();
  const progress = new Progress('acknowledged');
  const measurement: MeasurementOptions = {
    connection,
    topic,
    clientId: options.id,
    qosLevels: options.qos,
    messages: options.messages ?? defaultMessages(topic, options.payload),
    timeMaxMs: options.seconds,
    payloadBytes: options.payload,
    rate: options.rate,
    folder: options.dir === undefined ? tmpdir() : existingFolder(options.dir),
    signal: stopped.signal,
    progress: (what, count) => progress.show(count, `, ${what}`),
  };
  announce(measurement);
  // Heard to the end: a second one must not kill it while it clears away what it has made.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopped.abort());
  const report = await measure(measurement);
  progress.end('');
  if (report.isInterrupted || report.failure !== undefined) process.exitCode = EXIT_FAILED;
  if (options.json === true) {
    writeJson(report);
    return;
  }
  printMeasurement(output, report);
  if (report.failure !== undefined) printFailure(report.failure, { json: false });
}

/** What will happen, before it does. */
function announce(plan: MeasurementOptions): void {
  const { connection, topic, qosLevels, messages, timeMaxMs, payloadBytes, rate, folder } = plan;
  const inAll = messagesInAll(plan);
  const sizeBytes = inAll * messageSizeBytes(plan);
  const levels = `QoS ${list(qosLevels.map(String))}`;
  const limit = rate === undefined ? '' : `, at most ${number(rate)} a second`;
  notes.writeLine(
    [
      `Measuring ${parseBrokerUrl(connection.url).display}, on the topic ${printable(topic)}.`,
      `  At ${levels}: at most ${number(messages)} messages of ${formatSize(payloadBytes)} and ${timeMaxMs / 1000} s each${limit};`,
      `  in all at most ${number(inAll)} messages, some ${formatSize(sizeBytes)}. None of them is retained.`,
      '  It begins with a few under way and takes more only while acknowledgements keep up.',
      `  They wait in a folder below ${printable(folder)}, which is removed at the end.`,
      '  Ctrl+C ends it and tells the figures so far.',
    ].join('\n'),
  );
}

function defaultMessages(topic: string, payloadBytes: number): number {
  const fitting = Math.floor(DEFAULT_SIZE_MAX_BYTES / messageSizeBytes({ topic, payloadBytes }));
  return Math.max(MESSAGES_LEAST, Math.min(MESSAGES_DEFAULT, fitting));
}

function list(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

function number(value: number): string {
  return value.toLocaleString('en');
}

function levelsOf(text: string): (0 | 1 | 2)[] {
  const words = text.split(',').map((word) => word.trim());
  const levels = ([0, 1, 2] as const).filter((qos) => words.includes(String(qos)));
  if (words.every((word) => ['0', '1', '2'].includes(word))) return levels;
  throw new InvalidArgumentError('It must be 0, 1 or 2, or several of them, such as 1,2.');
}

function countOf(text: string): number {
  return wholeNumber(text, MESSAGES_MAX);
}

function rateOf(text: string): number {
  return wholeNumber(text, RATE_MAX);
}

function wholeNumber(text: string, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= max) return value;
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${max}.`);
}

/** A bare number is seconds; gives milliseconds. */
function timeOf(text: string): number {
  const timeMs = /[a-z]/i.test(text) ? parseDuration(text) : parseDuration(`${text} s`);
  if (timeMs !== undefined && timeMs >= TIME_LEAST_MS && timeMs <= TIME_MAX_MS) return timeMs;
  throw new InvalidArgumentError('It must be a number of seconds from 0.1 to 3600.');
}

function payloadOf(text: string): number {
  const sizeBytes = parseSize(text);
  if (sizeBytes !== undefined && sizeBytes >= 1 && sizeBytes <= PAYLOAD_MAX_BYTES) return sizeBytes;
  throw new InvalidArgumentError('It must be a size from 1 to 8 MiB, such as 100 or 4 KiB.');
}
