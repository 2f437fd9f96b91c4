/** Options that are a time or a size, in the forms that `units.ts` reads. */
import { z } from 'zod';
import { formatDuration, formatSize, parseDuration, parseSize } from './units.js';

function quantity(
  limits: { min: number; max: number },
  unit: 'ms' | 's' | 'bytes',
  parse: (text: string) => number | undefined,
  pattern: RegExp,
  expected: string,
  format: (value: number) => string,
) {
  // The limits stand in the number's metadata, not in its checks: the JSON Schema shows them, and the message below
  // gives both ends with their unit.
  const number = z.number().meta({ type: 'integer', minimum: limits.min, maximum: limits.max, 'x-unit': unit });
  const text = z.string().regex(pattern, { error: `must be ${expected}` });
  return z.union([number, text], { error: `must be ${expected}` }).transform((input, context) => {
    const value = typeof input === 'number' ? input : parse(input);
    if (value === undefined || !Number.isInteger(value)) {
      context.addIssue({ code: 'custom', message: `must be ${expected}` });
      return z.NEVER;
    }
    if (value < limits.min || value > limits.max) {
      const range = `must be between ${format(limits.min)} and ${format(limits.max)}`;
      context.addIssue({ code: 'custom', message: `${range}, is ${format(value)}` });
      return z.NEVER;
    }
    return value;
  });
}

/** An option that is a time: milliseconds as a number, or a text with unit. Gives milliseconds. */
export function duration(limits: { min: number; max: number }) {
  const expected = 'a time such as 500 ms, 10 s, 5 min, 72 h or 30 d (a bare number is milliseconds)';
  return quantity(limits, 'ms', parseDuration, /^\s*\d+(\.\d+)?\s*(ms|s|min|m|h|d)?\s*$/, expected, formatDuration);
}

/**
 * An option that is a time and travels on the wire in whole seconds, where MQTT counts in them. A bare number is
 * seconds, as everywhere in MQTT. Gives seconds.
 */
export function seconds(limits: { min: number; max: number }) {
  const expected = 'a time such as 60, 60 s, 5 min, 72 h or 30 d (a bare number is seconds)';
  const parse = (text: string) => {
    const ms = /[a-z]/.test(text) ? parseDuration(text) : parseDuration(`${text}s`);
    return ms === undefined ? undefined : ms / 1000;
  };
  const format = (value: number) =>
    value > 0 && Number.isInteger(value) ? formatDuration(value * 1000) : `${value} s`;
  return quantity(limits, 's', parse, /^\s*\d+(\.\d+)?\s*(ms|s|min|m|h|d)?\s*$/, expected, format);
}

/** An option that is a size: bytes as a number, or a text with unit. Gives bytes. */
export function size(limits: { min: number; max: number }) {
  const expected = 'a size such as 512 KiB, 64 MiB or 10 GiB (a bare number is bytes)';
  return quantity(limits, 'bytes', parseSize, /^\s*\d+(\.\d+)?\s*([kKMGT]i?B|B)?\s*$/, expected, formatSize);
}
