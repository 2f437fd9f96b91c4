/** Stands for a connector whose cache could not be opened: the others work, and this one says what is wrong. */

import { NorthError } from '../core/error.js';
import { ERRORS } from '../core/error-codes.js';
import { LANES, type Lane } from '../core/lane.js';
import type { Connector, FailedStatus, LaneCounts } from './connector.js';

/** True when the cause may pass by itself, such as a disk that is full: opening again may succeed without a restart. */
export function mayPass(error: NorthError): boolean {
  return ERRORS[error.code].retry !== 'never';
}

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

  get failedBy(): NorthError | undefined {
    return this.#enabled ? this.#error : undefined;
  }

  /** It is for `accept` to say why not: that there is no transformer would be another reason, and perhaps a wrong one. */
  takes(): boolean {
    return true;
  }

  accept(): Promise<never> {
    return this.#refuse();
  }

  acceptFile(): Promise<never> {
    return this.#refuse();
  }

  /** To say that there is none would let a file that was interrupted be taken from its start when the cache is open. */
  position(): Promise<undefined> {
    return this.#enabled ? this.#refuse() : Promise.resolve(undefined);
  }

  list(): Promise<never> {
    return this.#refuse();
  }

  retry(): Promise<never> {
    return this.#refuse();
  }

  remove(): Promise<never> {
    return this.#refuse();
  }

  on(): () => void {
    return () => undefined;
  }

  start(): void {
    // There is nothing to connect for until the cache is open.
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  status(): Promise<FailedStatus> {
    const counts = {} as Record<Lane, LaneCounts>;
    for (const lane of LANES) {
      counts[lane] = { accepted: 0, published: 0, quarantined: 0, dropped: 0, possibleDuplicates: 0, noSubscribers: 0 };
    }
    const error = this.#error;
    const outlook = mayPass(error) ? ' It is tried again by itself.' : '';
    return Promise.resolve({
      id: this.id,
      name: this.name,
      enabled: this.#enabled,
      state: 'failed',
      description: `failed: ${error.message}${outlook}`,
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
      cache: undefined,
    });
  }

  /** A producer is told what keeps its content from being stored, and never that its content is at fault. */
  #refuse(): Promise<never> {
    const { id } = this;
    if (!this.#enabled) {
      return Promise.reject(new NorthError('CONNECTOR_DISABLED', `The connector ${id} is disabled.`));
    }
    const error = this.#error;
    if (error.code.startsWith('CACHE_')) return Promise.reject(error);
    const text = `The connector ${id} could not be opened (${error.code}): ${error.message}`;
    return Promise.reject(new NorthError('CONNECTOR_FAILED', text, { remedy: error.remedy, cause: error }));
  }
}
