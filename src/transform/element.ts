/** What the transformers of in-memory content have in common: taking its elements one by one, and naming faults. */
import type { Content } from '../core/content.js';
import { errorText, NorthError } from '../core/error.js';

/** So many elements take some milliseconds; then sockets and timers get their turn. */
const SLICE_COUNT = 5000;
const QUOTE_MAX = 100;

/**
 * Calls `take` for the indices 0 to `count`. Up to some thousands at once; beyond that it returns a promise and lets
 * the event loop run in between, so that a large piece of content does not delay acknowledgements and alerts.
 */
export function takeEach(count: number, take: (index: number) => void): void | Promise<void> {
  const end = Math.min(count, SLICE_COUNT);
  for (let index = 0; index < end; index++) take(index);
  if (end < count) return takeRest(end, count, take);
}

async function takeRest(start: number, count: number, take: (index: number) => void): Promise<void> {
  for (let index = start; index < count; index++) {
    if (index % SLICE_COUNT === 0) await eventLoopTurn();
    take(index);
  }
}

/** Resolves after everything that waits in the event loop now has had its turn. */
export function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The content as the type that a transformer is made for; another one is a mistake of the caller. */
export function contentOf<T extends Content['type']>(content: Content, type: T): Extract<Content, { type: T }> {
  if (content.type === type) return content as Extract<Content, { type: T }>;
  throw new NorthError('TRANSFORMER_MISSING', `This transformer takes ${type}, not ${content.type}.`);
}

/** True for what JSON calls an object, from any realm; false for lists, maps and instances of classes. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** A value from the content, short enough for a message to people. */
export function quote(value: unknown): string {
  if (typeof value === 'string') {
    return value.length <= QUOTE_MAX ? JSON.stringify(value) : `${JSON.stringify(value.slice(0, QUOTE_MAX))}…`;
  }
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`;
  return String(value);
}

const HALF_SURROGATE = /\p{Surrogate}/u;

/** Why a text cannot be a payload, or undefined when it can. */
export function textProblem(text: string): string | undefined {
  return HALF_SURROGATE.test(text) ? 'has half of a surrogate pair in it, which UTF-8 cannot express' : undefined;
}

/** The JSON of a value, or what is wrong with the value: it has no JSON, or refers to itself. */
export function jsonOf(value: unknown): { json: string } | { problem: string } {
  try {
    const json: string | undefined = JSON.stringify(value);
    return json === undefined ? { problem: `cannot be written as JSON: it is ${quote(value)}` } : { json };
  } catch (error) {
    // The engine's stack ends with a RangeError; what it says of circles goes over several lines.
    const reason = error instanceof RangeError ? 'it is nested too deeply' : errorText(error).split('\n')[0];
    return { problem: `cannot be written as JSON: ${reason}` };
  }
}
