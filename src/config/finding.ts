/** Turns what zod finds in a value into findings for people: in words, with a hint, and without repeating any text. */
import type { z } from 'zod';
import { ERRORS, type ErrorCode, isErrorCode } from '../core/error-codes.js';
import { nearMiss } from './near-miss.js';
import type { Finding } from './problem.js';
import { alternatives, type Path, type Shape, shapesAt, valueAt } from './shape.js';
import { unknownKeyHint } from './unknown-key.js';

/** `value` is what was checked, as it was written; `shape` is that of the schema that checked it. */
export function findingsOf(issues: readonly z.core.$ZodIssue[], value: unknown, shape: Shape): Finding[] {
  return issues.flatMap((issue) => translate(issue, [], { value, shape }));
}

interface Subject {
  value: unknown;
  shape: Shape;
}

function translate(issue: z.core.$ZodIssue, prefix: Path, subject: Subject): Finding[] {
  const path = [...prefix, ...issue.path.map((key) => (typeof key === 'number' ? key : String(key)))];
  const found = valueAt(subject.value, path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const hint = unknownKeyHint(subject.shape, subject.value, path, key);
      return { ...finding('CONFIG_KEY_UNKNOWN', [...path, key], 'is not a known key', hint), isAtKey: true };
    });
  }
  if (issue.code === 'custom') {
    const { code, hint } = issue.params ?? {};
    const ourCode = typeof code === 'string' && isErrorCode(code) ? code : 'CONFIG_INVALID';
    const ownHint = typeof hint === 'string' ? hint : ourCode === 'CONFIG_INVALID' ? purposeOf(path, subject) : '';
    return [finding(ourCode, path, asClaim(issue.message), ownHint)];
  }
  if (found === undefined) return [finding('CONFIG_KEY_MISSING', path, 'is missing', purposeOf(path, subject))];
  if (issue.code === 'invalid_union') return translateUnion(issue, path, subject);
  if (issue.code === 'invalid_key') {
    return [finding('CONFIG_INVALID', path, `is a key that ${issue.issues[0]?.message ?? 'is not allowed'}`, '')];
  }
  return [finding('CONFIG_INVALID', path, complaint(issue, found), slipHint(issue, found) ?? purposeOf(path, subject))];
}

function translateUnion(issue: z.core.$ZodIssueInvalidUnion, path: Path, subject: Subject): Finding[] {
  const found = valueAt(subject.value, path);
  if (issue.errors.length === 0) {
    const options = constantsAt(path, subject);
    const message = options.length === 0 ? 'is not one of the known kinds' : `must be ${listOf(options)}`;
    return [finding('CONFIG_INVALID', path, message, nearHint(found, options) ?? '')];
  }
  if (isOwnMessage(issue.message)) {
    return [finding('CONFIG_INVALID', path, asClaim(issue.message), purposeOf(path, subject))];
  }
  // An alternative whose complaint lies deeper was the one that was meant.
  const deeper = issue.errors.filter((errors) => errors.every((one) => one.path.length > 0 || isAboutKeys(one)));
  const meant = deeper.sort((a, b) => a.length - b.length)[0];
  if (meant !== undefined) return meant.flatMap((one) => translate(one, path, subject));
  const expected = issue.errors.flatMap((errors) => errors.slice(0, 1).map(expectation));
  const message = `must be ${listOf([...new Set(expected)])}`;
  return [finding('CONFIG_INVALID', path, message, purposeOf(path, subject))];
}

function isAboutKeys(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'unrecognized_keys';
}

/** The values that a constant key such as `type` may have in any alternative. */
function constantsAt(path: Path, { value, shape }: Subject): string[] {
  const key = path.at(-1);
  const parents = shapesAt(shape, value, path.slice(0, -1)).flatMap((one) => alternatives(shape, one, undefined));
  const constants = parents.map((parent) => (typeof key === 'string' ? parent.properties?.[key]?.const : undefined));
  return [...new Set(constants.filter((constant) => typeof constant === 'string'))];
}

