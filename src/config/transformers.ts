/**
 * The options of the transformers: one entry of `connectors[].transformers`. Each option is declared once, here; the
 * types, the validation, the JSON Schema and docs/transformers.md come from it. What only compiling can tell (a
 * template, a path, an expression, a date format) is checked by `openTransformer`.
 */
import { z } from 'zod';
import { CONTENT_TYPES } from '../core/content.js';
import { topicProblem } from '../core/topic.js';
import { duration, seconds, size } from './quantity.js';
import { columnSchema, DATETIME_HELP, datetimeSchema, FIELD_TYPES, reportDatetime } from './transformer-fields.js';

const MESSAGE_EXPIRY_MAX_SECONDS = 4_294_967_295;

const messageOptions = {
  qos: z
    .literal([0, 1, 2])
    .optional()
    .describe(
      'Delivery of these messages: 0 not acknowledged (may be lost and, after a crash, repeated), 1 at least once, ' +
        '2 exactly once.',
    )
    .meta({ 'x-default': 'the qos of the connection' }),
  retain: z
    .boolean()
    .optional()
    .describe('Whether the broker keeps the last of these messages for later subscribers.')
    .meta({ 'x-default': 'the retain of the connection; false for setpoints' }),
  lane: z
    .enum(['command', 'alert', 'telemetry'])
    .optional()
    .describe('The lane that these messages wait in. A higher lane never waits behind a lower one.')
    .meta({ 'x-default': 'telemetry; command for setpoints' }),
  messageExpiry: seconds({ min: 0, max: MESSAGE_EXPIRY_MAX_SECONDS })
    .optional()
    .describe('How long these messages are worth something, counted from acceptance; 0 is for ever.')
    .meta({ 'x-default': 'the messageExpiry of the connection' }),
};

const from = z
  .string()
  .min(1)
  .default('*')
  .describe('Where the content comes from: the id of an input, or the source parameter of the API; * for any.');

const fixedTopic = z.string().superRefine((topic, context) => {
  const problem = topicProblem(topic);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
});

const clean = z
  .boolean()
  .default(false)
  .describe(
    'What becomes of + # NUL and other characters that no topic may have, where they come from the content: with ' +
      'true each becomes "_", and so does a leading $; with false the message goes to quarantine.',
  );

function reportDuplicates(
  entries: readonly Record<string, unknown>[],
  place: string,
  key: string,
  context: z.RefinementCtx,
): void {
  const firstIndexOf = new Map<unknown, number>();
  entries.forEach((entry, index) => {
    const first = firstIndexOf.get(entry[key]);
    if (first === undefined) firstIndexOf.set(entry[key], index);
    else {
      const message = `${JSON.stringify(entry[key])} is already in ${place}[${first}]`;
      context.addIssue({ code: 'custom', path: [place, index, key], message });
    }
  });
}

const timeValuesToMqtt = z
  .strictObject({
    type: z.literal('time-values-to-mqtt').describe('Measured values: one message each.'),
    from,
    mapping: z
      .array(
        z.strictObject({
          pointId: z.string().min(1).describe('The point, exactly as the content names it.'),
          topic: fixedTopic.describe('The topic of this point.'),
          ...messageOptions,
        }),
      )
      .default([])
      .describe('Topics of single points. They come before the template.'),
    topic: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Template for points without a mapping, over pointId, timestamp and data: plant/{data.site}/{pointId}.',
      ),
    payload: z
      .enum(['json', 'value'])
      .default('json')
      .describe('json: {...data, timestamp}. value: data.value alone, a text bare and anything else as JSON.'),
    clean,
    ...messageOptions,
  })
  .superRefine((config, context) => reportDuplicates(config.mapping, 'mapping', 'pointId', context));

const setpointsToMqtt = z
  .strictObject({
    type: z
      .literal('setpoints-to-mqtt')
      .describe('Commands to devices: one message each, in the command lane, not retained.'),
    from,
    mapping: z
      .array(
        z.strictObject({
          reference: z.string().min(1).describe('The reference, exactly as the content names it.'),
          topic: fixedTopic.describe('The topic of this reference.'),
          ...messageOptions,
        }),
      )
      .default([])
      .describe('Topics of single references. They come before the template.'),
    topic: z.string().min(1).optional().describe('Template for references without a mapping: cmd/{reference}.'),
    payload: z
      .enum(['value', 'json'])
      .default('value')
      .describe('value: a text bare and anything else as JSON. json: a text in quotes, too.'),
    clean,
    ...messageOptions,
  })
  .superRefine((config, context) => reportDuplicates(config.mapping, 'mapping', 'reference', context));

