/** From the plan of a world to the configuration of its connector. */
import type { StoreLimits } from '../../src/cache/store.js';
import { type ConnectorConfig, connectorSchema } from '../../src/config/connector.js';
import type { WorldPlan } from './plan.js';
import { TRANSFORMER } from './producer.js';

export const CONNECT_TIMEOUT_MS = 3000;

/** The host of the broker that is dialled when the first one cannot be reached. */
export const SPARE_HOST = 'spare';

/** Parsed once, because checking a configuration takes as long as a part of a world. */
const BASE: ConnectorConfig = connectorSchema.parse({
  id: 'world',
  settings: {
    url: 'mqtt://broker:1883',
    clientId: 'world',
    qos: 2,
    connectTimeout: CONNECT_TIMEOUT_MS,
    ackTimeout: 5000,
    sessionExpiryInterval: '1 d',
  },
  transformers: [TRANSFORMER],
});

const UNLIMITED_BYTES = 10 * 1024 ** 3;
/** Longer than a world lasts, clock jumps included, so that nothing of the archive ages. */
const ARCHIVE_RETENTION_MS = 60 * 24 * 3_600_000;
const KEY_RETENTION_MS = 24 * 3_600_000;

export function configOf(plan: WorldPlan): ConnectorConfig {
  const reconnectPeriod = plan.reconnectPeriodMs ?? 100;
  const { messageIdProperty } = plan;
  return {
    ...BASE,
    settings: {
      ...BASE.settings,
      brokers: plan.hasSpare === true ? [`mqtt://${SPARE_HOST}:1883`] : [],
      protocolVersion: plan.fallsBack === true ? 'auto' : plan.protocolVersion === 5 ? '5' : '3.1.1',
      persistent: plan.isPersistent,
      keepalive: plan.keepaliveSeconds,
      inflightMax: plan.inflightMax,
      rateLimit: { messagesPerSecond: plan.messagesPerSecond, bytesPerSecond: 0 },
      reconnectPeriod,
      reconnectPeriodMax: reconnectPeriod,
      ...(messageIdProperty === undefined ? {} : { messageIdProperty }),
    },
  };
}

/** Longer than the longest pause before a refused message is tried again. */
const SETTLING_MS = 20 * 60_000;
/** A broker that is silent, or never answers a PUBREL, may only be slow, and gets twice the time with each connection. */
const SILENCE_SETTLING_MS = 12 * 3_600_000;

/** So long a world may take to come to rest. */
export function settlingMsOf({ broker }: WorldPlan): number {
  const bad = [...(broker.silencing ?? []), ...(broker.ignoredPubrel ?? [])];
  const isSlow = bad.length > 0 || broker.pubrecsMax !== undefined;
  return isSlow ? SILENCE_SETTLING_MS : SETTLING_MS;
}

export interface SettingsChange {
  inflightMax?: number;
  clientId?: string;
}

export function reconfigured(config: ConnectorConfig, change: SettingsChange): ConnectorConfig {
  const { inflightMax = config.settings.inflightMax, clientId } = change;
  return {
    ...config,
    settings: { ...config.settings, inflightMax, ...(clientId === undefined ? {} : { clientId }) },
  };
}

/** The way to the thread of the cache and back. */
const THREAD_MS = 8;

/** A save takes no longer on a disk that works: the transaction under way, and its own. */
export function longestSaveMs({ saveDelayMs }: WorldPlan): number {
  return 2 * (saveDelayMs[1] + THREAD_MS);
}

export function keyRetentionMsOf({ keyRetentionMs }: WorldPlan): number {
  return keyRetentionMs ?? KEY_RETENTION_MS;
}

export function limitsOf({ cache }: WorldPlan): StoreLimits {
  return {
    maxSizeBytes: cache?.maxSizeBytes ?? UNLIMITED_BYTES,
    onFull: cache?.onFull ?? 'reject',
    quarantineRetentionMs: cache?.retentionMs ?? 0,
    archiveEnabled: cache?.isArchiving === true,
    archiveRetentionMs: cache?.retentionMs ?? ARCHIVE_RETENTION_MS,
  };
}
