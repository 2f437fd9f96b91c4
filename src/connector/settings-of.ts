/** From a connector's configuration to the options of its parts. */

import type { StoreLimits } from '../cache/store.js';
import type { CachingConfig } from '../config/caching.js';
import type { ConnectorConfig } from '../config/connector.js';
import type { ConnectionSettings } from '../config/settings.js';
import { brokerUrls } from '../config/settings.js';
import { joinTopic } from '../core/topic.js';
import type { SessionOptions } from '../session/session.js';
import type { MessageDefaults } from '../transform/collector.js';
import type { TransportOptions } from '../transport/transport.js';
import type { Will } from '../wire/control-packets.js';
import type { Attempt, ReconnectOptions } from './reconnect.js';

/** Of each lane; with what comes from memory, a session holds three times as much of one at most, and one batch. */
export const READ_AHEAD_BYTES = 4 * 1024 * 1024;

export function messageDefaults(settings: ConnectionSettings): MessageDefaults {
  return {
    qos: settings.qos,
    retain: settings.retain,
    expirySeconds: settings.messageExpiry,
    topicPrefix: settings.topicPrefix,
    userProperties: settings.userProperties,
  };
}

/** @param cacheId makes a client id that stays the same for the life of the cache, where none is configured. */
export function clientIdOf(settings: ConnectionSettings, cacheId: string): string {
  return settings.clientId ?? `mqtt-north-${cacheId}`;
}

export function sessionOptions(
  config: ConnectorConfig,
  cacheId: string,
  readAheadBytes = READ_AHEAD_BYTES,
): SessionOptions {
  const { settings, caching } = config;
  const basic = settings.authentication.type === 'basic' ? settings.authentication : undefined;
  return {
    cacheId,
    clientId: clientIdOf(settings, cacheId),
    persistent: settings.persistent,
    sessionExpirySeconds: settings.sessionExpiryInterval,
    keepaliveSeconds: settings.keepalive,
    username: basic?.username,
    password: basic?.password.reveal(),
    will: willOf(settings),
    ackTimeoutMs: settings.ackTimeout,
    inflightMax: settings.inflightMax,
    messagesPerSecond: smallerLimit(settings.rateLimit.messagesPerSecond, caching.throttling.messagesPerSecond),
    bytesPerSecond: smallerLimit(settings.rateLimit.bytesPerSecond, caching.throttling.bytesPerSecond),
    maxAgeMs: caching.maxAge,
    readAheadBytes,
    messageIdProperty: settings.messageIdProperty,
  };
}

export function willOf(settings: ConnectionSettings): Will | undefined {
  const will = settings.will;
  if (will === undefined) return undefined;
  return {
    topic: joinTopic(settings.topicPrefix, will.topic),
    payload: Buffer.from(will.payload),
    qos: will.qos,
    retain: will.retain,
    delaySeconds: will.delay,
  };
}

export function transportOptions(
  settings: ConnectionSettings,
  broker: Attempt['broker'],
  timeoutMs: number,
): TransportOptions {
  const { authentication } = settings;
  const options: TransportOptions = {
    secure: broker.secure,
    websocket: broker.websocket,
    host: broker.host,
    port: broker.port,
    path: broker.path,
    connectTimeoutMs: timeoutMs,
    rejectUnauthorized: settings.rejectUnauthorized,
    minTlsVersion: settings.minTlsVersion,
    alpn: settings.alpn,
  };
  if (authentication.caFilePath !== undefined) options.caFilePath = authentication.caFilePath;
  if (settings.servername !== undefined) options.servername = settings.servername;
  if (authentication.type === 'cert') {
    options.certFilePath = authentication.certFilePath;
    options.keyFilePath = authentication.keyFilePath;
    if (settings.keyPassphrase !== undefined) options.keyPassphrase = settings.keyPassphrase.reveal();
  }
  return options;
}

export function reconnectOptions(settings: ConnectionSettings): ReconnectOptions {
  return {
    brokers: brokerUrls(settings),
    protocolVersion: settings.protocolVersion,
    reconnectPeriodMs: settings.reconnectPeriod,
    reconnectPeriodMaxMs: settings.reconnectPeriodMax,
  };
}

export function storeLimits(caching: CachingConfig): StoreLimits {
  return {
    maxSizeBytes: caching.maxSize,
    onFull: caching.onFull,
    quarantineRetentionMs: caching.quarantine.retentionDuration,
    archiveEnabled: caching.archive.enabled,
    archiveRetentionMs: caching.archive.retentionDuration,
  };
}

/** Zero means no limit, so that the smaller limit is not simply the smaller number. */
function smallerLimit(one: number, other: number): number {
  if (one === 0) return other;
  return other === 0 ? one : Math.min(one, other);
}
