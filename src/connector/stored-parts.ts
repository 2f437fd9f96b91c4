/** What is stored by a connector that shares its messages out, while no service has it open. */
import type { CacheFinding, ListPage, ListQuery, QuarantineQuery } from '../cache/store.js';
import type { ConnectorConfig } from '../config/connector.js';
import { systemClock } from '../core/clock.js';
import { SILENT_LOGGER } from '../core/logger.js';
import { PartCaches } from './part-caches.js';
import { type ListedPart, listShared, removeShared, retryShared } from './shared-list.js';
import { sumOfFindings } from './shared-status.js';

export interface StoredParts {
  list(query: ListQuery): Promise<ListPage>;
  retry(which: QuarantineQuery, topic?: string): Promise<number>;
  remove(which: QuarantineQuery): Promise<number>;
  /** Oldest first. */
  findings(): Promise<readonly CacheFinding[]>;
  close(): Promise<void>;
}

/** Opens all caches of the connector; the caller holds the lock of the data directory. Rejects as `openCache` does. */
export async function openStoredParts(config: ConnectorConfig, folder: string): Promise<StoredParts> {
  const clock = systemClock({ unref: true });
  const caches = new PartCaches(config, { folder, clock, logger: SILENT_LOGGER, idempotencyRetentionMs: 0 });
  try {
    await caches.openAll();
  } catch (error) {
    await caches.closeAll();
    throw error;
  }
  const open = [...caches.open].sort(([one], [other]) => one - other);
  const parts = open.map(([number, { cache }]): ListedPart => {
    return {
      number,
      list: (query) => cache.list(query),
      retry: async (which, topic) => (await cache.retry(which, topic === undefined ? {} : { topic })).count,
      remove: (which) => cache.remove(which),
    };
  });
  return {
    list: (query) => listShared(parts, query),
    retry: (which, topic) => retryShared(parts, which, topic),
    remove: (which) => removeShared(parts, which),
    findings: async () => {
      const read = open.map(async ([number, { cache }]) => ({ number, findings: (await cache.status()).findings }));
      return sumOfFindings(await Promise.all(read));
    },
    close: () => caches.closeAll(),
  };
}
