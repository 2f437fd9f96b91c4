/**
 * The product as its users run it: a service in a process of its own, configured by a file in a folder of its own.
 *
 * Whatever becomes of the process that started it, the service ends and its folder is removed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { within } from '../test/kit/deadline.js';
import { temporaryFolder } from '../test/kit/temporary-folder.js';
import { killAtEnd } from '../test/kit/watchdog.js';
import { CpuShare } from './cpu-share.js';
import { folderSizeBytes, type MemoryFigures, readMemory, readWrittenBytes } from './process-figures.js';

/** The only connector of the service. */
export const CONNECTOR_ID = 'bench';

const ROOT_FOLDER = join(import.meta.dirname, '..', '..');
const INSTALLED_COMMAND = 'dist/cli/main.js';
const COMPILED_COMMAND = 'build/src/cli/main.js';
const START_TIMEOUT_MS = 60_000;
/** The broker of a case is there, or comes back at once. */
const ONLINE_TIMEOUT_MS = 60_000;
const END_TIMEOUT_MS = 60_000;
const OUTPUT_MAX_CHARS = 64 * 1024;

export interface ServiceOptions {
  brokerUrl: string;
  /** 1 unless given. */
  qos?: 0 | 1 | 2;
  /** Further settings of the connection. */
  settings?: Readonly<Record<string, unknown>>;
  /** Time-values to `bench/{pointId}` unless given. */
  transformers?: readonly unknown[];
  /** What every request must carry; without it the API is open. */
  token?: string;
}

type LaneFigures<T> = Readonly<Record<'command' | 'alert' | 'telemetry', T>>;

/** What the cases read of the connector's status. */
export interface ConnectorFigures {
  state: string;
  description: string;
  /** Wall clock: since when it is in this state. */
  sinceMs: number;
  lastAcknowledgedAtMs?: number;
  window: number;
  reconnects: number;
  counts: LaneFigures<{
    accepted: number;
    published: number;
    quarantined: number;
    dropped: number;
    possibleDuplicates: number;
  }>;
  cache: { waitingCounts: LaneFigures<number>; waitingSizeBytes: number; sizeBytes: number };
}

export interface BenchService {
  readonly folder: string;
  readonly dataDir: string;
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** After `stop` or `kill`: gives the time from the start of the process until it answers requests. */
  start(): Promise<number>;
  /** SIGTERM, and waits for the end; fails when it does not end in order. */
  stop(): Promise<void>;
  /** SIGKILL, as the power cut would. */
  kill(): Promise<void>;
  /** Ends it, if it still runs, and removes its folder. */
  remove(): Promise<void>;
  call(method: 'GET' | 'POST', path: string, body?: string | Buffer): Promise<string>;
  status(): Promise<ConnectorFigures>;
  /** Asks for the status until it is as wanted, and gives it; fails with the last one at the deadline. */
  until(
    condition: (figures: ConnectorFigures) => boolean,
    describe: string,
    timeoutMs: number,
    pollMs?: number,
  ): Promise<ConnectorFigures>;
  /** Waits until the connector is connected and gives what it says of itself then. */
  online(timeoutMs?: number): Promise<ConnectorFigures>;
  memory(): MemoryFigures;
  /** Measures, from now on, the share of a core that the process that runs now takes. */
  watchCpu(): CpuShare;
  writtenBytes(): number;
  /** What the data directory takes on its disk. */
  diskBytes(): number;
}

/**
 * What is run: the command as it is installed when `npm run build` has been run after the last change of the sources, and
 * otherwise the one that was compiled with the benchmark. The latter has its source maps in it, which take some memory.
 */
export const COMMAND = isBuilt() ? INSTALLED_COMMAND : COMPILED_COMMAND;

