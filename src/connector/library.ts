/** The connector for programs that bring their own inputs: opened with a data directory of its own. */
import { openDataDirectory } from '../cache/data-directory.js';
import { type ConnectorInput, connectorSchema } from '../config/connector.js';
import { findingsOf } from '../config/finding.js';
import { shapeOf } from '../config/shape.js';
import type { Content, ContentType } from '../core/content.js';
import { NorthError } from '../core/error.js';
import type { AcceptOptions, Connector, ConnectorStatus, Receipt } from './connector.js';
import { type ConnectorEnvironment, type OpenedConnector, openConfiguredConnector } from './open-connector.js';

export interface OpenConnectorOptions extends Omit<ConnectorEnvironment, 'folder'> {
  /** Where the cache is; made if missing. One process at a time holds it. */
  dataDir: string;
}

const CLOSE_TIMEOUT_MS = 10_000;

/** A connector that says more briefly what a program mostly wants. */
export interface LibraryConnector extends Omit<Connector, 'accept' | 'status' | 'stop' | 'close'> {
  /** Resolves on stable storage. The source is `library` unless another is given. */
  accept(content: Content, options?: Partial<AcceptOptions>): Promise<Receipt>;
  status(): Promise<ConnectorStatus>;
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
    const subject = details.place ? `The setting ${details.place}` : 'The configuration';
    throw new NorthError('CONFIG_INVALID', `${subject} ${finding?.message ?? 'is wrong'}.`, details);
  }
  // An empty path would be the folder in which the program happens to run.
  if (typeof options?.dataDir !== 'string' || options.dataDir === '') {
    throw new NorthError('CONFIG_INVALID', 'The option dataDir is missing.', { remedy: 'Give the path of a folder.' });
  }
  const directory = openDataDirectory(options.dataDir);
  let connector: OpenedConnector;
  try {
    connector = await openConfiguredConnector(checked.data, {
      ...options,
      folder: directory.connectorFolder(checked.data.id),
    });
  } catch (error) {
    directory.close();
    throw error;
  }
  connector.start();
  const close = async (deadlineMs = CLOSE_TIMEOUT_MS): Promise<void> => {
    try {
      await connector.close(deadlineMs);
    } finally {
      directory.close();
    }
  };
  return {
    id: connector.id,
    name: connector.name,
    get failedBy() {
      return connector.failedBy;
    },
    takes: (type, source) => connector.takes(type, source),
    accept: async (content, accept = {}) => {
      assertContent(content);
      return connector.accept(content, { source: 'library', ...accept });
    },
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

const LIST_TYPES: readonly unknown[] = ['time-values', 'setpoints', 'messages'] satisfies ContentType[];

/** Programs without types can hand in anything. */
function assertContent(content: unknown): void {
  if (typeof content !== 'object' || content === null || !('type' in content)) {
    throw new NorthError('CONTENT_MALFORMED', 'Content is an object with a type.');
  }
  if (LIST_TYPES.includes(content.type) && !('elements' in content && Array.isArray(content.elements))) {
    throw new NorthError('CONTENT_MALFORMED', `Content of the type ${content.type} has a list of elements.`);
  }
}
