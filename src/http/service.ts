/** The running service as the HTTP server sees it. The server keeps no state of its own about connectors. */
import type { Connector, ConnectorEvents } from '../connector/connector.js';
import type { TestReport } from '../connector/test-report.js';
import type { InputStatus } from '../inputs/input.js';

/** What a connector said, with its id in `id`. */
export type ServiceEvent = {
  [Name in keyof ConnectorEvents]: { name: Name; data: ConnectorEvents[Name][0] };
}[keyof ConnectorEvents];

export interface Readiness {
  ready: boolean;
  /** What is not ready yet, one sentence each. */
  reasons: readonly string[];
}

export interface Service {
  readonly version: string;
  /** True from the moment that a stop was asked for; content is refused with SERVICE_STOPPING then. */
  readonly stopping: boolean;

  /** In the order of the configuration, disabled ones included. */
  connectors(): readonly Connector[];
  connector(id: string): Connector | undefined;
  inputs(): readonly InputStatus[];

  /** The connector's configuration with each secret as `[redacted]`; undefined for an unknown id. */
  connectorConfig(id: string): unknown;
  /** Validates, stores and opens it. Rejects with CONFIG_INVALID or CONNECTOR_EXISTS; nothing is changed then. */
  createConnector(config: unknown): Promise<Connector>;
  /**
   * Replaces the configuration; what is queued stays. A secret that is `[redacted]` keeps its stored value.
   * Rejects with CONFIG_INVALID or CONNECTOR_UNKNOWN.
   */
  updateConnector(id: string, config: unknown): Promise<Connector>;
  /**
   * Stops and removes it with its cache. Rejects with CONNECTOR_UNKNOWN, and with CONNECTOR_NOT_EMPTY when messages
   * wait or are quarantined and `discard` is false.
   */
  removeConnector(id: string, options: { discard: boolean }): Promise<void>;
  /** Rejects with CONNECTOR_UNKNOWN, or CONNECTOR_DISABLED. */
  startConnector(id: string): Promise<void>;
  /** Resolves when it has stopped. Rejects with CONNECTOR_UNKNOWN. */
  stopConnector(id: string): Promise<void>;
  /**
   * Connects as the connector would, or as it would with these settings, and disconnects. Never disturbs the running
   * connection. A `[redacted]` secret in the settings stands for the stored one when `id` is given, too.
   * Rejects with CONNECTOR_UNKNOWN or CONFIG_INVALID.
   */
  testConnector(target: { id?: string; settings?: unknown }, signal: AbortSignal): Promise<TestReport>;

  readiness(): Readiness;
  /** Tells what the connectors say from now on, those of later connectors included. Returns how to stop it. */
  onEvent(listener: (event: ServiceEvent) => void): () => void;
}