function isBuilt(): boolean {
  const builtMs = statSync(join(ROOT_FOLDER, INSTALLED_COMMAND), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = readdirSync(join(ROOT_FOLDER, 'src'), { recursive: true, encoding: 'utf8' });
  return sources.every((path) => statSync(join(ROOT_FOLDER, 'src', path)).mtimeMs <= builtMs);
}

/** Gives a service to `use`, and removes it with everything it has stored afterwards. */
export async function withService<T>(options: ServiceOptions, use: (service: BenchService) => Promise<T>): Promise<T> {
  const service = await startService(options);
  try {
    return await use(service);
  } finally {
    await service.remove();
  }
}

/** The path that takes content of this type. */
export function contentPath(type: 'time-values' | 'messages'): string {
  return `/api/content?connector=${CONNECTOR_ID}&type=${type}`;
}

/** Writes the configuration and starts the service; it answers requests then, and may still be dialling the broker. */
export async function startService(options: ServiceOptions): Promise<BenchService> {
  const folder = temporaryFolder('bench');
  const dataDir = join(folder, 'data');
  const file = join(folder, 'mqtt-north.json');
  const token = options.token;
  const config = {
    dataDir,
    server: {
      port: 0,
      ...(token === undefined ? {} : { tokens: [{ name: 'bench', secret: token, role: 'administrator' }] }),
    },
    connectors: [
      {
        id: CONNECTOR_ID,
        settings: { url: options.brokerUrl, qos: options.qos ?? 1, reconnectPeriod: 200, ...options.settings },
        transformers: options.transformers ?? [{ type: 'time-values-to-mqtt', topic: 'bench/{pointId}' }],
      },
    ],
    logging: { level: 'info', format: 'json' },
  };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  const service = new ServiceProcess(folder, dataDir, file, token);
  try {
    await service.start();
  } catch (error) {
    await service.remove();
    throw error;
  }
  return service;
}

class ServiceProcess implements BenchService {
  url = '';
  readonly folder: string;
  readonly dataDir: string;
  readonly #file: string;
  readonly #token: string | undefined;
  #agent = new Agent({ keepAlive: true });
  #child: ChildProcess | undefined;
  #output = '';

  constructor(folder: string, dataDir: string, file: string, token: string | undefined) {
    this.folder = folder;
    this.dataDir = dataDir;
    this.#file = file;
    this.#token = token;
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  async start(): Promise<number> {
    this.#output = '';
    const startMs = performance.now();
    const child = spawn(process.execPath, [join(ROOT_FOLDER, COMMAND), 'run', '-c', this.#file], {
      cwd: this.folder,
      env: { ...process.env, XDG_CONFIG_HOME: join(this.folder, 'config') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    killAtEnd(child);
    this.#child = child;
    const answered = new Promise<number>((resolve, reject) => {
      const read = (chunk: string): void => {
        this.#output = (this.#output + chunk).slice(-OUTPUT_MAX_CHARS);
        const found = /"url":"(http[^"]+)"/.exec(chunk);
        if (found?.[1] === undefined) return;
        this.url = found[1];
        resolve(performance.now() - startMs);
      };
      child.stdout.setEncoding('utf8').on('data', read);
      child.stderr.setEncoding('utf8').on('data', read);
      child.once('error', reject);
      child.once('exit', (code, signal) =>
        reject(new Error(`The service ended (${signal ?? code}). Its output: ${this.#output}`)),
      );
    });
    return within(answered, () => `the service to start. Its output: ${this.#output}`, START_TIMEOUT_MS);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    await this.#end('SIGTERM');
    if (child?.exitCode !== 0) throw new Error(`The service did not end in order. Its output: ${this.#output}`);
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#agent.destroy();
    this.#agent = new Agent({ keepAlive: true });
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await within(exited, () => `the service to end after ${signal}. Its output: ${this.#output}`, END_TIMEOUT_MS);
  }

  call(method: 'GET' | 'POST', path: string, body?: string | Buffer): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = {
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      };
      const sent = request(this.url + path, { method, agent: this.#agent, headers }, (answer) => {
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => {
          text += chunk;
        });
        answer.on('error', reject);
        answer.on('end', () => {
          if (answer.statusCode !== undefined && answer.statusCode < 300) resolve(text);
          else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
        });
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }

  async status(): Promise<ConnectorFigures> {
    // The list has no configurations in it; a long mapping would cost more to read and send than what is measured.
    const answer = JSON.parse(await this.call('GET', '/api/connectors')) as { connectors: [ConnectorFigures] };
    const [figures] = answer.connectors;
    if (figures.counts === undefined) throw new Error(`The connector has no figures: ${figures.description}`);
    return figures;
  }

  online(timeoutMs = ONLINE_TIMEOUT_MS): Promise<ConnectorFigures> {
    return this.until(({ state }) => state === 'online', 'the connection', timeoutMs, 1);
  }

  async until(
    condition: (figures: ConnectorFigures) => boolean,
    describe: string,
    timeoutMs: number,
    pollMs = 20,
  ): Promise<ConnectorFigures> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const figures = await this.status();
      if (condition(figures)) return figures;
      if (performance.now() >= deadlineMs) {
        throw new Error(`Waited ${timeoutMs} ms for: ${describe}. Last seen: ${JSON.stringify(figures)}`);
      }
      await delay(pollMs);
    }
  }

  memory(): MemoryFigures {
    return readMemory(this.pid);
  }

  watchCpu(): CpuShare {
    return new CpuShare(this.pid);
  }

  writtenBytes(): number {
    return readWrittenBytes(this.pid);
  }

  diskBytes(): number {
    return folderSizeBytes(this.dataDir);
  }
}
