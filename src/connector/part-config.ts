/** What one part of a connector is configured with: its share of what holds for the connector. */
import type { StoreLimits } from '../cache/store.js';
import { CACHE_SIZE_MIN_BYTES } from '../config/caching.js';
import type { ConnectorConfig } from '../config/connector.js';
import { clientIdOfConnection } from '../config/settings.js';
import type { Logger } from '../core/logger.js';
import { READ_AHEAD_BYTES, storeLimits } from './settings-of.js';
import { FIRST_PART } from './sharing.js';

const READ_AHEAD_MIN_BYTES = 512 * 1024;

/**
 * @param clientId that of the first part.
 * @param connections how many share the rates.
 */
export function partConfig(
  config: ConnectorConfig,
  part: number,
  connections: number,
  clientId: string,
): ConnectorConfig {
  const { settings, caching } = config;
  const { will, ...others } = settings;
  const hasWill = part === FIRST_PART && will !== undefined;
  return {
    ...config,
    settings: {
      ...others,
      // The broker publishes a will when it loses one connection, and the others are there still.
      ...(hasWill ? { will } : {}),
      clientId: clientIdOfConnection(clientId, part),
      rateLimit: shareOfRate(settings.rateLimit, connections),
    },
    caching: { ...caching, throttling: shareOfRate(caching.throttling, connections) },
    // What is made of content is shared out; no part makes anything of it.
    transformers: [],
  };
}

/** @param sizeOutOfUseBytes what is taken by parts that get nothing new. */
export function partLimits(config: ConnectorConfig, connections: number, sizeOutOfUseBytes: number): StoreLimits {
  const limits = storeLimits(config.caching);
  const share = Math.floor((limits.maxSizeBytes - sizeOutOfUseBytes) / connections);
  return { ...limits, maxSizeBytes: Math.max(CACHE_SIZE_MIN_BYTES, share) };
}

export function readAheadOfPart(connections: number): number {
  return Math.max(READ_AHEAD_MIN_BYTES, Math.floor(READ_AHEAD_BYTES / connections));
}

/** Adds to each line the number of the connection that it is about. */
export function partLogger(logger: Logger, part: number): Logger {
  return {
    debug: (fields, message) => logger.debug({ ...fields, connection: part }, message),
    info: (fields, message) => logger.info({ ...fields, connection: part }, message),
    warn: (fields, message) => logger.warn({ ...fields, connection: part }, message),
    error: (fields, message) => logger.error({ ...fields, connection: part }, message),
  };
}

/** Zero is no limit, and stays none. */
function shareOfRate<T extends { messagesPerSecond: number; bytesPerSecond: number }>(rate: T, connections: number): T {
  const { messagesPerSecond, bytesPerSecond } = rate;
  return { ...rate, messagesPerSecond: messagesPerSecond / connections, bytesPerSecond: bytesPerSecond / connections };
}
