import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { transformerSchema } from '../../src/config/transformers.js';

type Options = Record<string, unknown>;

const csv = { type: 'csv-to-mqtt', topic: 'x' };
const json = { type: 'json-to-mqtt', topic: 'x' };

/** `path: message` of each problem. */
function problemsOf(options: Options): string[] {
  const { error } = transformerSchema.safeParse(options);
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('options of transformers', () => {
  it('the examples of the contract are valid', () => {
    for (const options of [
      {
        from: 'sensors',
        type: 'time-values-to-mqtt',
        topic: 'plant/{pointId}',
        mapping: [{ pointId: 'boiler/t1', topic: 'plant/boiler/temperature' }],
      },
      { from: '*', type: 'setpoints-to-mqtt', mapping: [{ reference: 'pump1/speed', topic: 'cmd/pump1/speed' }] },
      {
        from: 'files',
        type: 'csv-to-mqtt',
        delimiter: ';',
        topicColumn: 'topic',
        payloadType: 'object',
        objectFields: [{ column: 'v', key: 'value', type: 'number' }],
      },
    ]) {
      assert.deepEqual(problemsOf(options), []);
    }
  });

  it('without from, content from anywhere is taken', () => {
    assert.equal(transformerSchema.parse({ type: 'ignore' }).from, '*');
  });

  const wrong: [Options, RegExp][] = [
    [{ type: 'csv' }, /^type: /],
    [{ ...csv, delimeter: ';' }, /Unrecognized key: "delimeter"/],
    [{ ...csv, from: '' }, /^from: /],
    [{ ...csv, qos: 3 }, /^qos: /],
    [{ ...csv, lane: 'fast' }, /^lane: /],
    [{ ...csv, messageExpiry: -1 }, /^messageExpiry: /],
    [{ ...csv, delimiter: '' }, /^delimiter: /],
    [{ ...csv, delimiter: '\n' }, /^delimiter: /],
    [{ ...csv, delimiter: "'", quote: "'" }, /^delimiter: contains the quote/],
    [{ ...csv, quote: 'a' }, /^quote: /],
    [{ ...csv, quote: '""' }, /^quote: /],
    [{ ...csv, encoding: 'utf-16' }, /^encoding: /],
    [{ ...csv, maxRowSize: '1 GiB' }, /^maxRowSize: must be between/],
    [{ type: 'csv-to-mqtt' }, /^topicColumn: topicColumn or topic is required/],
    [{ ...csv, topicColumn: 'a' }, /^topic: give either topicColumn or topic/],
    [{ ...csv, topic: undefined, topicColumn: -1 }, /^topicColumn: expected the name of a column or its number/],
    [{ ...csv, payloadType: 'object' }, /^objectFields: is required when payloadType is object/],
    [{ ...csv, objectFields: [{ key: 'a', column: 0 }] }, /^objectFields: is only for the case/],
    [{ ...csv, payloadType: 'column' }, /^valueColumn: is required when payloadType is column/],
    [{ ...csv, valueColumn: 1 }, /^valueColumn: is only for the case/],
    [{ ...csv, payloadType: 'column', valueColumn: 1, datetime: {} }, /^datetime: only the type datetime/],
    [
      { ...csv, payloadType: 'object', objectFields: [{ key: 'a', column: 0, type: 'number', datetime: {} }] },
      /^objectFields\.0\.datetime: only the type datetime/,
    ],
    [
      { ...csv, payloadType: 'object', objectFields: ['a', 'b', 'a'].map((key, column) => ({ key, column })) },
      /^objectFields\.2\.key: "a" is already in objectFields\[0\]/,
    ],
    [
      {
        ...csv,
        payloadType: 'column',
        valueColumn: 0,
        valueType: 'datetime',
        datetime: { input: { timezone: 'Europe/Pariss' } },
      },
      /^datetime\.input\.timezone: expected a time zone/,
    ],
    [
      {
        ...csv,
        payloadType: 'column',
        valueColumn: 0,
        valueType: 'datetime',
        datetime: { output: { locale: 'french!' } },
      },
      /^datetime\.output\.locale: expected a locale/,
    ],
    [
      {
        ...csv,
        payloadType: 'column',
        valueColumn: 0,
        valueType: 'datetime',
        datetime: { input: { format: 'y'.repeat(70_000) } },
      },
      /^datetime\.input\.format: /,
    ],
    [{ type: 'json-to-mqtt' }, /^topicFrom: topicFrom or topic is required/],
    [{ ...json, topicFrom: 'a' }, /^topic: give either topicFrom or topic/],
    [{ ...json, payload: 'a', objectFields: [{ key: 'a', path: 'b' }] }, /^objectFields: give either payload or/],
    [{ ...json, valueType: 'number' }, /^valueType: needs payload/],
    [{ ...json, payload: 'a', datetime: {} }, /^datetime: only the type datetime/],
    [{ ...json, objectFields: [] }, /^objectFields: /],
    [{ ...json, timeout: '1 ms' }, /^timeout: must be between/],
    [{ type: 'ignore', types: [] }, /^types: /],
    [{ type: 'ignore', types: ['xml'] }, /^types\.0: /],
    [
      { type: 'time-values-to-mqtt', mapping: [{ pointId: 'a', topic: 'a/+' }] },
      /^mapping\.0\.topic: The topic contains the wildcard/,
    ],
    [{ type: 'time-values-to-mqtt', mapping: [{ pointId: '', topic: 'a' }] }, /^mapping\.0\.pointId: /],
    [{ type: 'time-values-to-mqtt', mapping: [{ topic: 'a' }] }, /^mapping\.0\.pointId: /],
    [
      { type: 'time-values-to-mqtt', mapping: ['a', 'b', 'a'].map((pointId) => ({ pointId, topic: 'x' })) },
      /^mapping\.2\.pointId: "a" is already in mapping\[0\]/,
    ],
    [
      { type: 'setpoints-to-mqtt', mapping: ['a', 'a'].map((reference) => ({ reference, topic: 'x' })) },
      /^mapping\.1\.reference: "a" is already in mapping\[0\]/,
    ],
  ];
  for (const [options, problem] of wrong) {
    it(`${JSON.stringify(options)} is refused with its place`, () => {
      const problems = problemsOf(options);
      assert.equal(problems.length, 1, problems.join('\n'));
      assert.match(problems[0]!, problem);
    });
  }

  it('every option has a description, in the JSON Schema, too', () => {
    const check = (schema: Record<string, unknown>, place: string) => {
      const properties = (schema.properties ?? {}) as Record<string, Record<string, unknown>>;
      for (const [key, property] of Object.entries(properties)) {
        assert.equal(typeof property.description, 'string', `${place}.${key} has no description`);
        check(property, `${place}.${key}`);
        check((property.items ?? {}) as Record<string, unknown>, `${place}.${key}[]`);
      }
    };
    const schema = z.toJSONSchema(transformerSchema, { io: 'input' });
    assert.equal(schema.oneOf?.length, 6);
    for (const variant of schema.oneOf ?? []) check(variant, String(variant.properties?.type));
  });
});