function finding(code: ErrorCode, path: Path, message: string, hint: string): Finding {
  return { severity: 'error', code, path, message, hint: hint === '' ? ERRORS[code].remedy : hint };
}

function complaint(issue: z.core.$ZodIssue, found: unknown): string {
  if (isOwnMessage(issue.message)) return asClaim(issue.message);
  const expected = expectation(issue);
  if (found === null) return `is empty and must be ${expected}`;
  const isKindWrong = issue.code === 'invalid_type' && !(issue.expected === 'int' && typeof found === 'number');
  return isKindWrong ? `must be ${expected}, and is ${kindOf(found)}` : `must be ${expected}`;
}

/** True for a message that a declaration gave; zod's own begin with these words. */
function isOwnMessage(message: string): boolean {
  return !/^(Invalid|Too |Unrecognized|Expected|Duplicate)/.test(message);
}

/** Goes on from the path, as all our messages do. */
function asClaim(message: string): string {
  return message.replace(/^expected /, 'must be ');
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a section with keys',
  record: 'a section with keys',
  array: 'a list',
};

/** What was wanted, to follow "must be". */
function expectation(issue: z.core.$ZodIssue): string {
  if (isOwnMessage(issue.message)) return asClaim(issue.message).replace(/^must be /, '');
  switch (issue.code) {
    case 'invalid_type':
      return KINDS[issue.expected] ?? issue.expected;
    case 'invalid_value':
      return listOf(issue.values.map(String));
    case 'too_small':
      return boundOf(issue.origin, 'at least', Number(issue.minimum), issue.inclusive !== false);
    case 'too_big':
      return boundOf(issue.origin, 'at most', Number(issue.maximum), issue.inclusive !== false);
    case 'not_multiple_of':
      return `a multiple of ${issue.divisor}`;
    default:
      return 'of another form';
  }
}

function boundOf(origin: string, word: 'at least' | 'at most', limit: number, isInclusive: boolean): string {
  const bound = isInclusive ? `${word} ${limit}` : `${word === 'at least' ? 'more' : 'less'} than ${limit}`;
  if (origin === 'string') return limit === 1 && word === 'at least' ? 'filled in' : `${bound} characters long`;
  if (origin === 'array' || origin === 'set') return `a list with ${bound} ${limit === 1 ? 'entry' : 'entries'}`;
  return bound;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'boolean') return String(value);
  return KINDS[typeof value] ?? typeof value;
}

/** A hint for the slips that YAML invites. */
function slipHint(issue: z.core.$ZodIssue, found: unknown): string | undefined {
  if (issue.code === 'invalid_value') return nearHint(found, issue.values.map(String));
  if (issue.code !== 'invalid_type') return undefined;
  const isNumber = issue.expected === 'number' || issue.expected === 'int';
  if (typeof found === 'string' && isNumber && found.trim() !== '' && Number.isFinite(Number(found))) {
    return 'Write it without quotes.';
  }
  if (typeof found === 'string' && issue.expected === 'boolean') return 'Write true or false, without quotes.';
  if (issue.expected === 'string' && ['number', 'boolean'].includes(typeof found)) return 'Put it in quotes.';
  if (issue.expected === 'array' && found !== null) return 'Begin each entry with "- ".';
  return undefined;
}

/** Names the option that was meant; or, for a number in quotes, how to write it. Never the text that was found. */
function nearHint(found: unknown, options: readonly string[]): string | undefined {
  if (typeof found === 'string' && options.includes(found)) return 'Write it without quotes.';
  const near = typeof found === 'string' ? nearMiss(found, options) : undefined;
  return near === undefined ? undefined : `Did you mean ${near}?`;
}

/** What the option is for, from its own declaration or that of the section around it. */
function purposeOf(path: Path, { value, shape }: Subject): string {
  for (let length = path.length; length > 0; length--) {
    const shapes = shapesAt(shape, value, path.slice(0, length));
    const described = shapes.find(({ description }) => description !== undefined);
    if (described?.description !== undefined) return described.description;
  }
  return '';
}

/** "a", "a or b", "a, b or c". */
function listOf(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
