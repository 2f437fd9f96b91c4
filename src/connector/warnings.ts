/** What works but should be known: weak settings, certificates near their end, what the broker does not grant. */

import type { ConnectorConfig } from '../config/connector.js';
import { settingsWarnings } from '../config/warning.js';
import type { ErrorCode } from '../core/error-codes.js';
import { certificateWarnings } from '../transport/certificate-files.js';
import type { Grant } from './connector.js';
import type { ConnectionGrant } from './link-state.js';

const DAY_MS = 86_400_000;
const EXPIRY_NOTICE_DAYS = 30;

export class Warnings {
  readonly #config: ConnectorConfig;
  readonly #tell: (code: ErrorCode, message: string) => void;
  readonly #texts = new Map<string, ErrorCode>();
  #ofConnection: string[] = [];

  constructor(config: ConnectorConfig, tell: (code: ErrorCode, message: string) => void) {
    this.#config = config;
    this.#tell = tell;
  }

  current(): readonly string[] {
    return [...this.#texts.keys()];
  }

  /** Adds a warning; one that is there already is not told again. */
  raise(code: ErrorCode, message: string): void {
    if (this.#texts.has(message)) return;
    this.#texts.set(message, code);
    this.#tell(code, message);
  }

  reviewSettings(nowMs: number): void {
    const { settings } = this.#config;
    for (const { code, path, message } of settingsWarnings(settings)) {
      this.raise(code, `The setting ${path.join('.')} ${message}.`);
    }
    if (settings.authentication.type === 'cert') {
      for (const text of certificateWarnings(settings.authentication, nowMs, EXPIRY_NOTICE_DAYS)) {
        this.raise('CERTIFICATE_EXPIRES', text);
      }
    }
  }

  /** What this connection shows; it replaces what the last one showed. */
  reviewConnection(granted: ConnectionGrant, grant: Grant, nowMs: number): void {
    for (const text of this.#ofConnection) this.#texts.delete(text);
    this.#ofConnection = [];
    const raise = (code: ErrorCode, message: string): void => {
      this.raise(code, message);
      this.#ofConnection.push(message);
    };
    const { settings } = this.#config;
    const tls = granted.opened?.tls;
    if (tls?.authorizationError !== undefined) {
      const { code, message } = tls.authorizationError;
      raise(code, `The broker's certificate is not verified (rejectUnauthorized: false): ${message}`);
    }
    if (tls?.certificate !== undefined && tls.certificate.validToMs - nowMs < EXPIRY_NOTICE_DAYS * DAY_MS) {
      const days = Math.floor((tls.certificate.validToMs - nowMs) / DAY_MS);
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
