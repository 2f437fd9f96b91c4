/** Stands for a connector whose cache could not be opened: the others work, and this one says what is wrong. */

import type { NorthError } from '../core/error.js';
import { LANES, type Lane } from '../core/lane.js';
import type { Connector, ConnectorStatus, LaneCounts } from './connector.js';

const NO_LANE: Readonly<Record<Lane, number>> = { command: 0, alert: 0, telemetry: 0 };

export class FailedConnector implements Connector {
  readonly id: string;
  readonly name: string;
  readonly #enabled: boolean;
  readonly #error: NorthError;
  readonly #sinceMs: number;

  constructor(config: { id: string; name: string; enabled: boolean }, error: NorthError, sinceMs: number) {
    this.id = config.id;
    this.name = config.name;
    this.#enabled = config.enabled;
    this.#error = error;
    this.#sinceMs = sinceMs;
  }

  takes(): boolean {
    return this.#enabled;
  }

  accept(): Promise<never> {
    return Promise.reject(this.#error);
  }

  acceptFile(): Promise<never> {
    return Promise.reject(this.#error);
  }

  position(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  list(): Promise<never> {
    return Promise.reject(this.#error);
  }

  retry(): Promise<never> {
    return Promise.reject(this.#error);
  }

  remove(): Promise<never> {
    return Promise.reject(this.#error);
  }

  on(): () => void {
    return () => undefined;
  }

  start(): void {
    // There is nothing to connect for until the cause is mended and the service started again.
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  status(): Promise<ConnectorStatus> {
    const counts = {} as Record<Lane, LaneCounts>;
    for (const lane of LANES) {
      counts[lane] = { accepted: 0, published: 0, quarantined: 0, dropped: 0, possibleDuplicates: 0, noSubscribers: 0 };
    }
    const error = this.#error;
    return Promise.resolve({
      id: this.id,
      name: this.name,
      enabled: this.#enabled,
      state: 'failed',
      description: `failed: ${error.message}`,
      sinceMs: this.#sinceMs,
      broker: undefined,
      grant: undefined,
      lastError: { ...error.toJSON(), atMs: this.#sinceMs },
      warnings: [],
      counts,
      reconnects: 0,
      inflight: 0,
      window: 0,
      lastAcknowledgedAtMs: undefined,
      cache: {
        cacheId: '',
        nextOffsets: NO_LANE,
        waitingCounts: NO_LANE,
        waitingSizeBytes: 0,
        oldestAcceptedAtMs: undefined,
        quarantinedCount: 0,
        archivedCount: 0,
        archiveEvictedCount: 0,
        sizeBytes: 0,
        findings: [],
      },
    });
  }
}
