/** Requests that hand in content, and the content in them: lists, lines, documents, forms, packed and damaged. */
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { elements } from './json.js';
import { type Mutation, mutate, mutations } from './mutation.js';
import { weighted } from './weighted.js';

export interface Request {
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
export const ODD_IDS = [
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

const queryValue = fc.oneof(fc.constantFrom(...SOURCES, ...ODD_IDS), fc.string({ maxLength: 8 }).map(encodeParameter));

export function encodeParameter(text: string): string {
  // Half a surrogate pair cannot be encoded.
  return encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, '_'));
}

export const JSON_TYPES = [
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

export const contentRequest: fc.Arbitrary<Request> = fc
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
export const oibusObject: fc.Arbitrary<Request> = fc
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
export const oibusFile: fc.Arbitrary<Request> = fc
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
