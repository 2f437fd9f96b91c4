/** The connectors of a running service: opened, replaced and removed one at a time, each with its folder on disk. */
import { rmSync } from 'node:fs';
import type { DataDirectory } from '../cache/data-directory.js';
import type { ConnectorConfig } from '../config/connector.js';
import type { Connector, ConnectorEvents } from '../connector/connector.js';
import { FailedConnector } from '../connector/failed-connector.js';
import { openLiveConnector } from '../connector/open-connector.js';
import type { Clock } from '../core/clock.js';
import { errorText, NorthError } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import type { ServiceEvent } from '../http/service.js';

const EVENT_NAMES = [
  'state',
  'quarantined',
  'warning',
  'failure',
] as const satisfies readonly (keyof ConnectorEvents)[];

export interface ConnectorSetOptions {
  directory: DataDirectory;
  clock: Clock;
  logger: Logger;
  idempotencyRetentionMs: number;
  stopTimeoutMs: number;
  tell: (event: ServiceEvent) => void;
}

export class ConnectorSet {
  readonly #options: ConnectorSetOptions;
  readonly #entries = new Map<string, { connector: Connector; config: ConnectorConfig; quiet: (() => void)[] }>();

  constructor(options: ConnectorSetOptions) {
    this.#options = options;
  }

  list(): readonly Connector[] {
    return [...this.#entries.values()].map(({ connector }) => connector);
  }

  get(id: string): Connector | undefined {
    return this.#entries.get(id)?.connector;
  }

  config(id: string): ConnectorConfig | undefined {
    return this.#entries.get(id)?.config;
  }

  /**
   * Opens and starts it. A connector whose cache cannot be opened is there all the same and says why, so that it does
   * not take the others with it.
   */
  async open(config: ConnectorConfig): Promise<Connector> {
    const connector = await this.#openOrFail(config);
    const quiet = EVENT_NAMES.map((name) =>
      // The name and its payload belong together, which a union over the names does not tell the compiler.
      connector.on(name, (data) => this.#options.tell({ name, data } as ServiceEvent)),
    );
    this.#entries.set(config.id, { connector, config, quiet });
    if (config.enabled) connector.start();
    return connector;
  }

  /** Closes it; its folder stays. */
  async close(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    await entry.connector.close(this.#options.stopTimeoutMs);
    for (const end of entry.quiet) end();
    this.#entries.delete(id);
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.#entries.keys()].map((id) => this.close(id)));
  }

  /**
   * Closes it and opens it with the new configuration. What is queued stays.
   *
   * The former one keeps its place until the new one has it: it tells producers to come again, where "there is no such
   * connector" would make them give up, and an input would hand what it has to the other connectors alone.
   */
  async replace(config: ConnectorConfig): Promise<Connector> {
    const former = this.#entries.get(config.id);
    await former?.connector.close(this.#options.stopTimeoutMs);
    const connector = await this.open(config);
    for (const end of former?.quiet ?? []) end();
    return connector;
  }

  /** Closes it and deletes its folder with everything that is queued. */
  async remove(id: string): Promise<void> {
    await this.close(id);
    rmSync(this.#options.directory.connectorFolder(id), { recursive: true, force: true });
  }

  async #openOrFail(config: ConnectorConfig): Promise<Connector> {
    const { clock, logger, directory, idempotencyRetentionMs } = this.#options;
    try {
      const folder = directory.connectorFolder(config.id);
      return await openLiveConnector(config, { folder, clock, logger, idempotencyRetentionMs });
    } catch (error) {
      const problem =
        error instanceof NorthError ? error : new NorthError('CACHE_FAILED', errorText(error), { cause: error });
      logger.error({ connector: config.id, code: problem.code }, `${problem.message} ${problem.remedy}`);
      return new FailedConnector(config, problem, clock.wallMs());
    }
  }
}
