/** Values of the content made into what the configuration asks for, as the text that goes into a payload. */
import type { DatetimeConfig, FieldType } from '../config/transformer-fields.js';
import { compileDatetime, isNumericOutput } from './datetime.js';
import { jsonOf, quote, textProblem } from './element.js';

/** Why a value cannot become what was asked for; begins in lower case and has no full stop. */
export interface FieldProblem {
  problem: string;
}

/** A value as text; null where there is none. */
export type Converted = string | null | FieldProblem;

export interface Field {
  /** True when the text needs quotes in JSON, false when it is JSON already. */
  readonly quoted: boolean;
  convert(value: unknown): Converted;
}

export interface FieldOptions {
  type: FieldType | 'any';
  datetime?: DatetimeConfig | undefined;
  decimalSeparator: '.' | ',';
  /** The place of `datetime` in the configuration. */
  place: string;
}

const DEFAULT_DATETIME: DatetimeConfig = {
  input: { format: 'iso', timezone: 'UTC', locale: 'en' },
  output: { format: 'iso-utc', timezone: 'UTC', locale: 'en' },
};

/** The field of a configuration. Throws CONFIG_INVALID for a date format that is not usable. */
export function compileField(options: FieldOptions): Field {
  switch (options.type) {
    case 'any':
      return { quoted: false, convert: toJson };
    case 'string':
      return { quoted: true, convert: toText };
    case 'number': {
      const { decimalSeparator } = options;
      return { quoted: false, convert: (value) => toNumber(value, decimalSeparator) };
    }
    case 'boolean':
      return { quoted: false, convert: toBoolean };
    case 'datetime': {
      const config = options.datetime ?? DEFAULT_DATETIME;
      const convert = compileDatetime(config, options.place);
      return { quoted: !isNumericOutput(config), convert: (value) => toDatetime(value, convert) };
    }
  }
}

/** The JSON of what a field gave. */
export function fieldJson(field: Field, converted: string | null): string {
  return converted === null ? 'null' : field.quoted ? JSON.stringify(converted) : converted;
}

function toJson(value: unknown): Converted {
  if (value === undefined) return null;
  const json = jsonOf(value);
  return 'json' in json ? json.json : json;
}

function toText(value: unknown): Converted {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string') return toJson(value);
  const problem = textProblem(value);
  return problem === undefined ? value : { problem };
}

function toNumber(value: unknown, decimalSeparator: '.' | ','): Converted {
  if (value === undefined || value === null || value === '') return null;
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  const literal = typeof value === 'string' ? numberLiteral(value, decimalSeparator) : undefined;
  return literal ?? { problem: `${quote(value)} is no number` };
}

/**
 * The number as JSON writes it, digit for digit: a counter of 20 digits and 1.10 stay what they are, which they would
 * not as a binary number. Undefined when the text is no number, or one beyond what receivers can hold.
 */
function numberLiteral(text: string, decimalSeparator: '.' | ','): string | undefined {
  const match = NUMBERS[decimalSeparator].exec(trimSpaces(text));
  if (match === null) return undefined;
  const [, sign = '', whole = '', decimals = '', exponent = ''] = match;
  if (whole === '' && decimals === '') return undefined;
  const digits = whole.replace(/^0+(?=\d)/, '') || '0';
  const literal = `${sign === '-' ? '-' : ''}${digits}${decimals === '' ? '' : `.${decimals}`}${exponent}`;
  return Number.isFinite(Number(literal)) ? literal : undefined;
}

const NUMBERS = {
  '.': /^([+-]?)(\d*)(?:\.(\d*))?([eE][+-]?\d+)?$/,
  ',': /^([+-]?)(\d*)(?:,(\d*))?([eE][+-]?\d+)?$/,
};

/** Without the spaces around; a regular expression would need quadratic time for a cell that is full of them. */
function trimSpaces(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && text.charCodeAt(start) === 0x20) start++;
  while (end > start && text.charCodeAt(end - 1) === 0x20) end--;
  return text.slice(start, end);
}

function toBoolean(value: unknown): Converted {
  if (value === undefined || value === null || value === '') return null;
  if (typeof value === 'boolean') return String(value);
  const text = typeof value === 'number' ? String(value) : typeof value === 'string' ? value.trim().toLowerCase() : '';
  if (text === 'true' || text === '1') return 'true';
  if (text === 'false' || text === '0') return 'false';
  return { problem: `${quote(value)} is neither true nor false, 1 nor 0` };
}

function toDatetime(value: unknown, convert: (text: string) => string | undefined): Converted {
  if (value === undefined || value === null || value === '') return null;
  const text = typeof value === 'number' ? String(value) : value;
  const converted = typeof text === 'string' ? convert(text) : undefined;
  return converted ?? { problem: `${quote(value)} is no date and time of the configured format` };
}
