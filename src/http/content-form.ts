/** From the bytes of a body to content: what each media type can hold, and what to do with a bad line. */
import { CONTENT_TYPES, type Content, type ContentType, type Rejection } from '../core/content.js';
import { NorthError } from '../core/error.js';
import { parseJson } from '../core/json.js';
import { noRoom, type Share } from './budget.js';

/**
 * Most elements of one request. Without it, a body of `[1,1,1,…]` within the size limit would make tens of millions of
 * rejections, and end the process for want of memory.
 */
export const ELEMENTS_MAX = 1_000_000;

export interface MediaType {
  /** In lower case, without parameters; empty when the request names none. */
  name: string;
  charset: string | undefined;
}

export interface ParsedContent {
  content: Content;
  /** Lines that hold no JSON. The other elements keep their indices through `indices`. */
  rejected: readonly Rejection[];
  /** For each element its index in the body, where lines were left out; undefined when they are the same. */
  indices: readonly number[] | undefined;
}

export function parseMediaType(header: string | undefined): MediaType {
  const [name = '', ...parameters] = (header ?? '').split(';');
  const charset = parameters
    .map((parameter) => /^\s*charset\s*=\s*"?([^"\s]+)"?\s*$/i.exec(parameter)?.[1]?.toLowerCase())
    .find((value) => value !== undefined);
  return { name: name.trim().toLowerCase(), charset };
}

export function isContentType(type: string): type is ContentType {
  return (CONTENT_TYPES as readonly string[]).includes(type);
}

/** Throws CONTENT_TYPE_UNSUPPORTED when a body of this media type cannot hold this type of content. */
export function checkMediaType(type: ContentType, media: MediaType): void {
  const fitting = type === 'csv' ? ['text/csv'] : ['application/json', ...(type === 'json' ? [] : NDJSON)];
  if (fitting.includes(media.name) || (type !== 'csv' && /^application\/[^/]+\+json$/.test(media.name))) return;
  const found = media.name === '' ? 'The request names no media type' : `The media type "${media.name}" does not fit`;
  throw new NorthError('CONTENT_TYPE_UNSUPPORTED', `${found} for ${type} content.`, {
    remedy: `Set Content-Type to ${fitting.slice(0, 2).join(' or ')}.`,
  });
}

const NDJSON = ['application/x-ndjson', 'application/ndjson', 'application/jsonl', 'application/x-jsonlines'];

/** What becomes of an element at least: a message, or a rejection with its text. */
const ELEMENT_SIZE_BYTES = 128;
/** Memory of parsed JSON per byte of its text, roughly: a list of empty lists takes the most. */
export const PARSED_PER_BYTE = 3;

/**
 * The content in a body whose media type has been checked. Throws CONTENT_MALFORMED, or REQUEST_TOO_MANY when `share` has
 * no room for what becomes of it: small numbers in a list take many times the memory of their text.
 */
export function parseContent(type: ContentType, media: MediaType, body: Buffer, share: Share): ParsedContent {
  // Its encoding is a setting of the transformer, which also knows what to do with a cell that cannot be decoded.
  if (type === 'csv') return whole({ type, body });
  if (media.charset !== undefined && !/^(utf-?8|us-ascii)$/.test(media.charset)) {
    throw new NorthError('CONTENT_TYPE_UNSUPPORTED', `JSON is always UTF-8, not ${media.charset} [RFC 8259 §8.1].`);
  }
  reserve(share, body.length * PARSED_PER_BYTE);
  if (NDJSON.includes(media.name) && type !== 'json') return parseLines(type, body, share);
  const document = parseJson(body);
  if (type === 'json') return whole({ type, document });
  if (!Array.isArray(document)) {
    throw new NorthError('CONTENT_MALFORMED', `The content type ${type} is a JSON list, not ${nameOf(document)}.`);
  }
  checkCount(document.length);
  reserve(share, document.length * ELEMENT_SIZE_BYTES);
  return whole({ type, elements: document });
}

function whole(content: Content): ParsedContent {
  return { content, rejected: [], indices: undefined };
}

function nameOf(value: unknown): string {
  return value === null ? 'null' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** A line that is no JSON is rejected alone: thousands of good lines need not wait for the producer to mend one. */
function parseLines(type: Exclude<ContentType, 'csv' | 'json'>, body: Buffer, share: Share): ParsedContent {
  const elements: unknown[] = [];
  const indices: number[] = [];
  const rejected: Rejection[] = [];
  let index = 0;
  for (let start = 0; start < body.length; ) {
    const newline = body.indexOf(0x0a, start);
    const end = newline < 0 ? body.length : newline;
    const line = body.subarray(start, end);
    start = end + 1;
    if (isBlank(line)) continue;
    checkCount(index + 1);
    reserve(share, ELEMENT_SIZE_BYTES);
    try {
      elements.push(parseJson(line));
      indices.push(index);
    } catch (error) {
      if (!(error instanceof NorthError)) throw error;
      rejected.push({ index, code: 'ELEMENT_INVALID', message: error.message });
    }
    index++;
  }
  return { content: { type, elements }, rejected, indices: rejected.length === 0 ? undefined : indices };
}

/** Throws CONTENT_TOO_LARGE. */
export function checkCount(elementsCount: number): void {
  if (elementsCount <= ELEMENTS_MAX) return;
  throw new NorthError('CONTENT_TOO_LARGE', `The content has more than ${ELEMENTS_MAX} elements.`, {
    remedy: 'Send it in several requests.',
  });
}

/** Takes room in memory for what is about to be made. Throws REQUEST_TOO_MANY. */
export function reserve(share: Share, bytes: number): void {
  if (!share.tryGrow(bytes)) throw noRoom();
}

function isBlank(line: Buffer): boolean {
  for (const byte of line) {
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
  }
  return true;
}
