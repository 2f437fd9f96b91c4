/** Requests: right ones to every route, and everything that can be wrong with one, from the path to the last byte. */
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { elements } from './json.js';
import { type ByteText, fromBytes, type Mutation, mutate, mutations } from './mutation.js';
import { weighted } from './weighted.js';

export interface RequestsCase {
  /** The bytes as they are sent. */
  bytes: ByteText;
  cuts: number[];
}

interface Request {
  method: string;
  path: string;
  headers: [name: string, value: string][];
  body: Buffer;
}

const connectors = weighted<string>(
  [12, fc.constant('plain')],
  [2, fc.constant('small')],
  [2, fc.constant('plain,small')],
  [1, fc.constantFrom('disabled', 'nowhere', '', 'plain,nowhere', 'plain,disabled', 'plain,plain')],
);
const ODD_IDS = [
  '..',
  '../plain',
  '..%2f..%2fetc',
  '%2e%2e',
  '%00',
  '%ff',
  '%',
  '%E0%A4%A',
  'a'.repeat(300),
  'PLAIN',
  '-',
  '__proto__',
  'constructor',
  ' ',
  '+',
  'plain%20',
  'plain/..',
  '.',
  '\u00e9',
  '{id}',
  ':id',
  '*',
];
const SOURCES = ['api', 'line-1', '', '%00', 'x'.repeat(300), '*', '%F0%9F%98%80', 'a&source=b', '__proto__'];

const queryValue = fc.oneof(
  fc.constantFrom(...SOURCES, ...ODD_IDS),
  fc.string({ maxLength: 8 }).map(encodeURIComponent0),
);

function encodeURIComponent0(text: string): string {
  // Half a surrogate pair cannot be encoded.
  return encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, '_'));
}

const JSON_TYPES = [
  'application/json',
  'application/json; charset=utf-8',
  'application/vnd.x+json',
  'APPLICATION/JSON',
];
const LINE_TYPES = ['application/x-ndjson', 'application/jsonl'];
const ODD_TYPES = [
  '',
  'text/plain',
  'application/json; charset=latin1',
  'text/csv',
  'multipart/form-data',
  'x',
  'a/b;;=',
  'application/json,text/csv',
  'multipart/form-data; boundary=',
  '\u00ff/x',
];

interface Content {
  type: string;
  mediaTypes: readonly string[];
  body: Buffer;
}

const LISTS = {
  'time-values': 'time-values-to-mqtt',
  setpoints: 'setpoints-to-mqtt',
  messages: 'messages-to-mqtt',
} as const;

function listContent(type: keyof typeof LISTS, isLines: boolean): fc.Arbitrary<Content> {
  return fc.array(elements[LISTS[type]]!, { maxLength: 4 }).map((list) => {
    const text = isLines ? list.map((one) => JSON.stringify(one)).join('\n') : JSON.stringify(list);
    return { type, mediaTypes: isLines ? LINE_TYPES : JSON_TYPES, body: Buffer.from(text) };
  });
}

/** A few dozen of these fill the small cache. */
const large: Content = {
  type: 'time-values',
  mediaTypes: JSON_TYPES,
  body: Buffer.from(
    JSON.stringify([{ pointId: 'p', timestamp: '2026-01-15T10:00:00Z', data: { value: 'x'.repeat(40_000) } }]),
  ),
};

const content: fc.Arbitrary<Content> = weighted<Content>(
  [1, fc.constant(large)],
  [4, listContent('time-values', false)],
  [1, listContent('time-values', true)],
  [2, listContent('setpoints', false)],
  [3, listContent('messages', false)],
  [1, listContent('messages', true)],
  [
    2,
    fc
      .record({
        site: fc.constantFrom('a', 'b/c', '+', ''),
        items: fc.array(elements['json-to-mqtt']!, { maxLength: 3 }),
      })
      .map((document) => ({
        type: 'json',
        mediaTypes: JSON_TYPES,
        body: Buffer.from(JSON.stringify(document)),
      })),
  ],
  [
    2,
    fc
      .array(fc.constantFrom('a/b,1', '"x\ny",2', ',', 'a#,3', '"', 'c,"4', '\u00e9,5'), { maxLength: 5 })
      .map((rows) => ({
        type: 'csv',
        mediaTypes: ['text/csv'],
        body: Buffer.from(['topic,value', ...rows].join('\n')),
      })),
  ],
  [
    1,
    fc
      .uint8Array({ maxLength: 60 })
      .map((bytes) => ({ type: 'csv', mediaTypes: ['text/csv'], body: Buffer.from(bytes) })),
  ],
  [
    1,
    fc.constant({
      type: 'csv',
      mediaTypes: ['text/csv'],
      body: Buffer.from(`topic,value\n${'a,'.padEnd(120_000, 'b')}\n`),
    }),
  ],
);

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

