/** What works but should be known: weak settings, certificates near their end, what the broker does not grant. */

import type { ConnectorConfig } from '../config/connector.js';
import { settingsWarnings } from '../config/warning.js';
import type { ErrorCode } from '../core/error-codes.js';
import { certificateWarnings } from '../transport/certificate-files.js';
import type { Grant } from './connector.js';
import type { ConnectionGrant } from './link-state.js';

const DAY_MS = 86_400_000;
const EXPIRY_NOTICE_DAYS = 30;

/** Warnings that one connection may bring: a broker that refuses a million topics is one problem, not a million. */
const OF_CONNECTION_MAX = 100;

export class Warnings {
  readonly #config: ConnectorConfig;
  /** Logs and reports a warning without keeping it. */
  readonly tell: (code: ErrorCode, message: string) => void;
  readonly #ofSettings = new Set<string>();
  readonly #ofConnection = new Set<string>();

  constructor(config: ConnectorConfig, tell: (code: ErrorCode, message: string) => void) {
    this.#config = config;
    this.tell = tell;
  }

  /**
   * What outlives connections is given by who knows it.
   *
   * @param narrowedTo the window while a message is sought that makes the broker close.
   * @param others what is wrong beyond settings and connection: another client with our client id, a full disk.
   */
  current(narrowedTo?: number, others: readonly (string | undefined)[] = []): readonly string[] {
    const search = narrowedTo === undefined ? undefined : searchText(narrowedTo);
    const lasting = [search, ...others].filter((text) => text !== undefined);
    return [...this.#ofSettings, ...this.#ofConnection, ...lasting];
  }

  /** Adds what came up during this connection, until the next one; what is there already is not told again. */
  raise(code: ErrorCode, message: string): void {
    const count = this.#ofConnection.size;
    if (count > OF_CONNECTION_MAX) return;
    this.#add(this.#ofConnection, code, count < OF_CONNECTION_MAX ? message : 'Further warnings are not listed.');
  }

  /** A producer that repeats a request with a key that was forgotten is published twice. */
  keysForgotten(): void {
    const text =
      'More idempotency keys came than a quarter of caching.maxSize holds: the oldest are forgotten before their time. ' +
      'Raise caching.maxSize, or lower server.idempotencyRetention.';
    this.#add(this.#ofSettings, 'SETTING_DOUBTFUL', text);
  }

  #add(texts: Set<string>, code: ErrorCode, message: string): void {
    if (texts.has(message)) return;
    texts.add(message);
    this.tell(code, message);
  }

  reviewSettings(nowMs: number): void {
    const { settings } = this.#config;
    for (const { code, path, message, hint } of settingsWarnings(settings)) {
      this.#add(this.#ofSettings, code, `The setting ${path.join('.')} ${message}. ${hint}`);
    }
    if (settings.authentication.type === 'cert') {
      for (const text of certificateWarnings(settings.authentication, nowMs, EXPIRY_NOTICE_DAYS)) {
        this.#add(this.#ofSettings, 'CERTIFICATE_EXPIRES', text);
      }
    }
  }

  /** What this connection shows; it replaces what the last one showed. */
  reviewConnection(granted: ConnectionGrant, grant: Grant, nowMs: number): void {
    this.#ofConnection.clear();
    const raise = (code: ErrorCode, message: string): void => this.raise(code, message);
    const { settings } = this.#config;
    const tls = granted.opened?.tls;
    if (tls?.authorizationError !== undefined) {
      const { code, message } = tls.authorizationError;
      raise(code, `The broker's certificate is not verified (rejectUnauthorized: false): ${message}`);
    }
    const leftMs = (tls?.certificate?.validToMs ?? Number.POSITIVE_INFINITY) - nowMs;
    // An expired certificate that is taken unverified has its warning already.
    if (leftMs < EXPIRY_NOTICE_DAYS * DAY_MS && tls?.authorizationError?.code !== 'TLS_EXPIRED') {
      const days = Math.floor(leftMs / DAY_MS);
      raise('CERTIFICATE_EXPIRES', `The broker's certificate ${days < 0 ? 'has expired' : `expires in ${days} days`}.`);
    }
    if (granted.isSessionLost && settings.persistent) {
      raise('SESSION_LOST', 'The broker had lost our session; what was in doubt is sent again.');
    }
    if (grant.maximumQos < settings.qos) {
      raise('DELIVERY_DOWNGRADED', `The broker grants QoS ${grant.maximumQos}; ${settings.qos} was asked for.`);
    }
    if (!grant.retainAvailable && settings.retain) {
      raise('RETAIN_UNAVAILABLE', 'The broker keeps no retained messages; they are sent without the flag.');
    }
  }
}

export function searchText(window: number): string {
  return `The broker closes the connection again and again; looking for the message, ${window} at a time.`;
}
