/** The check of a time value's timestamp. It runs for every value, so the usual form is read without a regular expression. */
import { luxon } from '../core/calendar.js';

const DAYS_OF_MONTH = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** A date comes first: luxon would take a time of day alone, or a year alone, which say nothing about a moment. */
const BEGINS_WITH_DATE = /^(?:\d{4}-(?:\d\d-\d|W\d\d|\d{3}(?:T|$))|[+-]\d{6}-|\d{7,8}(?:T|$)|\d{4}W\d\d)/;

/**
 * True for an ISO 8601 date, or date and time, with or without an offset: 2026-01-15T10:00:00.000Z. The calendar is
 * respected: there is no 30th of February.
 */
export function isTimestamp(text: string): boolean {
  return isUsualTimestamp(text) || (BEGINS_WITH_DATE.test(text) && luxon().DateTime.fromISO(text).isValid);
}

/** True for YYYY-MM-DDThh:mm:ss with any number of decimals, then Z or ±hh:mm: RFC 3339 without its liberties. */
export function isUsualTimestamp(text: string): boolean {
  const length = text.length;
  if (length < 20) return false;
  if (text.charCodeAt(4) !== 0x2d || text.charCodeAt(7) !== 0x2d || text.charCodeAt(10) !== 0x54) return false;
  if (text.charCodeAt(13) !== 0x3a || text.charCodeAt(16) !== 0x3a) return false;
  const year = twoDigits(text, 0) * 100 + twoDigits(text, 2);
  const month = twoDigits(text, 5);
  const day = twoDigits(text, 8);
  // twoDigits is negative where there are none; hour, minute and second are checked with one comparison each.
  if (!(year >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= DAYS_OF_MONTH[month - 1]!)) return false;
  if (day === 29 && month === 2 && !(year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0))) return false;
  if (twoDigits(text, 11) >>> 0 > 23 || twoDigits(text, 14) >>> 0 > 59 || twoDigits(text, 17) >>> 0 > 59) return false;
  let at = 19;
  if (text.charCodeAt(at) === 0x2e) {
    const decimals = ++at;
    while (at < length && isDigit(text.charCodeAt(at))) at++;
    if (at === decimals) return false;
  }
  const zone = text.charCodeAt(at);
  if (zone === 0x5a) return at + 1 === length;
  if (zone !== 0x2b && zone !== 0x2d) return false;
  return (
    at + 6 === length &&
    text.charCodeAt(at + 3) === 0x3a &&
    twoDigits(text, at + 1) >>> 0 <= 23 &&
    twoDigits(text, at + 4) >>> 0 <= 59
  );
}

/** The number that two digits make, or a negative one when they are not both digits. */
function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 0x30;
  const ones = text.charCodeAt(at + 1) - 0x30;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1_000_000;
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}
