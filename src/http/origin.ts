/**
 * Keeps web pages of other sites away from an API that is open to this machine.
 *
 * A page can send requests from the browser of a person who sits at this machine. Two ways are closed here. It can
 * name us directly (cross-site request): browsers then send `Origin` or `Sec-Fetch-Site`, and what changes anything is
 * refused. Or it can let its own host name point to 127.0.0.1 once it is loaded (DNS rebinding): to the browser we are
 * then its own site, but the `Host` header still carries that name, and only names that are ours are answered. An IP
 * address as host is always ours, since rebinding needs a name.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import { NorthError } from '../core/error.js';

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** The host name of a Host header without its port; undefined when it is none. */
export function hostName(header: string): string | undefined {
  const match = /^(\[[0-9a-f:.%]+\]|[^:[\]/\\@?#\s]+)(?::\d{1,5})?$/i.exec(header);
  const name = match?.[1]?.toLowerCase().replace(/\.$/, '');
  return name?.startsWith('[') === true ? name.slice(1, -1) : name;
}

function isOurs(name: string, hosts: ReadonlySet<string>): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || isIP(name) !== 0 || hosts.has(name);
}

/**
 * Throws HOST_FORBIDDEN for a foreign name. A request without a Host header comes from no browser.
 * `hosts` are the names, in lower case, that the configuration allows besides.
 */
export function checkHost(header: string | undefined, hosts: ReadonlySet<string>): void {
  if (header === undefined) return;
  const name = hostName(header);
  if (name !== undefined && isOurs(name, hosts)) return;
  throw new NorthError('HOST_FORBIDDEN', `The host "${header.slice(0, 100)}" is not one of this server's names.`);
}

/**
 * Throws ORIGIN_FORBIDDEN for a request that changes something and that a page of another origin sent. A proxy in front
 * of us may rewrite the Host header; a page of one of `hosts` is our own then, too.
 */
export function checkOrigin(method: string, headers: IncomingHttpHeaders, hosts: ReadonlySet<string>): void {
  if (SAFE_METHODS.has(method)) return;
  const { origin } = headers;
  if (origin !== undefined) {
    const own = URL.canParse(origin) ? new URL(origin) : undefined;
    if (own !== undefined && own.host !== '') {
      if (hosts.has(own.hostname) || own.host === withoutDefaultPort(origin, headers.host)) return;
    }
    throw new NorthError('ORIGIN_FORBIDDEN', `The origin "${origin.slice(0, 100)}" is not this server's own.`);
  }
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    throw new NorthError('ORIGIN_FORBIDDEN', 'The request comes from a web page of another site.');
  }
}

/** A Host header may carry the scheme's default port, which an origin never does. */
function withoutDefaultPort(origin: string, host: string | undefined): string | undefined {
  if (host === undefined) return undefined;
  const scheme = origin.slice(0, origin.indexOf(':'));
  const text = `${scheme}://${host}`;
  return URL.canParse(text) ? new URL(text).host : undefined;
}
