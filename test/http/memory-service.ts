/** A service around connectors in memory, and a server on a free loopback port in front of it. */
import { Secret } from '../../src/config/secret.js';
import type { Role, TokenConfig } from '../../src/config/server.js';
import type { TestReport } from '../../src/connector/test-report.js';
import { NorthError } from '../../src/core/error.js';
import type { Logger } from '../../src/core/logger.js';
import { type OpenServer, openServer, type ServerOptions } from '../../src/http/server.js';
import type { Readiness, Service, ServiceEvent } from '../../src/http/service.js';
import type { InputStatus } from '../../src/inputs/input.js';
import { MemoryConnector } from './memory-connector.js';

export class MemoryService implements Service {
  readonly version = '1.2.3';
  stopping = false;
  ready: Readiness = { ready: true, reasons: [] };
  inputStatuses: InputStatus[] = [];
  readonly list: MemoryConnector[];
  readonly tested: { target: { id?: string; settings?: unknown }; signal: AbortSignal }[] = [];
  /** Awaited by a test of a connection, when set. */
  testGate: Promise<void> | undefined;
  readonly #listeners = new Set<(event: ServiceEvent) => void>();
  readonly #configs = new Map<string, unknown>();

  constructor(...ids: string[]) {
    this.list = ids.map((id) => this.#made(id));
  }

  get listenerCount(): number {
    return this.#listeners.size;
  }

  connectors(): readonly MemoryConnector[] {
    return this.list;
  }

  connector(id: string): MemoryConnector | undefined {
    return this.list.find((connector) => connector.id === id);
  }

  inputs(): readonly InputStatus[] {
    return this.inputStatuses;
  }

  connectorConfig(id: string): unknown {
    return this.#configs.get(id);
  }

  async createConnector(config: unknown): Promise<MemoryConnector> {
    const { id } = config as { id: string };
    if (this.connector(id) !== undefined) throw new NorthError('CONNECTOR_EXISTS', `There is "${id}" already.`);
    if ('bad' in (config as object)) throw new NorthError('CONFIG_INVALID', 'bad: unknown key.');
    const connector = this.#made(id);
    this.#configs.set(id, config);
    this.list.push(connector);
    return connector;
  }

  async updateConnector(id: string, config: unknown): Promise<MemoryConnector> {
    this.#configs.set(id, config);
    return this.#known(id);
  }

  async removeConnector(id: string, { discard }: { discard: boolean }): Promise<void> {
    const connector = this.#known(id);
    if (!discard && connector.stored.some(({ state }) => state !== 'archived')) {
      throw new NorthError('CONNECTOR_NOT_EMPTY', `"${id}" still has messages.`);
    }
    this.list.splice(this.list.indexOf(connector), 1);
  }

  async startConnector(id: string): Promise<void> {
    this.#known(id).start();
  }

  async stopConnector(id: string): Promise<void> {
    await this.#known(id).stop();
  }

  async testConnector(target: { id?: string; settings?: unknown }, signal: AbortSignal): Promise<TestReport> {
    this.tested.push({ target, signal });
    await this.testGate;
    return {
      ok: true,
      steps: [{ name: 'resolve', ok: true, message: 'broker.example.com is 192.0.2.1', elapsedMs: 3 }],
      grant: undefined,
      isSessionKept: undefined,
      subscribedQos: undefined,
      guarantee: undefined,
      roundTripMs: 12,
      certificateExpiresAt: undefined,
      warnings: [],
      error: undefined,
    };
  }

  readiness(): Readiness {
    return this.ready;
  }

  onEvent(listener: (event: ServiceEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #made(id: string): MemoryConnector {
    const connector = new MemoryConnector(id);
    this.#configs.set(id, { id, settings: { url: 'mqtt://broker.example.com', password: '[redacted]' } });
    for (const name of ['state', 'quarantined', 'warning', 'failure'] as const) {
      connector.on(name, (data) => {
        // Name and data come from the same event.
        for (const listener of this.#listeners) listener({ name, data } as ServiceEvent);
      });
    }
    return connector;
  }

  #known(id: string): MemoryConnector {
    const connector = this.connector(id);
    if (connector === undefined) throw new NorthError('CONNECTOR_UNKNOWN', `There is no connector "${id}".`);
    return connector;
  }
}

export interface LogLine {
  level: string;
  fields: object;
  message: string;
}

/** Keeps what is logged. */
export function recordingLogger(lines: LogLine[]): Logger {
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, fields, message });
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export interface TestServer extends OpenServer {
  service: MemoryService;
  log: LogLine[];
}

export async function startServer(
  service = new MemoryService('plant-a'),
  options: Partial<ServerOptions> = {},
): Promise<TestServer> {
  const log: LogLine[] = [];
  const full = { host: '127.0.0.1', port: 0, tokens: [], insecure: false, bodySizeMaxBytes: 1024 * 1024, ...options };
  const { url, close } = await openServer(full, service, recordingLogger(log));
  return { url, close, service, log };
}

/** Runs `use` with a server of its own and closes it, whatever happens. */
export async function withServer(
  use: (server: TestServer) => Promise<void>,
  service?: MemoryService,
  options?: Partial<ServerOptions>,
): Promise<void> {
  const server = await startServer(service, options);
  try {
    await use(server);
  } finally {
    await server.close(2000);
  }
}

export function token(name: string, role: Role, connectors?: string[]): TokenConfig {
  const secret = new Secret(`${name}-secret-0123456789`);
  return connectors === undefined ? { name, role, secret } : { name, role, secret, connectors };
}

export function bearer(name: string): Record<string, string> {
  return { authorization: `Bearer ${name}-secret-0123456789` };
}
