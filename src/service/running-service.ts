/**
 * The service at work: data directory, connectors, inputs and the HTTP server, opened in this order and closed in the
 * reverse one. It is the one place where all of them meet.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type DataDirectory, openDataDirectory } from '../cache/data-directory.js';
import type { Config } from '../config/config.js';
import { type ConnectorConfig, connectorSchema } from '../config/connector.js';
import { checkConnector, invalidConfig } from '../config/loading.js';
import { redactWritten } from '../config/redaction.js';
import { readWrittenConnector, removeConnector, saveConnector } from '../config/saving.js';
import { REDACTED } from '../config/secret.js';
import { SecretStore } from '../config/secret-store.js';
import { shapeOf } from '../config/shape.js';
import { testConnection } from '../connector/connection-test.js';
import type { Connector } from '../connector/connector.js';
import { clientIdOf } from '../connector/settings-of.js';
import type { TestReport } from '../connector/test-report.js';
import type { Clock } from '../core/clock.js';
import { errorText, NorthError } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import { packageVersion } from '../core/version.js';
import { type OpenServer, openServer } from '../http/server.js';
import type { Readiness, Service, ServiceEvent } from '../http/service.js';
import type { Input, InputStatus } from '../inputs/input.js';
import { openInput } from '../inputs/open-input.js';
import { ConnectorSet } from './connector-set.js';
import { ConnectorDelivery } from './delivery.js';
import { RunFile } from './run-file.js';

/** Longest time for what is in flight to be acknowledged when the service stops. */
export const STOP_TIMEOUT_MS = 10_000;

/** How long the disk is left alone before the address is written again. */
const RUN_FILE_RETRY_MS = 60_000;

export interface ServiceOptions {
  config: Config;
  /** Where changes of connectors are written; undefined in the quick start, which has no file. */
  configFile: string | undefined;
  clock: Clock;
  logger: Logger;
}

export class RunningService implements Service {
  readonly version = packageVersion();
  stopping = false;
  readonly #options: ServiceOptions;
  readonly #directory: DataDirectory;
  readonly #connectors: ConnectorSet;
  readonly #inputs: Input[] = [];
  readonly #listeners = new Set<(event: ServiceEvent) => void>();
  readonly #secrets: SecretStore;
  readonly #runFile: RunFile;
  #cancelRunFile: () => void = () => undefined;
  #server: OpenServer | undefined;
  #change: Promise<unknown> = Promise.resolve();