const ways = fc.record({
  mediaAt: fc.nat(3),
  oddType: weighted<string | undefined>([9, fc.constant(undefined)], [1, fc.constantFrom(...ODD_TYPES)]),
  damage: weighted<Mutation[]>([3, fc.constant([])], [1, mutations(['{"value":1},', '"topic":"t",'], 3)]),
  isPacked: weighted<boolean>([5, fc.constant(false)], [1, fc.constant(true)]),
  packedDamage: weighted<Mutation[]>([4, fc.constant([])], [1, mutations([], 2)]),
});
type Ways = typeof ways extends fc.Arbitrary<infer T> ? T : never;

function withBody(
  one: Content,
  { mediaAt, oddType, damage, isPacked, packedDamage }: Ways,
): Pick<Request, 'headers' | 'body'> {
  const body = mutate(one.body, damage);
  const mediaType = oddType ?? one.mediaTypes[mediaAt % one.mediaTypes.length]!;
  const headers: [string, string][] = mediaType === '' ? [] : [['Content-Type', mediaType]];
  if (!isPacked) return { headers, body };
  return {
    headers: [...headers, ['Content-Encoding', 'gzip']],
    body: mutate(gzipSync(body, { level: 1 }), packedDamage),
  };
}

const contentRequest: fc.Arbitrary<Request> = fc
  .record({
    one: content,
    connector: connectors,
    source: weighted<string>([6, fc.constant('')], [1, queryValue.map((text) => `&source=${text}`)]),
    wrongType: weighted<string | undefined>(
      [20, fc.constant(undefined)],
      [1, fc.constantFrom('csv', 'x', '', 'messages', '__proto__')],
    ),
    extra: weighted<string>(
      [20, fc.constant('')],
      [1, fc.constantFrom('&x=1', '&connector=plain', '&type=csv', '&connector[]=x', '&%', '&=&&')],
    ),
    ways,
  })
  .map(({ one, connector, source, wrongType, extra, ways: how }) => ({
    method: 'POST',
    path: `/api/content?connector=${connector}&type=${wrongType ?? one.type}${source}${extra}`,
    ...withBody(one, how),
  }));

const OIBUS_WORDS = ['time-values', 'setpoint', 'any', 'raw', 'any-content', 'x'] as const;
const oibusObject: fc.Arbitrary<Request> = fc
  .record({
    word: fc.constantFrom(...OIBUS_WORDS),
    list: fc.array(elements['time-values-to-mqtt']!, { maxLength: 3 }),
    form: fc.nat(3),
    connector: connectors,
    ways,
  })
  .map(({ word, list, form, connector, ways: how }) => {
    const object = [
      { type: word, content: list },
      { type: word, content: JSON.stringify(list) },
      { type: word, filePath: '/etc/passwd' },
      list,
    ][form];
    const body = Buffer.from(JSON.stringify(object));
    return {
      method: 'POST',
      path: `/api/content/content?northId=${connector}&dataSourceId=line`,
      ...withBody({ type: 'json', mediaTypes: JSON_TYPES, body }, how),
    };
  });