const csvToMqtt = z
  .strictObject({
    type: z.literal('csv-to-mqtt').describe('CSV: one message for each row.'),
    from,
    delimiter: z
      .string()
      .regex(/^[^\r\n]{1,8}$/, { error: 'expected one to eight characters without a line end' })
      .default(',')
      .describe('What stands between two cells: "," or ";" or "\\t".'),
    quote: z
      .string()
      .regex(/^[!-/:-@[-`{-~]?$/, { error: 'expected one character that is no letter or digit, or nothing' })
      .default('"')
      .describe('What encloses a cell that has a delimiter or line end in it; empty: nothing does.'),
    encoding: z
      .enum(['utf-8', 'latin1', 'windows-1252'])
      .default('utf-8')
      .describe('Encoding of the content. A byte-order mark is removed.'),
    hasHeader: z.boolean().default(true).describe('Whether the first row has the names of the columns.'),
    topicColumn: columnSchema
      .optional()
      .describe('The column that has the topic: its name in the header or its number.'),
    topic: z
      .string()
      .min(1)
      .optional()
      .describe('Template over the columns instead of topicColumn: plant/{site}/{tag}, or {0} by number.'),
    clean,
    payloadType: z
      .enum(['row-object', 'object', 'column', 'line'])
      .default('row-object')
      .describe(
        'row-object: all cells as texts by column name. object: the objectFields. column: the valueColumn alone. ' +
          'line: the row as it stands.',
      ),
    objectFields: z
      .array(
        z
          .strictObject({
            key: z.string().describe('The key in the object.'),
            column: columnSchema.describe('The column that the value comes from.'),
            type: z.enum(FIELD_TYPES).default('string').describe('What the cell is to become.'),
            datetime: datetimeSchema.optional().describe(DATETIME_HELP),
          })
          .superRefine((field, context) => reportDatetime(field, ['datetime'], context)),
      )
      .min(1)
      .optional()
      .describe('The fields of the object, for payloadType object.'),
    valueColumn: columnSchema.optional().describe('The column that is the payload, for payloadType column.'),
    valueType: z.enum(FIELD_TYPES).default('string').describe('What the cell of valueColumn is to become.'),
    datetime: datetimeSchema
      .optional()
      .describe('How the time in valueColumn is read and written, for valueType datetime.'),
    decimalSeparator: z.enum(['.', ',']).default('.').describe('What stands before the decimals of a number.'),
    raggedRows: z
      .enum(['quarantine', 'accept'])
      .default('quarantine')
      .describe(
        'Rows with fewer or more cells than the header, or than the first row: quarantine, or accept with what is there.',
      ),
    maxRowSize: size({ min: 1024, max: 64 * 1024 ** 2 })
      .prefault('1 MiB')
      .describe('The longest row. A longer one is rejected, or taken line by line if an open quote makes it long.'),
    ...messageOptions,
  })
  .superRefine((config, context) => {
    requireOne(config, ['topicColumn', 'topic'], context);
    requireWhen(config, 'objectFields', config.payloadType === 'object', 'payloadType is object', context);
    requireWhen(config, 'valueColumn', config.payloadType === 'column', 'payloadType is column', context);
    reportDatetime({ type: config.valueType, datetime: config.datetime }, ['datetime'], context);
    reportDuplicates(config.objectFields ?? [], 'objectFields', 'key', context);
    if (config.quote !== '' && config.delimiter.includes(config.quote)) {
      context.addIssue({ code: 'custom', path: ['delimiter'], message: 'contains the quote' });
    }
  });

const jsonToMqtt = z
  .strictObject({
    type: z.literal('json-to-mqtt').describe('JSON documents: one message, or one for each element of a list in it.'),
    from,
    language: z
      .enum(['path', 'jsonata'])
      .default('path')
      .describe('What iterator, topicFrom, payload and objectFields[].path are written in.'),
    iterator: z
      .string()
      .min(1)
      .optional()
      .describe('The elements of the document, one message each: $.items[*]. Without it the document is the element.'),
    topic: z
      .string()
      .min(1)
      .optional()
      .describe('Template over the element: plant/{site}/{tag}; {$.site} is of the document.'),
    topicFrom: z.string().min(1).optional().describe('Path or expression that gives the topic, instead of topic.'),
    clean,
    payload: z
      .string()
      .min(1)
      .optional()
      .describe('Path or expression that gives the payload: a text is sent bare, anything else as JSON.')
      .meta({ 'x-default': 'the whole element as JSON' }),
    valueType: z
      .enum(['any', ...FIELD_TYPES])
      .default('any')
      .describe('What the value of payload is to become; any: what it is.'),
    datetime: datetimeSchema
      .optional()
      .describe('How the time in payload is read and written, for valueType datetime.'),
    objectFields: z
      .array(
        z
          .strictObject({
            key: z.string().describe('The key in the object.'),
            path: z.string().min(1).describe('Path or expression that gives the value; null when it finds nothing.'),
            type: z
              .enum(['any', ...FIELD_TYPES])
              .default('any')
              .describe('What the value is to become; any: what it is.'),
            datetime: datetimeSchema.optional().describe(DATETIME_HELP),
          })
          .superRefine((field, context) => reportDatetime(field, ['datetime'], context)),
      )
      .min(1)
      .optional()
      .describe('The fields of an object that becomes the payload, instead of payload.'),
    timeout: duration({ min: 10, max: 60_000 })
      .prefault('1 s')
      .describe('Longest time that one JSONata expression may run on one element.'),
    ...messageOptions,
  })
  .superRefine((config, context) => {
    requireOne(config, ['topicFrom', 'topic'], context);
    reportDatetime({ type: config.valueType, datetime: config.datetime }, ['datetime'], context);
    reportDuplicates(config.objectFields ?? [], 'objectFields', 'key', context);
    if (config.payload !== undefined && config.objectFields !== undefined) {
      context.addIssue({ code: 'custom', path: ['objectFields'], message: 'give either payload or objectFields' });
    }
    if (config.payload === undefined && config.valueType !== 'any') {
      context.addIssue({ code: 'custom', path: ['valueType'], message: 'needs payload' });
    }
  });

const messagesToMqtt = z.strictObject({
  type: z
    .literal('messages-to-mqtt')
    .describe('Messages that name topic and payload themselves. Needs not be configured: it is there by itself.'),
  from,
  ...messageOptions,
});

const ignore = z.strictObject({
  type: z.literal('ignore').describe('Drops content on purpose, and counts it.'),
  from,
  types: z
    .array(z.enum(CONTENT_TYPES))
    .min(1)
    .optional()
    .describe('The types of content to ignore.')
    .meta({ 'x-default': 'all types' }),
});

function requireOne<K extends string>(
  config: { readonly [key in K]?: unknown },
  keys: readonly K[],
  context: z.RefinementCtx,
): void {
  const given = keys.filter((key) => config[key] !== undefined);
  if (given.length === 1) return;
  const choice = keys.join(' or ');
  const message = given.length === 0 ? `${choice} is required` : `give either ${choice}`;
  context.addIssue({ code: 'custom', path: [given[1] ?? keys[0]!], message });
}

function requireWhen<K extends string>(
  config: { readonly [key in K]?: unknown },
  key: K,
  needed: boolean,
  condition: string,
  context: z.RefinementCtx,
): void {
  if (needed === (config[key] !== undefined)) return;
  const message = needed ? `is required when ${condition}` : `is only for the case that ${condition}`;
  context.addIssue({ code: 'custom', path: [key], message });
}

export const transformerSchema = z.discriminatedUnion('type', [
  timeValuesToMqtt,
  setpointsToMqtt,
  csvToMqtt,
  jsonToMqtt,
  messagesToMqtt,
  ignore,
]);

/** A transformer's options with all defaults filled in. */
export type TransformerConfig = z.output<typeof transformerSchema>;
/** A transformer's options as they are written. */
export type TransformerOptions = z.input<typeof transformerSchema>;
/** The options of one type of transformer. */
export type ConfigOf<T extends TransformerConfig['type']> = Extract<TransformerConfig, { type: T }>;
