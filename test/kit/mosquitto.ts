/** A real Mosquitto broker of the test's own: free ports, a folder of its own, and killed with the test's process. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { ServerCertificate } from './certificates.js';
import { eventually, within } from './deadline.js';
import { freePort } from './ports.js';
import { temporaryFolder } from './temporary-folder.js';
import { killAtEnd } from './watchdog.js';

export interface MosquittoOptions {
  /** Fixed port of the plain listener; a free one unless given. */
  port?: number;
  /** Adds listeners for TLS (and, with `websockets`, for wss) that show this certificate; true: the good one. */
  tls?: boolean | ServerCertificate;
  /** The TLS listeners want a client certificate of the test authority. */
  clientCertificates?: boolean;
  /** Lines for the TLS listeners: `tls_version tlsv1.2`, `use_identity_as_username true`. */
  tlsExtra?: readonly string[];
  websockets?: boolean;
  /** User names with their passwords. */
  passwords?: Readonly<Record<string, string>>;
  /** Allowed by default unless there are `passwords`. */
  allowAnonymous?: boolean;
  /** The text of an ACL file: `topic write plant/#`. */
  acl?: string;
  /** Keeps sessions on disk over `stop` and `restart`; over `kill` only what `save` has written. */
  persistence?: boolean;
  /** `max_inflight_messages`: also the Receive Maximum of MQTT 5, and the limit of QoS 2 in 3.1.1. Default 20. */
  maxInflight?: number;
  maxPacketSize?: number;
  messageSizeLimit?: number;
  maxQos?: 0 | 1 | 2;
  /** Further lines for the whole broker. */
  extra?: readonly string[];
  /** Logs every packet; slow, and long. */
  verbose?: boolean;
}

export interface Mosquitto {
  /** Listens on 127.0.0.1 and, where there is one, ::1; so does `tlsPort`. The websocket ports: 127.0.0.1. */
  readonly port: number;
  readonly tlsPort: number;
  readonly wsPort: number;
  readonly wssPort: number;
  /** `mqtt://127.0.0.1:port`. */
  readonly url: string;
  /** Of the process that runs now, or ran last. */
  readonly pid: number;
  readonly folder: string;
  readonly isRunning: boolean;
  /** Everything logged since the first start. */
  log(): string;
  /** SIGTERM, as an administrator would: it saves its sessions when it has persistence. */
  stop(): Promise<void>;
  /** SIGKILL, as the power cut would. */
  kill(): Promise<void>;
  /** Starts with the same ports and folder; stops it first when it runs. */
  restart(): Promise<void>;
  /** Makes it write its sessions to disk now, so that `kill` keeps them. Resolves when they are written. */
  save(): Promise<void>;
}

const PORT_ATTEMPTS = 5;
const WEBSOCKETS = 'protocol websockets';
/** Debian keeps the broker where an ordinary user's PATH may not lead. */
const ENVIRONMENT = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/local/sbin` };

/** Whether this machine has the loopback address ::1; some containers do not. */
export const HAS_IPV6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
);

/** Resolves when the broker accepts connections; fails with its log when it does not. */
export async function startMosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  const folder = temporaryFolder('mosquitto');
  for (let attempt = 1; ; attempt++) {
    const ports = {
      plain: options.port ?? (await freePort()),
      tls: await freePort(),
      ws: await freePort(),
      wss: await freePort(),
    };
    const configFile = join(folder, 'mosquitto.conf');
    writeFileSync(configFile, await configuration(options, folder, ports));
    const broker = new MosquittoProcess(folder, configFile, ports);
    try {
      await broker.restart();
      return broker;
    } catch (error) {
      // Another process may have taken a free port before the broker did.
      const isTaken = broker.log().includes('Address already in use') && options.port === undefined;
      if (!isTaken || attempt >= PORT_ATTEMPTS) throw error;
    }
  }
}

interface Ports {
  plain: number;
  tls: number;
  ws: number;
  wss: number;
}

class MosquittoProcess implements Mosquitto {
  readonly port: number;
  readonly tlsPort: number;
  readonly wsPort: number;
  readonly wssPort: number;
  readonly url: string;
  readonly folder: string;
  readonly #configFile: string;
  readonly #logFile: string;
  #child: ChildProcess | undefined;

  constructor(folder: string, configFile: string, ports: Ports) {
    this.folder = folder;
    this.#configFile = configFile;
    this.#logFile = join(folder, 'mosquitto.log');
    this.port = ports.plain;
    this.tlsPort = ports.tls;
    this.wsPort = ports.ws;
    this.wssPort = ports.wss;
    this.url = `mqtt://127.0.0.1:${ports.plain}`;
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8') : '';
  }

  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  async restart(): Promise<void> {
    await this.stop();
    const logSizeBefore = this.log().length;
    // The log goes to a file and not through this process, so that a busy test does not hold up the broker.
    const logFile = openSync(this.#logFile, 'a');
    const child = spawn('mosquitto', ['-c', this.#configFile], {
      cwd: this.folder,
      env: ENVIRONMENT,
      stdio: ['ignore', logFile, logFile],
    });
    closeSync(logFile);
    killAtEnd(child);
    child.unref();
    this.#child = child;
    let failure: Error | undefined;
    child.once('error', (error) => {
      failure = error;
    });
    const news = () => this.log().slice(logSizeBefore);
    await eventually(
      () => failure !== undefined || !this.isRunning || / mosquitto version \S+ running/.test(news()),
      () => `mosquitto to listen. Its log: ${news()}`,
    );
    if (failure !== undefined) throw new Error('mosquitto could not be started; is it installed?', { cause: failure });
    if (!this.isRunning)
      throw new Error(`mosquitto ended with code ${child.exitCode} at its start. Its log: ${news()}`);
  }

  async save(): Promise<void> {
    const database = join(this.folder, 'mosquitto.db');
    const writtenAt = () => statSync(database, { throwIfNoEntry: false })?.ctimeMs;
    const before = writtenAt();
    process.kill(this.pid, 'SIGUSR1');
    // It writes beside the old file and renames, so that the file changes at once as a whole.
    await eventually(
      () => writtenAt() !== before,
      () => `mosquitto to save its sessions. Its log: ${this.log()}`,
    );
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    child.ref();
    const exited = once(child, 'exit');
    child.kill(signal);
    await within(exited, () => `mosquitto to end after ${signal}. Its log: ${this.log()}`);
  }
}

