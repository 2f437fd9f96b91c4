/**
 * Times as content writes them, and as messages are to have them. An ISO time keeps all its decimals: what the
 * calendar cannot hold (microseconds) is carried along as text.
 */
import type { DateTime, DateTimeOptions } from 'luxon';
import type { DatetimeConfig } from '../config/transformer-fields.js';
import { luxon } from '../core/calendar.js';
import { errorText, NorthError } from '../core/error.js';
import { LocalClock } from './local-time.js';
import { isTimestamp, isUsualTimestamp } from './timestamp.js';

/** Reads a time and writes it anew; undefined when it is no such time. */
export type DatetimeConverter = (text: string) => string | undefined;

interface Moment {
  ms: number;
  /** Decimals of the second behind the third. */
  decimals: string;
}

/** The farthest that a date of JavaScript reaches from 1970. */
const MS_MAX = 8.64e15;
const DECIMAL_NUMBER = /^([+-]?)(\d+)(?:\.(\d+))?$/;
const ENDS_WITH_OFFSET = /T.*(?:Z|[+-]\d\d(?::?\d\d)?)$/i;
const FINE_DECIMALS = /[.,]\d{3}(\d+)/;

/** The converter for a configuration. Throws CONFIG_INVALID with the place of a format that cannot be read back. */
export function compileDatetime(config: DatetimeConfig, place: string): DatetimeConverter {
  const read = compileInput(config.input, `${place}.input.format`);
  const write = compileOutput(config.output);
  // Rows often come in groups of the same time.
  let lastText: string | undefined;
  let lastResult: string | undefined;
  return (text) => {
    if (text === lastText) return lastResult;
    const moment = read(text.trim());
    lastResult = moment === undefined ? undefined : write(moment);
    lastText = text;
    return lastResult;
  };
}

/** True when what the converter writes is a number rather than a text. */
export function isNumericOutput(config: DatetimeConfig): boolean {
  return config.output.format === 'unix-seconds' || config.output.format === 'unix-ms';
}

function compileInput(config: DatetimeConfig['input'], place: string): (text: string) => Moment | undefined {
  // A time without an offset is read as UTC first; the clock then tells when it is that in its zone.
  const options: DateTimeOptions = { zone: 'UTC', locale: config.locale };
  const clock = new LocalClock(config.timezone);
  switch (config.format) {
    case 'iso':
      return (text) => readIso(text, options, clock);
    case 'unix-seconds':
      return (text) => readUnix(text, 3);
    case 'unix-ms':
      return (text) => readUnix(text, 0);
    default:
      return compileTokens(config, options, clock, place);
  }
}

function readIso(text: string, options: DateTimeOptions, clock: LocalClock): Moment | undefined {
  const decimals = FINE_DECIMALS.exec(text)?.[1] ?? '';
  if (isUsualTimestamp(text)) return { ms: Date.parse(text), decimals };
  if (!isTimestamp(text)) return undefined;
  const time = luxon().DateTime.fromISO(text, options);
  const ms = ENDS_WITH_OFFSET.test(text) ? time.toMillis() : clock.momentOf(time);
  return ms === undefined ? undefined : { ms, decimals };
}

/** @param places how many decimals of the text are milliseconds: 3 of seconds, none of milliseconds. */
function readUnix(text: string, places: 0 | 3): Moment | undefined {
  const match = DECIMAL_NUMBER.exec(text);
  if (match === null) return undefined;
  const [, sign, whole = '', decimals = ''] = match;
  const magnitude = Number(whole + decimals.slice(0, places).padEnd(places, '0'));
  const fine = decimals.slice(places);
  // Before 1970 the decimals count backwards, so that they cannot be carried along; they are rounded there.
  const ms = sign === '-' ? -Math.round(magnitude + Number(`0.${fine}`)) : magnitude;
  return magnitude <= MS_MAX ? { ms, decimals: sign === '-' ? '' : fine } : undefined;
}

function compileTokens(
  config: DatetimeConfig['input'],
  options: DateTimeOptions,
  clock: LocalClock,
  place: string,
): (text: string) => Moment | undefined {
  const { format } = config;
  const sample = checkFormat(format, options, place);
  const parser = luxon().DateTime.buildFormatParser(format, options);
  const elsewhere = luxon().DateTime.fromFormat(sample, format, { ...options, zone: 'UTC+1' });
  const namesOffset = elsewhere.toMillis() === luxon().DateTime.fromFormat(sample, format, options).toMillis();
  return (text) => {
    const time = luxon().DateTime.fromFormatParser(text, parser, options);
    if (!time.isValid) return undefined;
    const ms = namesOffset ? time.toMillis() : clock.momentOf(time);
    return ms === undefined ? undefined : { ms, decimals: '' };
  };
}

/**
 * A format is good when it can be read and tells the day: a time of day alone would silently become one of today.
 * Gives a sample of it.
 */
function checkFormat(format: string, options: DateTimeOptions, place: string): string {
  const sample = luxon().DateTime.fromObject(
    { year: 2001, month: 11, day: 22, hour: 13, minute: 14, second: 15 },
    options,
  );
  const text = sample.toFormat(format);
  const back = readBack(text, format, options);
  if (typeof back !== 'string' && back.isValid && back.toISODate() === '2001-11-22') return text;
  let problem: string;
  if (typeof back === 'string') problem = back;
  else problem = back.isValid ? 'it does not tell year, month and day' : `it cannot be read back from "${text}"`;
  throw new NorthError('CONFIG_INVALID', `The date format ${JSON.stringify(format)} is not usable: ${problem}.`, {
    place,
    remedy: 'Use iso, unix-seconds, unix-ms, or tokens such as "dd/MM/yyyy HH:mm:ss" and quotes around other letters.',
  });
}

/** The time that the text tells in this format, or why the format contradicts itself. */
function readBack(text: string, format: string, options: DateTimeOptions): DateTime | string {
  try {
    return luxon().DateTime.fromFormat(text, format, options);
  } catch (error) {
    // A format that asks for AM or PM and for 24 hours, for example; other texts that cannot be read give an invalid time.
    return errorText(error);
  }
}

function compileOutput(config: DatetimeConfig['output']): (moment: Moment) => string {
  const options: DateTimeOptions = { zone: config.timezone, locale: config.locale };
  switch (config.format) {
    case 'iso-utc':
      return ({ ms, decimals }) => withDecimals(new Date(ms).toISOString(), decimals);
    case 'iso':
      return ({ ms, decimals }) => withDecimals(luxon().DateTime.fromMillis(ms, options).toISO() ?? '', decimals);
    case 'unix-seconds':
      return ({ ms }) => String(ms / 1000);
    case 'unix-ms':
      return ({ ms }) => String(ms);
    default:
      return ({ ms }) => luxon().DateTime.fromMillis(ms, options).toFormat(config.format);
  }
}

function withDecimals(iso: string, decimals: string): string {
  return decimals === '' ? iso : iso.replace(/\.\d{3}/, (thousandths) => thousandths + decimals);
}
