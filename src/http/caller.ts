/** Who asks, and what they may. */
import { hash, timingSafeEqual } from 'node:crypto';
import type { Role, TokenConfig } from '../config/server.js';
import { NorthError } from '../core/error.js';

/** What a route asks for. `none` needs no token at all; `any` takes each valid one. */
export type RouteRole = Role | 'any' | 'none';

export interface Caller {
  /** The token's name; undefined where no tokens are configured. */
  name: string | undefined;
  role: Role;
  /** The connectors that it is limited to; undefined for all. */
  connectors: ReadonlySet<string> | undefined;
}

/** Where no tokens are configured, everybody on this machine may do everything. */
export const OPEN_CALLER: Caller = { name: undefined, role: 'administrator', connectors: undefined };

/** Whoever asks for what needs no token. */
export const NOBODY: Caller = { name: undefined, role: 'viewer', connectors: new Set() };

const ROLES_OF_ROUTE: Readonly<Record<Role, readonly Role[]>> = {
  producer: ['producer', 'operator', 'administrator'],
  viewer: ['viewer', 'operator', 'administrator'],
  operator: ['operator', 'administrator'],
  administrator: ['administrator'],
};

export function mayUse(caller: Caller, role: RouteRole): boolean {
  return role === 'none' || role === 'any' || ROLES_OF_ROUTE[role].includes(caller.role);
}

export function mayReach(caller: Caller, connectorId: string): boolean {
  return caller.connectors === undefined || caller.connectors.has(connectorId);
}

/** Throws TOKEN_FORBIDDEN for a connector outside the token's limits, whether it exists or not. */
export function checkReach(caller: Caller, connectorId: string): void {
  if (mayReach(caller, connectorId)) return;
  throw new NorthError('TOKEN_FORBIDDEN', `The token "${caller.name}" is not for the connector "${connectorId}".`);
}

interface Entry {
  digest: Buffer;
  caller: Caller;
}

/**
 * The configured tokens by the digest of their secrets.
 *
 * Tokens are long random texts, not passwords, so that one fast digest protects them: a slow hash per request would
 * hold the whole API to some ten requests a second. The lookup goes by digest; how long it takes says nothing about
 * the secret, because nobody can choose digests. The digests are then compared in constant time all the same.
 */
export class TokenBook {
  readonly #entries = new Map<string, Entry>();

  constructor(tokens: readonly TokenConfig[]) {
    for (const token of tokens) {
      const digest = hash('sha256', token.secret.reveal(), 'hex');
      const connectors = token.connectors === undefined ? undefined : new Set(token.connectors);
      const caller: Caller = { name: token.name, role: token.role, connectors };
      if (this.#entries.has(digest)) {
        const other = this.#entries.get(digest)?.caller.name;
        throw new NorthError('CONFIG_INVALID', `The tokens "${other}" and "${token.name}" have the same secret.`, {
          place: 'server.tokens',
        });
      }
      this.#entries.set(digest, { digest: Buffer.from(digest, 'hex'), caller });
    }
  }

  get isOpen(): boolean {
    return this.#entries.size === 0;
  }

  /**
   * Who sent this Authorization header; undefined when it proves nobody. `Basic` carries the token's name as user and
   * its secret as password: browsers and OIBus producers speak it.
   */
  find(authorization: string | undefined): Caller | undefined {
    if (this.isOpen) return OPEN_CALLER;
    if (authorization === undefined) return undefined;
    const space = authorization.indexOf(' ');
    const scheme = authorization.slice(0, space).toLowerCase();
    const value = authorization.slice(space + 1).trim();
    if (scheme === 'bearer') return this.#lookup(value);
    if (scheme !== 'basic') return undefined;
    const credentials = Buffer.from(value, 'base64').toString('utf8');
    const colon = credentials.indexOf(':');
    if (colon < 0) return undefined;
    const caller = this.#lookup(credentials.slice(colon + 1));
    return caller?.name === credentials.slice(0, colon) ? caller : undefined;
  }

  #lookup(secret: string): Caller | undefined {
    const digest = hash('sha256', secret, 'hex');
    const entry = this.#entries.get(digest);
    return entry !== undefined && timingSafeEqual(entry.digest, Buffer.from(digest, 'hex')) ? entry.caller : undefined;
  }
}