async function configuration(options: MosquittoOptions, folder: string, ports: Ports): Promise<string> {
  const { maxInflight, maxPacketSize, messageSizeLimit, maxQos, passwords, acl } = options;
  const setting = (name: string, value: unknown) => (value === undefined ? [] : [`${name} ${value}`]);
  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const lines = [
    'user root',
    'log_dest stderr',
    ...(options.verbose ? ['log_type all'] : ['error', 'warning', 'notice', 'information'].map((t) => `log_type ${t}`)),
    `allow_anonymous ${options.allowAnonymous ?? passwords === undefined}`,
    // A slow subscriber of a test loses nothing; the default drops what is beyond 1000. Without any limit (0), Mosquitto
    // 2.0 takes its own answer to a message that it refuses for one too many and closes the connection.
    'max_queued_messages 100000000',
    ...(options.persistence ? ['persistence true', `persistence_location ${folder}/`] : []),
    ...setting('max_inflight_messages', maxInflight),
    ...setting('max_packet_size', maxPacketSize),
    ...setting('message_size_limit', messageSizeLimit),
    ...(passwords === undefined ? [] : [`password_file ${passwordFile(file('passwords', ''), passwords)}`]),
    ...(acl === undefined ? [] : [`acl_file ${file('acl', `${acl}\n`)}`]),
    ...(options.extra ?? []),
  ];
  const listen = (port: number, ...rest: string[]) => {
    // Its websocket library binds a port only once.
    const hosts = HAS_IPV6 && !rest.includes(WEBSOCKETS) ? ['127.0.0.1', '::1'] : ['127.0.0.1'];
    for (const host of hosts) lines.push(`listener ${port} ${host}`, ...rest, ...setting('max_qos', maxQos));
  };
  listen(ports.plain);
  if (options.websockets) listen(ports.ws, WEBSOCKETS);
  if (options.tls !== undefined && options.tls !== false) {
    // Making certificates takes a moment to load, which tests without TLS need not wait for.
    const { testCertificates } = await import('./certificates.js');
    const { authority, server } = await testCertificates();
    const { certFile, keyFile } = server[options.tls === true ? 'good' : options.tls];
    const tlsLines = [
      `cafile ${authority.certFile}`,
      `certfile ${certFile}`,
      `keyfile ${keyFile}`,
      ...(options.clientCertificates ? ['require_certificate true'] : []),
      ...(options.tlsExtra ?? []),
    ];
    listen(ports.tls, ...tlsLines);
    if (options.websockets) listen(ports.wss, WEBSOCKETS, ...tlsLines);
  }
  return `${lines.join('\n')}\n`;
}

function passwordFile(path: string, passwords: Readonly<Record<string, string>>): string {
  for (const [user, password] of Object.entries(passwords)) {
    const { status, stderr } = spawnSync('mosquitto_passwd', ['-b', path, user, password], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`mosquitto_passwd failed: ${stderr}`);
  }
  return path;
}
