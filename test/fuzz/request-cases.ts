/** Requests: right ones to every route, and everything that can be wrong with one, from the path to the last byte. */
import fc from 'fast-check';
import { contentRequest, oibusFile, oibusObject, type Request } from './content-requests.js';
import { type ByteText, fromBytes, type Mutation, mutate, mutations } from './mutation.js';
import { administration, cacheView, cacheWork, view } from './operator-requests.js';
import { weighted } from './weighted.js';

export interface RequestsCase {
  /** The bytes as they are sent. */
  bytes: ByteText;
  cuts: number[];
  /** The client does not wait for the answer, and is gone so long after it has sent all. */
  leavesAfterMs?: number | undefined;
}

const header = weighted<[string, string]>(
  [
    4,
    fc.tuple(
      fc.constant('Idempotency-Key'),
      fc.constantFrom('k1', 'k2', 'k3', 'k4', '', 'x'.repeat(256), '\u00e9', 'a\tb'),
    ),
  ],
  [1, fc.tuple(fc.constant('Authorization'), fc.constantFrom('Bearer x', 'Basic Og==', 'Basic !', 'x', '', 'bearer'))],
  [
    1,
    fc.tuple(
      fc.constant('Host'),
      fc.constantFrom('evil.example', 'localhost', '', '[::1]:80', '127.0.0.1:99999', 'a b', '@'),
    ),
  ],
  [1, fc.tuple(fc.constant('Origin'), fc.constantFrom('http://evil.example', 'null', 'http://127.0.0.1', 'x', ''))],
  [
    1,
    fc.tuple(
      fc.constant('Content-Encoding'),
      fc.constantFrom('gzip', 'deflate', 'br', 'identity', 'gzip, gzip', '', 'x-gzip'),
    ),
  ],
  [
    1,
    fc.tuple(
      fc.constant('Transfer-Encoding'),
      fc.constantFrom('chunked', 'gzip, chunked', 'identity', 'x', 'chunked, chunked'),
    ),
  ],
  [
    1,
    fc.tuple(
      fc.constant('Content-Length'),
      fc.constantFrom('0', '1', '5', '99999999', '-1', '1e3', '18446744073709551616', 'x', '3, 3'),
    ),
  ],
  [1, fc.tuple(fc.constant('Expect'), fc.constantFrom('100-continue', 'x'))],
  [1, fc.tuple(fc.constant('Connection'), fc.constantFrom('keep-alive', 'upgrade', 'close, x', 'HTTP2-Settings'))],
  [1, fc.tuple(fc.constant('Upgrade'), fc.constantFrom('websocket', 'h2c', 'TLS/1.0'))],
  [
    1,
    fc.tuple(
      fc.constantFrom('Accept', 'Cookie', 'X-Forwarded-For', 'Range', '__proto__', 'constructor', 'If-None-Match'),
      fc.constantFrom('text/html', 'bytes=0-', '*', 'x'.repeat(20_000), '', '\u00ff'),
    ),
  ],
);

const request = weighted<Request>(
  [50, contentRequest],
  [8, oibusObject],
  [10, oibusFile],
  [14, view],
  [6, cacheView],
  [4, cacheWork],
  [1, administration],
);

interface Framing {
  version: string;
  length: 'right' | 'chunked' | 'none' | 'less' | 'more';
  lineEnd: string;
  extras: [string, string][];
  damage: Mutation[];
  cuts: number[];
}

const framing: fc.Arbitrary<Framing> = fc.record({
  version: weighted<string>(
    [30, fc.constant('HTTP/1.1')],
    [1, fc.constantFrom('HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/1.1 ', 'http/1.1', '')],
  ),
  length: weighted<Framing['length']>(
    [20, fc.constant('right')],
    [4, fc.constant('chunked')],
    [1, fc.constantFrom('none', 'less', 'more')],
  ),
  lineEnd: weighted<string>([40, fc.constant('\r\n')], [1, fc.constantFrom('\n', '\r', '\n\r')]),
  extras: weighted<[string, string][]>([4, fc.constant([])], [1, fc.array(header, { maxLength: 2 })]),
  damage: weighted<Mutation[]>(
    [12, fc.constant([])],
    [
      1,
      mutations(
        [
          'Content-Length: 4\r\n',
          'Transfer-Encoding: chunked\r\n',
          '\r\n\r\n',
          'HTTP/1.1',
          'POST /api/content ',
          '0\r\n\r\n',
          'ffffffffffffffff\r\n',
        ],
        3,
      ),
    ],
  ),
  cuts: weighted<number[]>([3, fc.constant([])], [1, fc.array(fc.nat(0xffff), { maxLength: 3 })]),
});

/** A hundred bombs of headers would be all that is tried, so that this one is rare. */
const bomb = fc
  .constantFrom(1, 100, 3000)
  .map((count): [string, string][] => Array.from({ length: count }, (_, i) => [`X-${i}`, 'y']));

export const requestsCase: fc.Arbitrary<RequestsCase> = fc
  .tuple(
    request,
    framing,
    weighted<[string, string][]>([60, fc.constant([])], [1, bomb]),
    weighted<number | undefined>([14, fc.constant(undefined)], [1, fc.nat(8)]),
  )
  .map(([one, frame, further, leavesAfterMs]) => {
    const { version, length, lineEnd, extras, damage, cuts } = frame;
    const headers: [string, string][] = [...one.headers];
    if (!extras.some(([name]) => name === 'Host')) headers.unshift(['Host', '127.0.0.1']);
    headers.push(['Connection', 'close'], ...extras, ...further);
    let body = one.body;
    const size = body.length;
    if (length === 'chunked') {
      headers.push(['Transfer-Encoding', 'chunked']);
      body = Buffer.concat([
        Buffer.from(`${size.toString(16)}\r\n`),
        body,
        Buffer.from(size === 0 ? '\r\n' : '\r\n0\r\n\r\n'),
      ]);
    } else if (length !== 'none' && (size > 0 || one.method !== 'GET')) {
      const told = length === 'less' ? Math.max(0, size - 3) : length === 'more' ? size + 3 : size;
      headers.push(['Content-Length', String(told)]);
    }
    const lines = [
      `${one.method} ${one.path} ${version}`,
      ...headers.map(([name, text]) => `${name}: ${text}`),
      '',
      '',
    ];
    const bytes = Buffer.concat([Buffer.from(lines.join(lineEnd), 'latin1'), body]);
    return { bytes: fromBytes(mutate(bytes, damage)), cuts, ...(leavesAfterMs === undefined ? {} : { leavesAfterMs }) };
  });
