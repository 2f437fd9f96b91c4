/**
 * The way of `mqtt-north cache` to a connector's messages: through the running service when there is one, because two
 * processes must not change one cache; otherwise straight to the files, under their lock.
 */
import { openDataDirectory } from '../cache/data-directory.js';
import type { CacheFinding, ListPage, ListQuery, MessageState, QuarantineQuery } from '../cache/store.js';
import type { Config } from '../config/config.js';
import { openStoredParts } from '../connector/stored-parts.js';
import { errorText, NorthError } from '../core/error.js';
import { isErrorCode } from '../core/error-codes.js';
import type { Lane } from '../core/lane.js';
import { type StoredMessageView, viewStoredMessage } from '../http/stored-message-view.js';
import { type RunningAddress, readRunFile } from '../service/run-file.js';

export interface MessageFilter {
  state: MessageState;
  lane?: Lane;
  topic?: string;
}

export interface MessagePage {
  messages: readonly StoredMessageView[];
  cursor: string | undefined;
}

export interface CacheAccess {
  list(filter: MessageFilter, after: string | undefined, limit: number): Promise<MessagePage>;
  retry(which: QuarantineQuery, topic?: string): Promise<number>;
  remove(which: QuarantineQuery): Promise<number>;
  /** What was found damaged in the cache, oldest first. */
  findings(): Promise<readonly CacheFinding[]>;
  close(): Promise<void>;
}

/** Rejects with CACHE_LOCKED when another process than a service holds the data directory. */
export async function openCacheAccess(config: Config, connectorId: string): Promise<CacheAccess> {
  const running = readRunFile(config.dataDir);
  if (running !== undefined && (await isAlive(running))) return new ServiceAccess(running, connectorId);
  const directory = openDataDirectory(config.dataDir);
  try {
    const connector = connectorConfig(
      config.connectors.find(({ id }) => id === connectorId),
      connectorId,
    );
    const parts = await openStoredParts(connector, directory.connectorFolder(connectorId));
    return {
      list: async (filter, after, limit) => pageOf(await parts.list(queryOf(filter, after, limit))),
      retry: (which, topic) => parts.retry(which, topic),
      remove: (which) => parts.remove(which),
      findings: () => parts.findings(),
      close: async () => {
        await parts.close();
        directory.close();
      },
    };
  } catch (error) {
    directory.close();
    throw error;
  }
}

function connectorConfig<T>(connector: T | undefined, id: string): T {
  if (connector !== undefined) return connector;
  throw new NorthError('CONNECTOR_UNKNOWN', `There is no connector "${id}" in the configuration.`);
}

function queryOf(filter: MessageFilter, after: string | undefined, limit: number): ListQuery {
  return { ...filter, limit, ...(after === undefined ? {} : { after }) };
}

function pageOf(page: ListPage): MessagePage {
  return {
    messages: page.messages.map((message) => viewStoredMessage(message, Number.MAX_SAFE_INTEGER)),
    cursor: page.cursor,
  };
}

/** A file of a service that was killed points to nobody, or to another program on the same port. */
async function isAlive(address: RunningAddress): Promise<boolean> {
  try {
    process.kill(address.pid, 0);
    const answer = await fetch(`${address.url}/healthz`, { signal: AbortSignal.timeout(2000) });
    return answer.ok;
  } catch {
    return false;
  }
}

class ServiceAccess implements CacheAccess {
  readonly #address: RunningAddress;
  readonly #path: string;

  constructor(address: RunningAddress, connectorId: string) {
    this.#address = address;
    this.#path = `/api/connectors/${encodeURIComponent(connectorId)}`;
  }

  async findings(): Promise<readonly CacheFinding[]> {
    const { status } = (await this.#call('GET', '')) as { status: { cache?: { findings: CacheFinding[] } } };
    return status.cache?.findings ?? [];
  }

  async list(filter: MessageFilter, after: string | undefined, limit: number): Promise<MessagePage> {
    const query = new URLSearchParams({ ...filter, limit: String(limit) });
    if (after !== undefined) query.set('after', after);
    const page = (await this.#call('GET', `/cache?${query}`)) as { messages: StoredMessageView[]; cursor?: string };
    return { messages: page.messages, cursor: page.cursor };
  }

  async retry(which: QuarantineQuery, topic?: string): Promise<number> {
    const body = topic === undefined ? which : { ...which, topic };
    return ((await this.#call('POST', '/cache/retry', body)) as { count: number }).count;
  }

  async remove(which: QuarantineQuery): Promise<number> {
    return ((await this.#call('POST', '/cache/remove', which)) as { count: number }).count;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #call(method: 'GET' | 'POST', suffix: string, body?: unknown): Promise<unknown> {
    const headers: Record<string, string> = {};
    if (this.#address.token !== undefined) headers.authorization = `Bearer ${this.#address.token}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    const request: RequestInit = { method, headers };
    if (body !== undefined) request.body = JSON.stringify(body);
    let answer: Response;
    try {
      answer = await fetch(this.#address.url + this.#path + suffix, request);
    } catch (error) {
      throw new NorthError('SERVICE_UNREACHABLE', `The service does not answer: ${errorText(error)}.`, {
        cause: error,
      });
    }
    const value: unknown = await answer.json();
    if (answer.ok) return value;
    const { code, message, remedy } = value as { code?: string; message?: string; remedy?: string };
    const known = code !== undefined && isErrorCode(code) ? code : 'INTERNAL';
    throw new NorthError(
      known,
      message ?? `The service answered ${answer.status}.`,
      remedy === undefined ? {} : { remedy },
    );
  }
}
