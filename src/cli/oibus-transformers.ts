/** From the transformers of an OIBus North to ours. */
import { isRecord } from '../config/shape.js';
import type { Note } from './oibus-connector.js';
import { type Fields, fieldsAt, textAt } from './oibus-export.js';

type Converted = Record<string, unknown>;

export function convertTransformers(list: unknown, catalog: ReadonlyMap<string, Fields>, note: Note): Converted[] {
  if (!Array.isArray(list)) return [];
  const converted = list.filter(isRecord).flatMap((entry, index) => {
    const part = `transformers[${index}]`;
    const inner = fieldsAt(entry, 'transformer');
    const named = catalog.get(textAt(entry, 'transformerId') ?? textAt(inner, 'id') ?? '');
    const transformer: Fields = { ...named, ...inner };
    const result = convertTransformer(transformer, fieldsAt(entry, 'options'), part, note);
    return result === undefined ? [] : [withSource(result, entry, part, note)];
  });
  if (converted.some(({ type }) => type === 'time-values-to-mqtt' || type === 'setpoints-to-mqtt')) {
    note('transformers', 'OIBus drops what has no mapping. Here it goes to quarantine as UNMAPPED, where it is seen.');
  }
  return converted;
}

function convertTransformer(transformer: Fields, options: Fields, part: string, note: Note): Converted | undefined {
  const name = textAt(transformer, 'functionName') ?? (transformer.type === 'custom' ? 'custom' : undefined);
  switch (name) {
    case 'time-values-to-mqtt':
      return { type: name, mapping: mappingOf(options, 'pointId', part, note) };
    case 'setpoint-to-mqtt':
      return { type: 'setpoints-to-mqtt', mapping: mappingOf(options, 'reference', part, note) };
    case 'csv-to-mqtt':
      return convertCsv(options, part, note);
    case 'json-to-mqtt':
      note(part, 'Its options have no counterpart; write a json-to-mqtt transformer by hand.');
      return undefined;
    case 'iso':
      note(part, 'What passes unchanged must be of content type "messages" here: a topic and a payload each.');
      return { type: 'messages-to-mqtt' };
    case 'ignore':
      return { type: 'ignore' };
    case 'custom': {
      const title = textAt(transformer, 'name') ?? 'without a name';
      note(part, `The custom transformer "${title}" is a program; write a json-to-mqtt transformer (JSONata) instead.`);
      return undefined;
    }
    default:
      note(part, name === undefined ? 'It does not say what it does.' : `"${name}" makes nothing for MQTT.`);
      return undefined;
  }
}

/** A point that is listed twice goes by its first entry; a reference, in OIBus, by its last. */
function mappingOf(options: Fields, key: 'pointId' | 'reference', part: string, note: Note): Converted[] {
  const entries = Array.isArray(options.mapping) ? options.mapping.filter(isRecord) : [];
  const mapping = new Map<string, Converted>();
  let left = 0;
  for (const entry of entries) {
    const source = textAt(entry, key);
    const topic = textAt(entry, 'topic');
    if (source === undefined || topic === undefined) left++;
    else if (!mapping.has(source) || key === 'reference') mapping.set(source, { [key]: source, topic });
  }
  if (left > 0) note(`${part}.options.mapping`, `${left} of ${entries.length} entries have no ${key} or no topic.`);
  const doubles = entries.length - left - mapping.size;
  if (doubles > 0)
    note(
      `${part}.options.mapping`,
      doubles === 1
        ? `One entry names a ${key} that is there already.`
        : `${doubles} entries name a ${key} that is there already.`,
    );
  return [...mapping.values()];
}

/** OIBus itself takes a space for TAB, which splits the names in a file; a real tab is what is meant. */
const DELIMITERS: Readonly<Record<string, string>> = {
  DOT: '.',
  SEMI_COLON: ';',
  COLON: ':',
  COMMA: ',',
  NON_BREAKING_SPACE: ' ',
  SLASH: '/',
  TAB: '\t',
  PIPE: '|',
};