  private constructor(options: ServiceOptions, directory: DataDirectory) {
    this.#options = options;
    this.#directory = directory;
    this.#secrets = new SecretStore({ dataDir: options.config.dataDir, env: process.env });
    this.#runFile = new RunFile(options.config.dataDir);
    this.#connectors = new ConnectorSet({
      directory,
      clock: options.clock,
      logger: options.logger,
      idempotencyRetentionMs: options.config.server.idempotencyRetention,
      stopTimeoutMs: STOP_TIMEOUT_MS,
      tell: (event) => this.#tell(event),
    });
  }

  /** Rejects with CACHE_LOCKED, PORT_TAKEN, SERVER_EXPOSED or CONFIG_INVALID; nothing is left open then. */
  static async open(options: ServiceOptions): Promise<RunningService> {
    const directory = openDataDirectory(options.config.dataDir);
    const service = new RunningService(options, directory);
    try {
      await service.#start();
    } catch (error) {
      await service.stop();
      throw error;
    }
    return service;
  }

  get url(): string {
    return this.#server?.url ?? '';
  }

  async #start(): Promise<void> {
    const { config, logger } = this.#options;
    for (const { code, message, remedy, place } of this.#directory.warnings) {
      logger.warn({ code, place }, `${message} ${remedy}`);
    }
    this.#directory.forgetAllBut(config.connectors.map(({ id }) => id));
    await Promise.all(config.connectors.map((connector) => this.#connectors.open(connector)));
    const { server } = config;
    const tokens = [...server.tokens];
    const ownToken = this.#runFile.makeToken(tokens.length > 0);
    if (ownToken !== undefined) tokens.push(ownToken);
    this.#server = await openServer(
      {
        host: server.host,
        port: server.port,
        tokens,
        insecure: server.insecure,
        hosts: server.hosts,
        bodySizeMaxBytes: server.maxBodySize,
        ...(server.tls === undefined ? {} : { tls: readTlsFiles(server.tls) }),
      },
      this,
      logger,
    );
    this.#writeRunFile(this.#server.url);
    for (const inputConfig of config.inputs) {
      const delivery = new ConnectorDelivery({
        inputId: inputConfig.id,
        connectorIds: inputConfig.connectors,
        connectors: () => this.connectors(),
      });
      const input = openInput(inputConfig, delivery, { clock: this.#options.clock, logger });
      this.#inputs.push(input);
      if (inputConfig.enabled) input.start();
    }
  }

  /**
   * Other commands on this machine find the service by this file, and nothing else needs it: on a full disk the service
   * works without it, so that what waits is published, and writes it when there is room.
   */
  #writeRunFile(url: string, isRepeated = false): void {
    const { logger, clock } = this.#options;
    try {
      this.#runFile.write(url);
    } catch (error) {
      if (!(error instanceof NorthError && error.code === 'CACHE_DISK_FULL')) throw error;
      const text = `"mqtt-north cache" cannot find this service: its address could not be written. ${error.message}`;
      if (!isRepeated) logger.warn({ code: error.code, place: error.place }, `${text} ${error.remedy}`);
      this.#cancelRunFile = clock.schedule(RUN_FILE_RETRY_MS, () => this.#writeRunFile(url, true));
    }
  }

  /** Finishes what is in flight within the deadline, saves and closes everything. Idempotent. */
  async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    await Promise.all(this.#inputs.map((input) => input.stop()));
    await this.#server?.close(STOP_TIMEOUT_MS);
    // A change that is under way would open its connector after all others are closed.
    await this.#change;
    await this.#connectors.closeAll();
    this.#cancelRunFile();
    this.#runFile.remove();
    this.#directory.close();
  }

  connectors(): readonly Connector[] {
    return this.#connectors.list();
  }

  connector(id: string): Connector | undefined {
    return this.#connectors.get(id);
  }

  inputs(): readonly InputStatus[] {
    return this.#inputs.map((input) => input.status());
  }

  connectorConfig(id: string): unknown {
    const { configFile } = this.#options;
    if (configFile !== undefined) return readWrittenConnector(configFile, id)?.connector;
    const config = this.#connectors.config(id);
    return config === undefined
      ? undefined
      : redactWritten(shapeOf(connectorSchema), JSON.parse(JSON.stringify(config)));
  }

  createConnector(written: unknown): Promise<Connector> {
    return this.#changing(async () => {
      const id = idOf(written);
      if (id !== undefined && this.#connectors.get(id) !== undefined) {
        throw new NorthError('CONNECTOR_EXISTS', `There is a connector ${id} already.`);
      }
      return this.#connectors.open(this.#save(written));
    });
  }

  updateConnector(id: string, written: unknown): Promise<Connector> {
    return this.#changing(async () => {
      this.#require(id);
      if (idOf(written) !== id) throw new NorthError('REQUEST_INVALID', 'The id of a connector cannot be changed.');
      return this.#connectors.replace(this.#save(written));
    });
  }

  removeConnector(id: string, options: { discard: boolean }): Promise<void> {
    return this.#changing(async () => {
      const connector = this.#require(id);
      if (!options.discard) {
        const { cache } = await connector.status();
        if (cache === undefined) {
          throw new NorthError('CONNECTOR_NOT_EMPTY', `The cache of ${id} is not open; it may well hold messages.`);
        }
        const waiting = cache.waitingCounts.command + cache.waitingCounts.alert + cache.waitingCounts.telemetry;
        if (waiting + cache.quarantinedCount > 0) {
          const text = `${waiting} messages wait and ${cache.quarantinedCount} are quarantined in ${id}.`;
          throw new NorthError('CONNECTOR_NOT_EMPTY', text);
        }
      }
      removeConnector(this.#requireFile(), id, { store: this.#secrets });
      await this.#connectors.remove(id);
    });
  }

  startConnector(id: string): Promise<void> {
    return this.#changing(async () => {
      const connector = this.#require(id);
      if (this.#connectors.config(id)?.enabled === false) {
        throw new NorthError('CONNECTOR_DISABLED', `The connector ${id} is disabled.`);
      }
      connector.start();
    });
  }

  stopConnector(id: string): Promise<void> {
    return this.#changing(() => this.#require(id).stop(STOP_TIMEOUT_MS));
  }

  async testConnector(target: { id?: string; settings?: unknown }, signal: AbortSignal): Promise<TestReport> {
    const { id } = target;
    if (id !== undefined) this.#require(id);
    const running = id === undefined ? undefined : this.#connectors.config(id);
    const config = target.settings === undefined ? running : this.#checkSettings(target.settings, id);
    if (config === undefined) throw new NorthError('REQUEST_INVALID', 'Neither a connector nor settings were given.');
    const clientId = clientIdOf(config.settings, id ?? 'settings');
    return testConnection({ settings: config.settings, clientId, clock: this.#options.clock, signal });
  }

  readiness(): Readiness {
    const reasons: string[] = [];
    if (this.#server === undefined) reasons.push('The service is starting.');
    if (this.stopping) reasons.push('The service is stopping.');
    return { ready: reasons.length === 0, reasons };
  }

  onEvent(listener: (event: ServiceEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(event: ServiceEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#options.logger.error({ err: error }, 'a listener failed');
      }
    }
  }

  /** One change at a time: two at once could leave the file and what runs at odds. */
  #changing<T>(change: () => Promise<T>): Promise<T> {
    if (this.stopping) return Promise.reject(new NorthError('SERVICE_STOPPING', 'The service is stopping.'));
    const result = this.#change.then(change);
    this.#change = result.catch(() => undefined);
    return result;
  }

  #require(id: string): Connector {
    const connector = this.#connectors.get(id);
    if (connector === undefined) throw new NorthError('CONNECTOR_UNKNOWN', `There is no connector "${id}".`);
    return connector;
  }

  #requireFile(): string {
    const { configFile } = this.#options;
    if (configFile !== undefined) return configFile;
    throw new NorthError('CONFIG_MISSING', 'The quick start has no configuration file to write the change to.', {
      remedy: 'Stop it, run "mqtt-north init", and start again with that file.',
    });
  }

  /** Writes the connector to the configuration file and gives it as it is checked. */
  #save(written: unknown): ConnectorConfig {
    const file = this.#requireFile();
    const { config, errors } = saveConnector(file, written, { store: this.#secrets });
    const saved = config?.connectors.find(({ id }) => id === idOf(written));
    if (saved === undefined) throw invalidConfig(file, errors);
    return saved;
  }

  #checkSettings(settings: unknown, id: string | undefined): ConnectorConfig {
    const { configFile } = this.#options;
    const baseDir = configFile === undefined ? process.cwd() : dirname(resolve(configFile));
    const written = { id: id ?? 'test', settings: this.#restored(settings, id) };
    const { connector, errors } = checkConnector(written, { baseDir, store: this.#secrets });
    if (connector === undefined) throw invalidConfig('settings', errors);
    return connector;
  }

  /** Puts the secrets of the running connector where the settings say `[redacted]`. */
  #restored(settings: unknown, id: string | undefined): unknown {
    const running = id === undefined ? undefined : this.#connectors.config(id)?.settings;
    if (running === undefined || typeof settings !== 'object' || settings === null) return settings;
    const copy = structuredClone(settings) as Record<string, unknown>;
    // A stored password goes to the brokers that it was stored for and to no other: who may test settings could
    // otherwise have it sent to himself.
    const isSameBroker =
      copy.url === running.url && JSON.stringify(copy.brokers ?? []) === JSON.stringify(running.brokers);
    if (!isSameBroker) {
      if (!JSON.stringify(settings).includes(REDACTED)) return settings;
      const text = 'The stored secrets belong to the brokers of the connector; for others they must be given again.';
      throw new NorthError('REQUEST_INVALID', text);
    }
    const authentication = copy.authentication as Record<string, unknown> | undefined;
    if (authentication?.password === REDACTED && running.authentication.type === 'basic') {
      authentication.password = running.authentication.password.reveal();
    }
    if (copy.keyPassphrase === REDACTED && running.keyPassphrase !== undefined) {
      copy.keyPassphrase = running.keyPassphrase.reveal();
    }
    return copy;
  }
}

function idOf(written: unknown): string | undefined {
  if (typeof written !== 'object' || written === null || !('id' in written)) return undefined;
  return typeof written.id === 'string' ? written.id : undefined;
}

function readTlsFiles(files: { certFile: string; keyFile: string }): { cert: Buffer; key: Buffer } {
  const read = (file: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (error) {
      throw new NorthError('CERTIFICATE_FILE_MISSING', `The file cannot be read: ${errorText(error)}.`, {
        place: file,
      });
    }
  };
  return { cert: read(files.certFile), key: read(files.keyFile) };
}
