/** The connector for programs that bring their own inputs: opened with a data directory of its own. */
import { openDataDirectory } from '../cache/data-directory.js';
import { type ConnectorInput, connectorSchema } from '../config/connector.js';
import { findingsOf } from '../config/finding.js';
import { shapeOf } from '../config/shape.js';
import type { Content } from '../core/content.js';
import { NorthError } from '../core/error.js';
import type { AcceptOptions, Connector, Receipt } from './connector.js';
import { type ConnectorEnvironment, openLiveConnector } from './open-connector.js';

export interface OpenConnectorOptions extends Omit<ConnectorEnvironment, 'folder'> {
  /** Where the cache is; made if missing. One process at a time holds it. */
  dataDir: string;
}

const CLOSE_TIMEOUT_MS = 10_000;

/** A connector that says more briefly what a program mostly wants. */
export interface LibraryConnector extends Omit<Connector, 'accept' | 'stop' | 'close'> {
  /** Resolves on stable storage. The source is `library` unless another is given. */
  accept(content: Content, options?: Partial<AcceptOptions>): Promise<Receipt>;
  /** Finishes what is in flight within the deadline, disconnects, and closes the cache. */
  stop(deadlineMs?: number): Promise<void>;
  /** The same as `stop`. */
  close(deadlineMs?: number): Promise<void>;
}

/**
 * Opens the connector on its data directory and starts to connect. Rejects with CONFIG_INVALID, which tells the first
 * problem, or with CACHE_LOCKED when another process holds the directory.
 */
export async function openConnector(config: ConnectorInput, options: OpenConnectorOptions): Promise<LibraryConnector> {
  const checked = connectorSchema.safeParse(config);
  if (!checked.success) {
    const [finding] = findingsOf(checked.error.issues, config, shapeOf(connectorSchema));
    const details = finding === undefined ? {} : { place: finding.path.join('.'), remedy: finding.hint };
    throw new NorthError('CONFIG_INVALID', `The configuration ${finding?.message ?? 'is wrong'}.`, details);
  }
  const directory = openDataDirectory(options.dataDir);
  let connector: Connector;
  try {
    connector = await openLiveConnector(checked.data, {
      ...options,
      folder: directory.connectorFolder(checked.data.id),
    });
  } catch (error) {
    directory.close();
    throw error;
  }
  connector.start();
  const close = async (deadlineMs = CLOSE_TIMEOUT_MS): Promise<void> => {
    await connector.close(deadlineMs);
    directory.close();
  };
  return {
    id: connector.id,
    name: connector.name,
    takes: (type, source) => connector.takes(type, source),
    accept: (content, accept = {}) => connector.accept(content, { source: 'library', ...accept }),
    acceptFile: (content, file) => connector.acceptFile(content, file),
    position: (source) => connector.position(source),
    status: () => connector.status(),
    list: (query) => connector.list(query),
    retry: (which, topic) => connector.retry(which, topic),
    remove: (which) => connector.remove(which),
    on: (event, listener) => connector.on(event, listener),
    start: () => connector.start(),
    stop: close,
    close,
  };
}
