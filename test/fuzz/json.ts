/**
 * Any bytes as JSON, as a document, a list or lines, under any options of the transformers that take them. What is no
 * JSON is refused, what is JSON is read as everybody reads it, and every element has exactly one fate.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { TransformerConfig } from '../../src/config/transformers.js';
import type { Content } from '../../src/core/content.js';
import type { NorthError } from '../../src/core/error.js';
import { parseJson } from '../../src/core/json.js';
import { Budget } from '../../src/http/budget.js';
import { type ParsedContent, parseContent } from '../../src/http/content-form.js';
import type { FuzzTarget } from './fuzz.js';
import { type ByteText, damaged, toBytes } from './mutation.js';
import {
  assertComplete,
  assertConsecutive,
  assertRefusal,
  assertSendable,
  type Fate,
  isList,
  openFrom,
  transformed,
} from './transformed.js';
import { weighted } from './weighted.js';

export interface JsonCase {
  options: Record<string, unknown>;
  isLines: boolean;
  body: ByteText;
}

const CONTENT_OF = {
  'time-values-to-mqtt': 'time-values',
  'setpoints-to-mqtt': 'setpoints',
  'messages-to-mqtt': 'messages',
  'json-to-mqtt': 'json',
  ignore: 'json',
} as const;

const BASES: readonly Record<string, unknown>[] = [
  { type: 'time-values-to-mqtt', topic: 'plant/{pointId}' },
  { type: 'time-values-to-mqtt', topic: '{data.site}/{pointId}', payload: 'value', clean: true },
  { type: 'time-values-to-mqtt', mapping: [{ pointId: 'p', topic: 'a/b', qos: 2, lane: 'alert' }] },
  { type: 'setpoints-to-mqtt', topic: 'cmd/{reference}' },
  { type: 'setpoints-to-mqtt', mapping: [{ reference: 'p', topic: 'cmd/p' }], payload: 'json' },
  { type: 'messages-to-mqtt' },
  { type: 'json-to-mqtt', topic: 'doc/{site}' },
  { type: 'json-to-mqtt', topic: 'doc/{$.site}/{tag}', iterator: '$.items[*]', payload: 'value' },
  { type: 'json-to-mqtt', topicFrom: '$.items[*].tag', iterator: '$.items[*]', clean: true },
  { type: 'json-to-mqtt', topicFrom: "['site']", payload: 'items[0].value', valueType: 'number' },
  {
    type: 'json-to-mqtt',
    topic: 'doc',
    iterator: '$[*]',
    objectFields: [
      { key: 'v', path: 'value', type: 'number' },
      { key: 't', path: 'timestamp', type: 'datetime' },
      { key: '__proto__', path: 'constructor' },
      { key: 's', path: '@', type: 'string' },
    ],
  },
  { type: 'json-to-mqtt', language: 'jsonata', topicFrom: '"a/" & site', payload: '$', timeout: 10 },
  { type: 'json-to-mqtt', language: 'jsonata', iterator: 'items[value > 0]', topicFrom: 'tag', payload: '$sum(*)' },
  {
    type: 'json-to-mqtt',
    language: 'jsonata',
    topic: 'x',
    payload: '($f := function($x){$f($x + 1)}; $f(0))',
    timeout: 10,
  },
  { type: 'json-to-mqtt', language: 'jsonata', topic: 'x', iterator: '**', payload: '$count(*)', timeout: 10 },
  { type: 'ignore' },
];

const soundChange = fc.constantFrom<Record<string, unknown>>(
  { clean: true },
  { qos: 2, retain: true, lane: 'command', messageExpiry: '1 h' },
  { from: 'api' },
);

const brokenChange = fc.constantFrom<Record<string, unknown>>(
  { topic: '{pointId}{' },
  { topic: 'a/#' },
  { iterator: '$.[' },
  { iterator: '$.items[*].value[*]' },
  { payload: '$$$(' },
  { payload: '$' },
  { valueType: 'boolean', payload: 'value' },
  { mapping: [{ pointId: 'p', topic: '' }] },
  { types: ['json'] },
  { unknown: {} },
  { from: '' },
);

/** Stand for a key `__proto__`, as it is and in disguise, where a document is written. */
const PROTOTYPE_KEYS = { PROTOTYPE: '"__proto__"', HIDDEN_PROTOTYPE: '"\\u005f_proto__"' } as const;

const KEYS_OF_VALUES = 'pointId timestamp data value quality reference site tag items'.split(' ');
const KEYS_OF_MESSAGES =
  'topic payload payloadBase64 qos retain lane properties userProperties messageExpiry contentType correlationData responseTopic payloadIsText'.split(
    ' ',
  );
const ODD_KEYS = ['constructor', 'toJSON', 'toString', 'length', '', 'a.b', '0'];

const key = weighted<string>(
  [6, fc.constantFrom(...KEYS_OF_VALUES)],
  [6, fc.constantFrom(...KEYS_OF_MESSAGES)],
  [3, fc.constantFrom(...ODD_KEYS)],
);
/** What a transformer could stumble over in the data of a value. */
const dataKey = fc.constantFrom('value', 'quality', 'timestamp', 'toJSON', 'site', 'constructor', '');

