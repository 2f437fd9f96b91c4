/** From the plan of a world to the configuration of its connector. */
import type { StoreLimits } from '../../src/cache/store.js';
import { type ConnectorConfig, connectorSchema } from '../../src/config/connector.js';
import type { WorldPlan } from './plan.js';
import { TRANSFORMER } from './producer.js';

export const CONNECT_TIMEOUT_MS = 3000;

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
/** Longer than a world lasts, so that nothing of the archive ages. */
const ARCHIVE_RETENTION_MS = 7 * 24 * 3_600_000;

export function configOf(plan: WorldPlan): ConnectorConfig {
  const reconnectPeriod = plan.reconnectPeriodMs ?? 100;
  const { messageIdProperty } = plan;
  return {
    ...BASE,
    settings: {
      ...BASE.settings,
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

export function limitsOf({ cache }: WorldPlan): StoreLimits {
  return {
    maxSizeBytes: cache?.maxSizeBytes ?? UNLIMITED_BYTES,
    onFull: cache?.onFull ?? 'reject',
    quarantineRetentionMs: 0,
    archiveEnabled: cache?.isArchiving === true,
    archiveRetentionMs: ARCHIVE_RETENTION_MS,
  };
}
