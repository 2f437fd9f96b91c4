/**
 * The address of a broker, as people write it: `mqtts://broker.example.com:8883`, `ws://[::1]:9001/mqtt`.
 *
 * Credentials have no place in an address, because addresses are shown, logged and compared. Everything here is built
 * so that no part of a refused address reaches a message: what stands where the port should be may be a password.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { domainToASCII } from 'node:url';
import { NorthError } from '../core/error.js';

export const BROKER_SCHEMES = ['mqtt', 'tcp', 'mqtts', 'ssl', 'tls', 'ws', 'wss'] as const;
export type BrokerScheme = (typeof BROKER_SCHEMES)[number];

export interface BrokerUrl {
  scheme: BrokerScheme;
  /** True when the connection is encrypted. */
  secure: boolean;
  websocket: boolean;
  /** A name or an address; an IPv6 address without its brackets. */
  host: string;
  port: number;
  /** For websockets the path with its query, otherwise the empty string. */
  path: string;
  /** For people and logs: always with the port, never with a query, which may carry a signature. */
  display: string;
}

/** The path asked for when a websocket URL names none: the one that most brokers listen on. */
export const WEBSOCKET_PATH = '/mqtt';

const SCHEMES: Readonly<Record<BrokerScheme, { secure: boolean; websocket: boolean; port: number }>> = {
  mqtt: { secure: false, websocket: false, port: 1883 },
  tcp: { secure: false, websocket: false, port: 1883 },
  mqtts: { secure: true, websocket: false, port: 8883 },
  ssl: { secure: true, websocket: false, port: 8883 },
  tls: { secure: true, websocket: false, port: 8883 },
  ws: { secure: false, websocket: true, port: 80 },
  wss: { secure: true, websocket: true, port: 443 },
};

const EXAMPLE = 'Write it like mqtts://broker.example.com:8883.';
const HOST_LABEL = /^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)$/;

/** Throws a NorthError BROKER_URL_INVALID whose message repeats nothing of the text. */
export function parseBrokerUrl(text: string): BrokerUrl {
  if (text !== text.trim()) throw invalid('begins or ends with a space');
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?$/s.exec(text);
  if (match === null) throw credentialsOr(text, 'is not a URL', `It begins with a scheme. ${EXAMPLE}`);
  const [, rawScheme = '', authority = '', rawPath = '', query = '', fragment = ''] = match;
  if (authority.includes('@')) throw credentials();

  const scheme = rawScheme.toLowerCase();
  if (!isScheme(scheme)) {
    const schemes = BROKER_SCHEMES.map((known) => `${known}://`).join(', ');
    throw credentialsOr(text, 'has a scheme that is not known', `Use one of ${schemes}.`);
  }
  const { secure, websocket, port: defaultPort } = SCHEMES[scheme];
  const { host, port } = parseAuthority(authority, defaultPort, text);
  if (fragment !== '') throw credentialsOr(text, 'ends in a fragment (#…), which a broker never sees');
  if (!websocket && (query !== '' || !['', '/'].includes(rawPath))) {
    throw credentialsOr(text, 'has a path, which only ws:// and wss:// may have', 'Remove what follows the port.');
  }
  if (/[^\x21-\x7e]/.test(rawPath + query)) {
    throw invalid('has a character in its path that must be percent-encoded');
  }

  const path = websocket ? (rawPath === '' ? WEBSOCKET_PATH : rawPath) : '';
  const shownHost = isIPv6(host) ? `[${host}]` : host;
  return {
    scheme,
    secure,
    websocket,
    host,
    port,
    path: path + query,
    display: `${scheme}://${shownHost}:${port}${path}`,
  };
}

function parseAuthority(authority: string, defaultPort: number, text: string): { host: string; port: number } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/s.exec(authority);
  if (bracketed !== null) {
    const [, address = '', port] = bracketed;
    if (!isIPv6(address)) throw credentialsOr(text, 'has no IPv6 address between its brackets');
    return { host: address, port: parsePort(port, defaultPort, text) };
  }
  if (isIPv6(authority)) throw invalid('has an IPv6 address without brackets', 'Write it like mqtt://[::1]:1883.');
  const colon = authority.indexOf(':');
  const rawHost = colon < 0 ? authority : authority.slice(0, colon);
  if (rawHost === '') throw credentialsOr(text, 'names no host', EXAMPLE);
  const host = domainToASCII(rawHost);
  const isAddress = isIPv4(rawHost);
  const looksLikeAddress = /^[\d.]+$/.test(rawHost);
  const isName = host !== '' && host.length <= 253 && host.replace(/\.$/, '').split('.').every(isHostLabel);
  if (!isAddress && (looksLikeAddress || !isName)) {
    throw credentialsOr(text, 'has a host that is neither a name nor an address');
  }
  const port = parsePort(colon < 0 ? undefined : authority.slice(colon + 1), defaultPort, text);
  return { host: isAddress ? rawHost : host, port };
}

function isHostLabel(label: string): boolean {
  return HOST_LABEL.test(label);
}

function parsePort(port: string | undefined, defaultPort: number, text: string): number {
  if (port === undefined) return defaultPort;
  const value = /^\d{1,5}$/.test(port) ? Number(port) : 0;
  if (value < 1 || value > 65_535) {
    throw credentialsOr(text, 'has a port that is no number from 1 to 65535');
  }
  return value;
}

function isScheme(text: string): text is BrokerScheme {
  return Object.hasOwn(SCHEMES, text);
}

/** An "@" anywhere may end credentials: a slash in a password ends the authority early, and the rest looks like a path. */
function credentialsOr(text: string, problem: string, remedy?: string): NorthError {
  return text.includes('@') ? credentials() : invalid(problem, remedy);
}

function credentials(): NorthError {
  return invalid(
    'contains a user name or password',
    'Move them to authentication: { type: basic, username: …, password: … }; they are never part of the URL.',
  );
}

function invalid(problem: string, remedy = EXAMPLE): NorthError {
  return new NorthError('BROKER_URL_INVALID', `The URL ${problem}.`, { remedy });
}

/** True for names and addresses that certainly mean this machine, so that nothing travels over a network. */
export function isThisMachine(host: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, '');
  if (isLoopback(name) || name === hostname().toLowerCase()) return true;
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === name));
}

/** True for `localhost` and the loopback addresses, which other machines cannot reach. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, '');
  if (name === 'localhost' || name.endsWith('.localhost') || name === '::1') return true;
  return isIPv4(name) ? name.startsWith('127.') : /^::ffff:127\.\d+\.\d+\.\d+$/.test(name) && isIPv6(name);
}