const scalar = weighted<unknown>(
  [
    4,
    fc.constantFrom<unknown>(
      'p',
      'a/b',
      'q',
      'x y',
      '2026-01-15T10:00:00.000Z',
      '2026-01-15T10:00:00+02:00',
      'aGk=',
      'alert',
    ),
  ],
  [4, fc.constantFrom<unknown>(0, 1, 2, 23.5, -0, 1e300, 2 ** 53, true, false, null, [], {})],
  [
    2,
    fc.constantFrom<unknown>(
      '',
      '+',
      '$x',
      'a\0b',
      '\ud800',
      '\u{1f600}',
      '\uffff',
      '1 s',
      '2026-02-30T10:00:00Z',
      '=',
      'x'.repeat(400),
    ),
  ],
  [1, fc.constantFrom<unknown>('\ud800', 'a\udc00b', '\udc00\ud800')],
  [1, fc.string({ unit: 'binary', maxLength: 10 })],
);

const value = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'value' },
    scalar,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 4 }),
  ),
})).value;

const optional = { requiredKeys: [] };
const timeValue = fc.record(
  {
    pointId: fc.constantFrom('p', 'q/r', 'a+b', 7),
    timestamp: scalar,
    data: fc.record({ value, site: scalar }, optional),
  },
  optional,
);
const sound = fc.record({
  pointId: fc.constantFrom('p', 'q/r'),
  timestamp: fc.constantFrom('2026-01-15T10:00:00.000Z', '2026-01-15T10:00:00Z', '2026-01-15T12:00+02:00'),
  data: fc.dictionary(dataKey, value, { maxKeys: 4 }),
});
const setpoint = fc.record({ reference: fc.constantFrom<unknown>('p', 'q/r', 'a#', ''), value });
const properties = fc.dictionary(key, value, { maxKeys: 3 });
const message = fc.oneof(
  fc.record({ topic: fc.constantFrom('a/b', 'c', '+'), payload: value, qos: fc.nat(3), retain: fc.boolean() }),
  fc.record({ topic: scalar, payloadBase64: scalar, lane: scalar, properties }, optional),
  fc.record({ topic: fc.constant('a'), payload: scalar, properties }),
);
const item = fc.record({ tag: scalar, value, timestamp: scalar }, optional);
export const elements: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  'time-values-to-mqtt': weighted<unknown>([4, sound], [3, timeValue], [1, value]),
  'setpoints-to-mqtt': weighted<unknown>([6, setpoint], [1, value]),
  'messages-to-mqtt': weighted<unknown>([6, message], [1, value]),
  'json-to-mqtt': weighted<unknown>([4, item], [1, value]),
  ignore: value,
};

/** Deeper than the engine's stack goes, or nearly. */
const deep = fc
  .tuple(fc.constantFrom(100, 1000, 5000, 20_000), fc.constantFrom('[', '{"data":'), value)
  .map(([depth, open, inner]) => open.repeat(depth) + JSON.stringify(inner) + (open === '[' ? ']' : '}').repeat(depth));

const withPrototypeKey = fc.dictionary(fc.constantFrom(...Object.keys(PROTOTYPE_KEYS), 'value'), value, {
  maxKeys: 2,
});

function write(document: unknown): string {
  return Object.entries(PROTOTYPE_KEYS).reduce(
    (text, [name, written]) => text.replaceAll(`"${name}":`, `${written}:`),
    JSON.stringify(document),
  );
}

const jsonCase: fc.Arbitrary<JsonCase> = fc
  .record({
    base: fc.constantFrom(...BASES),
    changes: weighted<unknown[]>([12, fc.constant([])], [4, fc.tuple(soundChange)], [1, fc.tuple(brokenChange)]),
    mayBeLines: fc.boolean(),
  })
  .chain(({ base, changes, mayBeLines }) => {
    const isLines = mayBeLines && base.type !== 'json-to-mqtt' && base.type !== 'ignore';
    const options: Record<string, unknown> = { ...base, ...Object.assign({}, ...changes) };
    const some = elements[String(base.type)] ?? value;
    const list = fc.array(weighted<unknown>([40, some], [1, withPrototypeKey]), { maxLength: 4 });
    const document = weighted<string>(
      [12, list.map((all) => (isLines ? all.map(write).join('\n') : write(all)))],
      [base.type === 'json-to-mqtt' ? 12 : 1, fc.record({ site: scalar, items: list }, optional).map(write)],
      [1, deep],
    );
    return fc.record({
      options: fc.constant(options),
      isLines: fc.constant(isLines),
      body: damaged(
        document.map((text) => Buffer.from(text)),
        ['"value":', '"topic":"t",', '"payload":1,', '{},', '[],'],
      ),
    });
  });

