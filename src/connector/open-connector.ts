/** Opens a connector on its folder of the data directory, with one connection or with several. */
import { openCache } from '../cache/threaded-cache.js';
import type { ConnectorConfig } from '../config/connector.js';
import { type Clock, systemClock } from '../core/clock.js';
import { type Logger, SILENT_LOGGER } from '../core/logger.js';
import { LiveConnector } from './live-connector.js';
import { isShared, openSharedConnector } from './open-shared-connector.js';
import { storeLimits } from './settings-of.js';
import type { SharedConnector } from './shared-connector.js';

const IDEMPOTENCY_RETENTION_MS = 24 * 3_600_000;

export type OpenedConnector = LiveConnector | SharedConnector;

export interface ConnectorEnvironment {
  /** The connector's own folder; made if missing. The caller holds the lock of the data directory around it. */
  folder: string;
  clock?: Clock;
  logger?: Logger;
  random?: () => number;
  idempotencyRetentionMs?: number;
}

/** As `openLiveConnector`, with as many connections as are configured; what waits may keep another number in effect. */
export async function openConfiguredConnector(
  config: ConnectorConfig,
  environment: ConnectorEnvironment,
): Promise<OpenedConnector> {
  const { folder } = environment;
  if (!isShared(config, folder)) return openLiveConnector(config, environment);
  return openSharedConnector(config, {
    folder,
    clock: environment.clock ?? systemClock(),
    logger: environment.logger ?? SILENT_LOGGER,
    random: environment.random ?? Math.random,
    idempotencyRetentionMs: environment.idempotencyRetentionMs ?? IDEMPOTENCY_RETENTION_MS,
  });
}

/**
 * One connection, whatever is configured. Resolves when the cache is open; the connection is not started. Rejects with
 * CONFIG_INVALID when a transformer cannot be compiled, and with CACHE_NEWER or CACHE_FAILED.
 */
export async function openLiveConnector(
  config: ConnectorConfig,
  environment: ConnectorEnvironment,
): Promise<LiveConnector> {
  const clock = environment.clock ?? systemClock();
  const logger = environment.logger ?? SILENT_LOGGER;
  const cache = await openCache({
    folder: environment.folder,
    limits: storeLimits(config.caching),
    clock,
    onFound: ({ code, message }) => logger.error({ connector: config.id, code }, message),
  });
  try {
    return new LiveConnector({
      config,
      cache,
      opened: await cache.status(),
      clock,
      logger,
      random: environment.random ?? Math.random,
      idempotencyRetentionMs: environment.idempotencyRetentionMs ?? IDEMPOTENCY_RETENTION_MS,
    });
  } catch (error) {
    await cache.close();
    throw error;
  }
}
