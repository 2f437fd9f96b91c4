/** JSON that comes from outside: checked for UTF-8 and for prototype keys, and with the place of a fault. */
import { isUtf8 } from 'node:buffer';
import { NorthError } from './error.js';

const BYTE_ORDER_MARK = 0xfeff;

/**
 * The value of a JSON text in UTF-8, with or without a byte-order mark.
 *
 * Throws CONTENT_MALFORMED with line and column of the first fault. A key `__proto__` counts as a fault: it would be
 * harmless here, but one careless assignment further on would change the prototype of every object.
 */
export function parseJson(bytes: Uint8Array): unknown {
  if (!isUtf8(bytes)) {
    throw new NorthError('CONTENT_MALFORMED', `The JSON is not valid UTF-8 at byte ${firstInvalidByte(bytes)}.`);
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return parseJsonText(buffer.toString('utf8'));
}

/** As `parseJson`, of a text that is decoded already. */
export function parseJsonText(text: string): unknown {
  const json = text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    const fault = findJsonFault(json);
    throw new NorthError(
      'CONTENT_MALFORMED',
      `The JSON is malformed at ${describePlace(json, fault.index)}: ${fault.problem}.`,
    );
  }
  if (mayHavePrototypeKey(json) && hasPrototypeKey(value)) {
    throw new NorthError('CONTENT_MALFORMED', 'The JSON has a key "__proto__", which is not allowed.');
  }
  return value;
}

function describePlace(text: string, index: number): string {
  const before = text.slice(0, index);
  const line = before.split('\n').length;
  const column = index - (before.lastIndexOf('\n') + 1) + 1;
  return `line ${line}, column ${column}`;
}

/** Three searches in native code cost less than a walk through the value, and nearly always end it here. */
function mayHavePrototypeKey(json: string): boolean {
  return json.includes('__proto__') || json.includes('\\u005f') || json.includes('\\u005F');
}

function hasPrototypeKey(root: unknown): boolean {
  const pending: unknown[] = [root];
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value !== 'object' || value === null) continue;
    if (Object.hasOwn(value, '__proto__')) return true;
    for (const inner of Object.values(value)) pending.push(inner);
  }
  return false;
}

function firstInvalidByte(bytes: Uint8Array): number {
  // Halving finds the longest valid beginning; a cut inside a character is at most three bytes before the fault.
  let valid = 0;
  let invalid = bytes.length;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >>> 1;
    if (isUtf8(trimPartialCharacter(bytes.subarray(0, middle)))) valid = middle;
    else invalid = middle;
  }
  return trimPartialCharacter(bytes.subarray(0, valid)).length;
}

/** Without the beginning of a character at the end, which more bytes could have completed. */
function trimPartialCharacter(bytes: Uint8Array): Uint8Array {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte >= 0xc0) {
      const size = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return size > back ? bytes.subarray(0, bytes.length - back) : bytes;
    }
    if (byte < 0x80) return bytes;
  }
  return bytes;
}

export interface JsonFault {
  /** 0-based, in UTF-16 units of the text. */
  index: number;
  problem: string;
}

const LITERALS = ['true', 'false', 'null'];
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/**
 * The first fault of a text that `JSON.parse` refused [RFC 8259]. The engine's own message names the position in some
 * cases and versions only, and quotes the content in others.
 */
export function findJsonFault(text: string): JsonFault {
  /** What may come next: a value, a key, or what follows a finished value. */
  let expected: 'value' | 'value-or-end' | 'key' | 'key-or-end' | 'after' = 'value';
  const open: ('[' | '{')[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && ' \t\n\r'.includes(text.charAt(at))) at++;
    const char = text.charAt(at);
    if (char === '') {
      const unfinished =
        open.length > 0 ? `the ${open.at(-1) === '[' ? 'list' : 'object'} is not closed` : 'a value is missing';
      return { index: at, problem: `the text ends, but ${unfinished}` };
    }
    const inner = open.at(-1);
    const closing = inner === '[' ? ']' : '}';
    const mayClose = expected === 'after' || expected === 'value-or-end' || expected === 'key-or-end';
    if (inner !== undefined && char === closing && mayClose) {
      open.pop();
      expected = 'after';
      at++;
    } else if (expected === 'after') {
      if (inner === undefined) return { index: at, problem: `nothing may follow the value, but ${quote(char)} does` };
      if (char !== ',') return { index: at, problem: `expected "," or "${closing}", not ${quote(char)}` };
      expected = inner === '[' ? 'value' : 'key';
      at++;
    } else if (expected === 'key' || expected === 'key-or-end') {
      if (char !== '"') return { index: at, problem: `expected a key in double quotes, not ${quote(char)}` };
      const end = endOfString(text, at);
      if (typeof end !== 'number') return end;
      at = end;
      while (at < text.length && ' \t\n\r'.includes(text.charAt(at))) at++;
      if (text.charAt(at) !== ':')
        return { index: at, problem: `expected ":" after the key, not ${quote(text.charAt(at))}` };
      expected = 'value';
      at++;
    } else if (char === '[' || char === '{') {
      open.push(char);
      expected = char === '[' ? 'value-or-end' : 'key-or-end';
      at++;
    } else {
      const end = char === '"' ? endOfString(text, at) : endOfScalar(text, at);
      if (typeof end !== 'number') return end;
      expected = 'after';
      at = end;
    }
  }
}

function endOfString(text: string, start: number): number | JsonFault {
  for (let at = start + 1; at < text.length; at++) {
    const char = text.charAt(at);
    if (char === '"') return at + 1;
    if (char < ' ') return { index: at, problem: 'a text must not contain a line break or control character as it is' };
    if (char !== '\\') continue;
    at++;
    const escaped = text.charAt(at);
    if (escaped === 'u') {
      if (!/^[0-9a-fA-F]{4}$/.test(text.slice(at + 1, at + 5)))
        return { index: at - 1, problem: '\\u needs four hexadecimal digits' };
      at += 4;
    } else if (escaped !== '' && !'"\\/bfnrt'.includes(escaped)) {
      return { index: at - 1, problem: `there is no escape \\${escaped}` };
    }
  }
  return { index: text.length, problem: 'the text ends inside a string' };
}

function endOfScalar(text: string, at: number): number | JsonFault {
  const literal = LITERALS.find((word) => text.startsWith(word, at));
  if (literal !== undefined) return at + literal.length;
  NUMBER.lastIndex = at;
  const number = NUMBER.exec(text);
  return number === null
    ? { index: at, problem: `expected a value, not ${quote(text.charAt(at))}` }
    : at + number[0].length;
}

function quote(char: string): string {
  return char === '' ? 'the end of the text' : JSON.stringify(char);
}