/** Only what stands in the table itself: a name may be that of something every object has. */
function entryOf(table: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

function convertCsv(options: Fields, part: string, note: Note): Converted {
  const hasHeader = options.hasHeader !== false;
  const column = (name: unknown) => {
    // Anything else is no column and is left out with the transformer; an object may not even have a text.
    const text = typeof name === 'string' || typeof name === 'number' ? String(name) : '';
    return hasHeader ? text : Number.parseInt(text, 10);
  };
  const delimiter = textAt(options, 'delimiter') ?? 'SEMI_COLON';
  if (delimiter === 'TAB') note(`${part}.options.delimiter`, 'OIBus takes TAB for a space; here it is a tab.');
  note(part, 'Cells are taken as they stand: 007 stays 007, and an empty cell is an empty text.');
  return {
    type: 'csv-to-mqtt',
    delimiter: entryOf(DELIMITERS, delimiter) ?? delimiter,
    hasHeader,
    topicColumn: column(options.topicColumn ?? 'topic'),
    ...convertPayload(options, column),
  };
}

function convertPayload(options: Fields, column: (name: unknown) => unknown): Converted {
  const type = textAt(options, 'payloadType') ?? 'object';
  if (type !== 'object') {
    const valueColumn = column(options.valueColumn ?? 'value');
    return { payloadType: 'column', valueColumn, valueType: type, ...convertDatetime(type, options) };
  }
  const fields = Array.isArray(options.objectFields) ? options.objectFields.filter(isRecord) : [];
  const objectFields = fields.map((field) => {
    const fieldType = textAt(field, 'dataType') ?? 'string';
    return { key: field.key, column: column(field.column), type: fieldType, ...convertDatetime(fieldType, field) };
  });
  return objectFields.length === 0 ? { payloadType: 'row-object' } : { payloadType: 'object', objectFields };
}

const FORMATS: Readonly<Record<string, string>> = { 'unix-epoch': 'unix-seconds', 'unix-epoch-ms': 'unix-ms' };

function convertDatetime(type: string, field: Fields): { datetime?: Converted } {
  const settings = fieldsAt(field, 'datetimeSettings');
  if (type !== 'datetime') return {};
  return {
    datetime: {
      input: convertTimeFormat(settings, 'input', 'iso'),
      output: convertTimeFormat(settings, 'output', 'iso-utc'),
    },
  };
}

function convertTimeFormat(settings: Fields, side: 'input' | 'output', iso: string): Converted {
  const type = textAt(settings, `${side}Type`) ?? 'iso-string';
  if (type !== 'string') return { format: entryOf(FORMATS, type) ?? iso };
  const timezone = textAt(settings, `${side}Timezone`);
  const locale = textAt(settings, `${side}Locale`);
  return {
    format: textAt(settings, `${side}Format`) ?? 'yyyy-MM-dd HH:mm:ss',
    ...(timezone === undefined ? {} : { timezone }),
    ...(locale === undefined ? {} : { locale: locale.split('-')[0] === 'en' ? 'en' : locale }),
  };
}

/** What a URL cannot have in any form. */
const HALF_CHARACTERS = /\p{Surrogate}/gu;

/** In OIBus the source is a South, an item of one, or a name given to the API; here it is an input or that name. */
function withSource(transformer: Converted, entry: Fields, part: string, note: Note): Converted {
  const source = fieldsAt(entry, 'source');
  const dataSource = textAt(source, 'dataSourceId');
  if (source.type === 'oibus-api' && dataSource !== undefined) return { from: dataSource, ...transformer };
  const south = textAt(source, 'south', 'name') ?? textAt(source, 'southId') ?? textAt(entry, 'south', 'name');
  if (south === undefined) return { from: '*', ...transformer };
  note(
    `${part}.source`,
    `It took data from the South "${south}"; there are no Souths here. Hand it in with source=${encodeURIComponent(south.replaceAll(HALF_CHARACTERS, '\ufffd'))}.`,
  );
  return { from: south, ...transformer };
}
