/**
 * Every request passes the same gate before any route sees it: is the host one of ours, does it come from a page of
 * another site, whose token is it, may that role do this. The gate reads the role from the route's own declaration; a
 * path without one, such as an unknown one, takes any token.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { TokenConfig } from '../config/server.js';
import { NorthError } from '../core/error.js';
import { type Caller, mayUse, NOBODY, TokenBook } from './caller.js';
import { checkHost, checkOrigin } from './origin.js';

/** On every answer, unless a route has stricter or more fitting ones. */
export const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
} as const;

export interface GateOptions {
  tokens: readonly TokenConfig[];
  hosts: readonly string[];
}

export function addGate(app: FastifyInstance, options: GateOptions): void {
  const tokens = new TokenBook(options.tokens);
  const hosts = new Set(options.hosts.map((host) => host.toLowerCase()));
  app.decorateRequest('caller');
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(SECURITY_HEADERS);
    request.caller = NOBODY;
    try {
      request.caller = admit(request, tokens, hosts);
      done();
    } catch (error) {
      // The error handler copes with whatever was thrown; only the type of the callback is narrower.
      done(error as NorthError);
    }
  });
}

function admit(request: FastifyRequest, tokens: TokenBook, hosts: ReadonlySet<string>): Caller {
  const { headers } = request;
  if (headers.host === undefined && request.raw.httpVersion === '1.1') {
    throw new NorthError('REQUEST_INVALID', 'The request has no Host header [RFC 9112 §3.2].');
  }
  if (tokens.isOpen) checkHost(headers.host, hosts);
  checkOrigin(request.method, headers, hosts);
  const role = request.routeOptions.config.role ?? 'any';
  if (role === 'none') return NOBODY;
  const caller = tokens.find(headers.authorization);
  if (caller === undefined) {
    const problem = headers.authorization === undefined ? 'The request carries no token.' : 'The token is not known.';
    throw new NorthError('TOKEN_MISSING', problem);
  }
  if (mayUse(caller, role)) return caller;
  throw new NorthError('TOKEN_FORBIDDEN', `The role ${caller.role} does not allow this; it takes ${role}.`);
}
