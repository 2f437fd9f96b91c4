/** The connectors of a running service: opened, replaced and removed one at a time, each with its folder on disk. */
import type { DataDirectory } from '../cache/data-directory.js';
import type { ConnectorConfig } from '../config/connector.js';
import type { Connector, ConnectorEvents } from '../connector/connector.js';
import { FailedConnector, mayPass } from '../connector/failed-connector.js';
import { openConfiguredConnector } from '../connector/open-connector.js';
import type { Clock } from '../core/clock.js';
import { errorText, NorthError } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import type { ServiceEvent } from '../http/service.js';
import { Reopening } from './reopening.js';

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

interface Entry {
  connector: Connector;
  config: ConnectorConfig;
  quiet: (() => void)[];
  /** While it could not be opened for a cause that may pass. */
  reopening?: Reopening;
}

export class ConnectorSet {
  readonly #options: ConnectorSetOptions;
  readonly #entries = new Map<string, Entry>();

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
   * not take the others with it. When the cause may pass, opening is tried again.
   */
  async open(config: ConnectorConfig): Promise<Connector> {
    try {
      return this.#enter(config, await this.#openLive(config)).connector;
    } catch (error) {
      const problem = problemOf(error);
      this.#log(config, problem);
      const failed = new FailedConnector(config, problem, this.#options.clock.wallMs());
      const entry = this.#enter(config, failed);
      if (mayPass(problem)) entry.reopening = this.#reopen(entry, problem);
      return failed;
    }
  }

  /** Closes it; its folder stays. */
  async close(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    await this.#shut(entry);
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
    if (former !== undefined) await this.#shut(former);
    const connector = await this.open(config);
    for (const end of former?.quiet ?? []) end();
    return connector;
  }

  /** Closes it and deletes its folder with everything that is queued. */
  async remove(id: string): Promise<void> {
    await this.close(id);
    this.#options.directory.removeConnectorFolder(id);
  }

  #enter(config: ConnectorConfig, connector: Connector): Entry {
    const entry: Entry = { connector, config, quiet: this.#listen(connector) };
    this.#entries.set(config.id, entry);
    if (config.enabled) connector.start();
    return entry;
  }

  #listen(connector: Connector): (() => void)[] {
    return EVENT_NAMES.map((name) =>
      // The name and its payload belong together, which a union over the names does not tell the compiler.
      connector.on(name, (data) => this.#options.tell({ name, data } as ServiceEvent)),
    );
  }

  async #shut(entry: Entry): Promise<void> {
    await entry.reopening?.end();
    await entry.connector.close(this.#options.stopTimeoutMs);
  }

  #openLive(config: ConnectorConfig): Promise<Connector> {
    const { clock, logger, directory, idempotencyRetentionMs } = this.#options;
    const folder = directory.connectorFolder(config.id);
    return openConfiguredConnector(config, { folder, clock, logger, idempotencyRetentionMs });
  }

  /** The same problem is logged once; the connector shows the last one. */
  #reopen(entry: Entry, first: NorthError): Reopening {
    const { clock, logger } = this.#options;
    const { config } = entry;
    const sinceMs = clock.wallMs();
    let { code } = first;
    return new Reopening({
      clock,
      open: async () => {
        try {
          return await this.#openLive(config);
        } catch (error) {
          const problem = problemOf(error);
          if (problem.code !== code) this.#log(config, problem);
          code = problem.code;
          entry.connector = new FailedConnector(config, problem, sinceMs);
          return undefined;
        }
      },
      opened: (connector) => {
        logger.info({ connector: config.id }, 'The connector could be opened now.');
        delete entry.reopening;
        entry.connector = connector;
        entry.quiet = this.#listen(connector);
        if (config.enabled) connector.start();
      },
    });
  }

  #log(config: ConnectorConfig, problem: NorthError): void {
    this.#options.logger.error({ connector: config.id, code: problem.code }, `${problem.message} ${problem.remedy}`);
  }
}

function problemOf(error: unknown): NorthError {
  return error instanceof NorthError ? error : new NorthError('CACHE_FAILED', errorText(error), { cause: error });
}
