/**
 * The connector as a library: the same cache and session as the service, without the service around it.
 */
export type {
  Durability,
  ListPage,
  ListQuery,
  MessageState,
  QuarantineQuery,
  StoredMessage,
  StoreStatus,
} from './cache/store.js';
export type { ConnectorConfig, ConnectorInput } from './config/connector.js';
export type {
  AcceptOptions,
  ConnectionStatus,
  Connector,
  ConnectorEvents,
  ConnectorState,
  ConnectorStatus,
  Grant,
  LaneCounts,
  Receipt,
} from './connector/connector.js';
export { type LibraryConnector, type OpenConnectorOptions, openConnector } from './connector/library.js';
export type { Clock } from './core/clock.js';
export type { Content, ContentType, Rejection, Setpoint, TimeValue } from './core/content.js';
export { NorthError } from './core/error.js';
export { ERRORS, type ErrorCode } from './core/error-codes.js';
export type { Lane } from './core/lane.js';
export type { Logger } from './core/logger.js';
