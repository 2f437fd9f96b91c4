/** Requests that look and act: every route but those that hand in content, with what can be wrong in their paths. */
import fc from 'fast-check';
import { encodeParameter, JSON_TYPES, ODD_IDS, type Request } from './content-requests.js';
import { weighted } from './weighted.js';

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
export const view: fc.Arbitrary<Request> = fc
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

export const cacheView: fc.Arbitrary<Request> = fc
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
      fc.string({ maxLength: 12 }).map((text) => `after=${encodeParameter(text)}`),
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
export const cacheWork: fc.Arbitrary<Request> = fc
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
export const administration: fc.Arbitrary<Request> = fc
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
