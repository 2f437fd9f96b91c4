/** The parent's hold on one life of the writing process: it starts it, reads what it says, and kills it. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Durability } from '../cache/store.js';
import type { ConnectorInput } from '../config/connector.js';
import { NorthError } from '../core/error.js';
import { isErrorCode } from '../core/error-codes.js';
import type { Lane } from '../core/lane.js';

/** The first line that the process reads. */
export interface WriterStart {
  dataDir: string;
  config: ConnectorInput;
  /** Where the producer of each lane goes on. */
  next: Readonly<Record<Lane, number>>;
  /** So many messages may be handed in, counted over all lives and lanes. */
  allowed: number;
}

export type WriterCommand = { kind: 'allow'; total: number } | { kind: 'finish' };

export type WriterNews =
  | { kind: 'open' | 'online' | 'done' }
  | { kind: 'durability'; durability: Durability | undefined }
  | { kind: 'offered' | 'received'; lane: Lane; from: number; count: number }
  | { kind: 'quarantined'; code: string; reason: string }
  | { kind: 'warning' | 'failure'; code: string; message: string }
  | { kind: 'failed'; code: string; message: string; remedy: string };

export interface WriterEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** The last that it wrote to its standard error. */
  errors: string;
}

export interface Writer {
  readonly pid: number;
  /** Resolves when it is gone and everything that it said is read. */
  readonly ended: Promise<WriterEnd>;
  command(command: WriterCommand): void;
  kill(): void;
}

const ERRORS_MAX_CHARS = 4000;
const MAIN = fileURLToPath(new URL('./writer-main.js', import.meta.url));

export function startWriter(start: WriterStart, heard: (news: WriterNews) => void): Writer {
  // In a group of its own, so that Ctrl+C on the terminal reaches this process alone, which then ends the other. On
  // Windows that would open a window.
  const detached = process.platform !== 'win32';
  const child = spawn(process.execPath, [...process.execArgv, MAIN], { stdio: 'pipe', detached });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-ERRORS_MAX_CHARS);
  });
  // A process that is killed does not read the rest of its input.
  child.stdin.on('error', () => undefined);
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    const news = readNews(line);
    if (news !== undefined) heard(news);
  });
  const read = new Promise<void>((resolve) => lines.once('close', () => resolve()));
  const ended = new Promise<WriterEnd>((resolve, reject) => {
    child.once('error', (error) => {
      if (child.pid === undefined) reject(error);
    });
    child.once('close', (code, signal) => void read.then(() => resolve({ code, signal, errors })));
  });
  const send = (value: WriterStart | WriterCommand): void => void child.stdin.write(`${JSON.stringify(value)}\n`);
  send(start);
  return { pid: child.pid ?? -1, ended, command: send, kill: () => void child.kill('SIGKILL') };
}

/** A line that the kill has cut says nothing: what it would have said was not said. */
function readNews(line: string): WriterNews | undefined {
  try {
    return JSON.parse(line) as WriterNews;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The error of a process that ended by itself. */
export function writerError(news: Extract<WriterNews, { kind: 'failed' }> | undefined, end: WriterEnd): NorthError {
  if (news === undefined) {
    const how = end.signal === null ? `with code ${end.code}` : `by ${end.signal}`;
    return new NorthError('INTERNAL', `The writing process ended ${how}. ${end.errors}`.trim());
  }
  const { code, message, remedy } = news;
  return new NorthError(isErrorCode(code) ? code : 'INTERNAL', message, { remedy });
}