const FILE_NAMES = [
  'a.csv',
  'a.json',
  '../../x.csv',
  'A.CSV',
  '',
  'a',
  'a.csv\0.json',
  '"',
  'x'.repeat(300),
  '.csv',
  '\u00e9.json',
  'con.json',
];
const oibusFile: fc.Arbitrary<Request> = fc
  .record({
    one: content,
    name: fc.constantFrom(...FILE_NAMES),
    field: fc.constantFrom('file', 'file', 'file', 'other', '', '__proto__'),
    damage: weighted<Mutation[]>([3, fc.constant([])], [2, mutations(['--B', '--B--', '\r\n\r\n', 'filename='], 3)]),
    connector: connectors,
    fields: fc.nat(3),
  })
  .map(({ one, name, field, damage, connector, fields }) => {
    const part = (head: string, body: Buffer): Buffer =>
      Buffer.concat([Buffer.from(`--B\r\nContent-Disposition: form-data; ${head}\r\n\r\n`), body, Buffer.from('\r\n')]);
    const others = Array.from({ length: fields }, (_, i) => part(`name="f${i}"`, Buffer.from('x')));
    const file = part(`name="${field}"; filename="${name}"`, one.body);
    return {
      method: 'POST',
      path: `/api/content/file?northId=${connector}&dataSourceId=line`,
      headers: [['Content-Type', 'multipart/form-data; boundary=B']],
      body: mutate(Buffer.concat([...others, file, Buffer.from('--B--\r\n')]), damage),
    };
  });

const VIEW_PATHS = [
  '/api/connectors',
  '/healthz',
  '/readyz',
  '/metrics',
  '/',
  '/api/openapi.json',
  '/api/docs',
  '/api/docs/json',
  '/api/events',
  '/api/inputs',
  '/favicon.ico',
  '/api',
  '//',
  '/api/../healthz',
  '/api/docs/static/../../../package.json',
  '/api/docs/static/%2e%2e/index.html',
  '*',
  'http://127.0.0.1/healthz',
  'healthz',
  '/\u00e9',
  '/%',
];
const view: fc.Arbitrary<Request> = fc
  .record({
    method: weighted<string>(
      [8, fc.constant('GET')],
      [1, fc.constantFrom('HEAD', 'OPTIONS', 'PATCH', 'PUT', 'TRACE', 'CONNECT', 'QUERY', 'get', 'BREW', 'POST')],
    ),
    path: fc.oneof(
      fc.constantFrom(...VIEW_PATHS),
      fc.constantFrom('plain', 'small', ...ODD_IDS).map((id) => `/api/connectors/${id}`),
    ),
    query: fc.constantFrom('', '', '?x=1', '?', '?__proto__=1', '?a[b]=c', `?${'a=1&'.repeat(500)}`),
  })
  .map(({ method, path, query }) => ({ method, path: path + query, headers: [], body: Buffer.alloc(0) }));

const cacheView: fc.Arbitrary<Request> = fc
  .record({
    id: fc.constantFrom('plain', 'small', 'nowhere', '..'),
    what: fc.constantFrom('cache', 'cache', 'cache/export', 'cache/', 'cache/x'),
    state: fc.constantFrom('', 'state=waiting', 'state=quarantined', 'state=archived', 'state=x'),
    limit: fc.constantFrom('', 'limit=1', 'limit=0', 'limit=500', 'limit=-1', 'limit=1e9', 'limit='),
    after: fc.oneof(
      fc.constantFrom(
        '',
        'after=',
        'after=0',
        'after=-1',
        'after=1.5',
        'after=NaN',
        'after=9007199254740993',
        'after=t-5',
        'after=telemetry:1',
        'after=%00',
      ),
      fc.string({ maxLength: 12 }).map((text) => `after=${encodeURIComponent0(text)}`),
    ),
    topic: fc.constantFrom(
      '',
      'topic=*',
      'topic=plant*',
      'topic=%',
      `topic=${'*a'.repeat(200)}`,
      'topic=',
      'lane=alert',
      'lane=x',
    ),
  })
  .map(({ id, what, state, limit, after, topic }) => ({
    method: 'GET',
    path: `/api/connectors/${id}/${what}?${[state, what === 'cache' ? limit : '', after, topic].filter((part) => part !== '').join('&')}`,
    headers: [],
    body: Buffer.alloc(0),
  }));