async function check(fuzzCase: JsonCase): Promise<string> {
  const opened = openFrom(fuzzCase.options);
  const body = toBytes(fuzzCase.body);
  const readable = checkReading(body);
  if (opened === undefined) return 'options refused';
  const { transformer, config } = opened;
  const type = CONTENT_OF[config.type as keyof typeof CONTENT_OF];
  const parsed = parse(type, fuzzCase.isLines, body);
  if (parsed === undefined) return 'body refused';
  const { content } = parsed;
  if (isList(content.type)) checkLines(parsed, fuzzCase, body);
  else assert.ok(readable.isJson);
  const whole = await transformed(transformer, content);
  assert.ok(whole !== undefined, 'JSON that could be read was refused as a whole');
  assertSendable(whole);
  assertComplete(whole);
  if ('elements' in content) {
    assert.equal(whole.fates.length + whole.ignoredCount, content.elements.length);
    for (const fate of whole.fates) checkPayload(config, content.elements[fate.index], fate);
  } else assert.ok(whole.fates.length + whole.ignoredCount > 0 || isEmptyListOf(config, content));
  const ways = new Set(whole.fates.map(({ way }) => way));
  return ways.size === 0 ? 'nothing in it' : [...ways].sort().join(' and ');
}

/** The product reads exactly what JSON.parse reads, but for `__proto__`, and says where it stops. */
function checkReading(bytes: Buffer): { isJson: boolean } {
  let expected: { value: unknown } | undefined;
  try {
    // The decoder takes away one byte-order mark, as the product does.
    expected = { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) };
  } catch {
    expected = undefined;
  }
  try {
    const found = parseJson(bytes);
    assert.ok(expected !== undefined, 'what is no JSON was read');
    assert.ok(!hasPrototypeKey(found), 'a key "__proto__" was let in');
    assert.equal(comparable(found), comparable(expected.value));
    return { isJson: true };
  } catch (error) {
    assertRefusal(error, ['CONTENT_MALFORMED']);
    const { message } = error as NorthError;
    if (expected === undefined)
      assert.match(message, /not valid UTF-8 at byte \d+|malformed at line \d+, column \d+: /);
    else assert.match(message, /"__proto__"/);
    return { isJson: false };
  }
}

function hasPrototypeKey(json: unknown): boolean {
  const pending = [json];
  for (let value = pending.pop(); pending.length > 0 || value !== undefined; value = pending.pop()) {
    if (typeof value !== 'object' || value === null) continue;
    if (Object.hasOwn(value, '__proto__')) return true;
    pending.push(...Object.values(value));
  }
  return false;
}

function comparable(json: unknown): string {
  try {
    return JSON.stringify(json);
  } catch (error) {
    // Deeper than the engine's stack.
    assert.ok(error instanceof RangeError);
    return 'too deep';
  }
}

function parse(type: Content['type'], isLines: boolean, body: Buffer): ParsedContent | undefined {
  const share = new Budget({ requestsMax: 1, sizeMaxBytes: Number.POSITIVE_INFINITY }).enter();
  const name = isLines ? 'application/x-ndjson' : 'application/json';
  try {
    return parseContent(type, { name, charset: undefined }, body, share);
  } catch (error) {
    assertRefusal(error, ['CONTENT_MALFORMED', 'CONTENT_TOO_LARGE']);
    return undefined;
  }
}

/** Every line that is not blank is an element or a rejection, under its own number. */
function checkLines(parsed: ParsedContent, { isLines }: JsonCase, body: Buffer): void {
  if (!isLines || !('elements' in parsed.content)) return;
  const lines = body.toString('latin1').split('\n');
  const count = lines.filter((line) => !/^[ \t\r]*$/.test(line)).length;
  const { content, rejected, indices } = parsed;
  assert.equal(content.elements.length + rejected.length, count);
  assertConsecutive([...(indices ?? content.elements.keys()), ...rejected.map(({ index }) => index)]);
}

/** An iterator that finds an empty list has found it, and there is nothing to say about its elements. */
function isEmptyListOf(config: TransformerConfig, content: Content): boolean {
  return config.type === 'json-to-mqtt' && config.iterator !== undefined && content.type === 'json';
}

/** What a message says is what the content said, worked out a second time. */
function checkPayload(config: TransformerConfig, element: unknown, fate: Fate): void {
  if (fate.way !== 'pushed') return;
  // A transformer pushes only what it has found to be an object.
  const fields = element as Record<string, unknown>;
  const { payload } = fate;
  if (config.type === 'time-values-to-mqtt') {
    const data = fields.data as Record<string, unknown>;
    if (config.payload === 'value') assert.equal(payload, textOf(data.value));
    else assert.equal(payload, JSON.stringify({ ...data, timestamp: fields.timestamp }));
  } else if (config.type === 'setpoints-to-mqtt') {
    assert.equal(payload, config.payload === 'json' ? JSON.stringify(fields.value) : textOf(fields.value));
  } else if (config.type === 'messages-to-mqtt') {
    if (fields.payloadBase64 === undefined) assert.equal(payload, textOf(fields.payload));
    else assert.equal(Buffer.from(payload as Uint8Array).toString('base64'), fields.payloadBase64);
  }
}

function textOf(found: unknown): string {
  return typeof found === 'string' ? found : JSON.stringify(found);
}

export const json: FuzzTarget<JsonCase> = { name: 'json', open: () => ({ cases: jsonCase, check }) };