const selection = fc.constantFrom<unknown>(
  { ids: [1] },
  { ids: [1, 2, 3] },
  { ids: [] },
  { ids: [-1] },
  { ids: ['1'] },
  { ids: [2 ** 53] },
  { ids: [999_999] },
  { codes: ['UNMAPPED'] },
  { codes: ['x'] },
  { codes: [] },
  { all: true },
  { all: false },
  {},
  [],
  null,
  1,
  { ids: [1], topic: 'a/b' },
  { ids: [2], topic: 'a/#' },
  { ids: [3], topic: '\u0000' },
  { ids: [1, 2], topic: 'a' },
  { all: true, ids: [1] },
);
const cacheWork: fc.Arbitrary<Request> = fc
  .record({
    id: fc.constantFrom('plain', 'plain', 'small', 'disabled', 'nowhere'),
    what: fc.constantFrom('retry', 'remove'),
    which: selection,
    mediaType: fc.constantFrom(...JSON_TYPES, 'text/plain'),
  })
  .map(({ id, what, which, mediaType }) => ({
    method: 'POST',
    path: `/api/connectors/${id}/cache/${what}`,
    headers: [['Content-Type', mediaType]],
    body: Buffer.from(JSON.stringify(which)),
  }));

/** Nothing here can reach another machine: every address is on loopback, or is none. */
const ADDRESSES = [
  'mqtt://127.0.0.1:1',
  'mqtt://[::1]:1',
  'mqtt://',
  'ftp://127.0.0.1',
  'mqtt://u:p@127.0.0.1:1',
  '',
  'mqtt://127.0.0.1:0',
  'mqtts://127.0.0.1:1/x',
];
const settings = fc.record(
  {
    url: fc.constantFrom(...ADDRESSES),
    qos: fc.constantFrom<unknown>(0, 1, 3, '1', null),
    persistent: fc.constantFrom<unknown>(true, 'x'),
    clientId: fc.constantFrom('c', '\u0000', 'x'.repeat(70_000)),
    connectTimeout: fc.constant(200),
    unknown: fc.constant(1),
    authentication: fc.constantFrom<unknown>(
      { type: 'basic' },
      { type: 'cert', certFilePath: '/none', keyFilePath: '/none' },
      { type: 'basic', username: 'u', password: '[redacted]' },
      7,
    ),
  },
  { requiredKeys: [] },
);
const administration: fc.Arbitrary<Request> = fc
  .record({
    target: fc.constantFrom(
      'POST /api/connectors',
      'PUT /api/connectors/fuzz-a',
      'PUT /api/connectors/nowhere',
      'DELETE /api/connectors/fuzz-a',
      'DELETE /api/connectors/fuzz-a?discard=true',
      'DELETE /api/connectors/nowhere?discard=x',
      'POST /api/connectors/plain/start',
      'POST /api/connectors/disabled/start',
      'POST /api/connectors/plain/stop',
      'POST /api/connectors/plain/test',
      'POST /api/connectors/nowhere/test',
      'POST /api/test',
    ),
    id: fc.constantFrom<unknown>('fuzz-a', 'fuzz-a', 'fuzz-a', 'plain', 'Bad Id', '..', '', null, '__proto__', 7),
    given: settings,
    transformers: fc.constantFrom<unknown>(
      undefined,
      [],
      [{ type: 'ignore' }],
      [{ type: 'csv-to-mqtt' }],
      [{ type: 'json-to-mqtt', topic: '{' }],
      'x',
    ),
    form: fc.nat(9),
  })
  .map(({ target, id, given, transformers, form }) => {
    const [method = '', path = ''] = target.split(' ');
    const isTest = path.endsWith('test');
    const value =
      form === 0
        ? []
        : form === 1
          ? null
          : isTest
            ? form < 5
              ? { settings: given }
              : {}
            : { id, enabled: false, settings: given, transformers };
    const hasBody = method !== 'DELETE' && !/st(art|op)$/.test(path);
    return {
      method,
      path,
      headers: hasBody ? [['Content-Type', 'application/json']] : [],
      body: hasBody ? Buffer.from(JSON.stringify(value)) : Buffer.alloc(0),
    };
  });

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
  .tuple(request, framing, weighted<[string, string][]>([60, fc.constant([])], [1, bomb]))
  .map(([one, frame, further]) => {
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
    return { bytes: fromBytes(mutate(bytes, damage)), cuts };
  });
