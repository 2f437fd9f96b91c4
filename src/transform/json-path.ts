/**
 * Simple JSON paths, compiled once: `a.b[0].c`, `$.a['b c']`, `$.items[*]`.
 *
 * A path that begins with `$` starts at the document, any other one (or one with `@`) at the element. `[*]` takes all
 * entries of a list or object. In a path that gives one value, a `[*]` after `$` stands for the entry that the current
 * element came from: with the iterator `$.lines[*].items[*]`, `$.lines[*].name` is the name of the element's line.
 *
 * Only own properties are found, so that `constructor` and its like are nothing.
 */
import { NorthError } from '../core/error.js';

/** An element of a document, and where it stands there. */
export interface PathContext {
  readonly document: unknown;
  readonly element: unknown;
  /** What each `[*]` of the iterator stood for, in order. */
  readonly trail: readonly (string | number)[];
}

type Segment = { key: string | number } | { wildcard: true };

const ANY: Segment = { wildcard: true };
const NO_TRAIL: readonly (string | number)[] = [];

export class JsonPath {
  readonly #fromDocument: boolean;
  readonly #segments: readonly Segment[];

  /** Throws CONFIG_INVALID with `place` when the text is no such path. */
  constructor(text: string, place: string) {
    const { root, segments } = parsePath(text, place);
    this.#fromDocument = root === '$';
    this.#segments = segments;
  }

  get wildcardCount(): number {
    return this.#segments.filter((segment) => segment === ANY).length;
  }

  /** True for a path that begins with `$`. */
  get fromDocument(): boolean {
    return this.#fromDocument;
  }

  /** The one value that the path leads to, or undefined. */
  get(context: PathContext): unknown {
    return this.#follow(this.#fromDocument ? context.document : context.element, context.trail);
  }

  /** The same for a path without `$` and `[*]`, which needs the element only. */
  find(element: unknown): unknown {
    return this.#follow(element, NO_TRAIL);
  }

  #follow(start: unknown, trail: readonly (string | number)[]): unknown {
    let value = start;
    let trailAt = 0;
    for (const segment of this.#segments) {
      const key = 'key' in segment ? segment.key : trail[trailAt++];
      if (key === undefined) return undefined;
      value = entryOf(value, key);
      if (value === undefined) return undefined;
    }
    return value;
  }

  /**
   * Calls `found` for everything that the path leads to in the document, in order. False when it leads nowhere; an empty
   * list at the last `[*]` is somewhere.
   */
  each(document: unknown, found: (context: PathContext) => void): boolean {
    return this.#walk(document, document, 0, NO_TRAIL, found);
  }

  #walk(
    document: unknown,
    value: unknown,
    at: number,
    trail: readonly (string | number)[],
    found: (context: PathContext) => void,
  ): boolean {
    const segment = this.#segments[at];
    if (segment === undefined) {
      if (value !== undefined) found({ document, element: value, trail });
      return value !== undefined;
    }
    if ('key' in segment) return this.#walk(document, entryOf(value, segment.key), at + 1, trail, found);
    if (typeof value !== 'object' || value === null) return false;
    const keys = Array.isArray(value) ? value.keys() : Object.keys(value);
    let isEmpty = true;
    let isSomewhere = false;
    for (const key of keys) {
      isEmpty = false;
      const leadsOn = this.#walk(document, entryOf(value, key), at + 1, [...trail, key], found);
      isSomewhere ||= leadsOn;
    }
    return isSomewhere || isEmpty;
  }
}

function entryOf(value: unknown, key: string | number): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  if (Array.isArray(value)) {
    if (typeof key === 'number') return value[key < 0 ? value.length + key : key];
    return undefined;
  }
  // The key was found to be the object's own, so that reading it by name cannot reach a prototype.
  return Object.hasOwn(value, key) ? (value as Record<string | number, unknown>)[key] : undefined;
}

const NAME = /[^.[\]'"{}()?*@$]+/y;
const INDEX = /\[\s*(-?\d{1,9})\s*\]/y;
const WILDCARD = /\[\s*\*\s*\]|\.\*/y;
const QUOTED = /\[\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*\]/y;

function parsePath(written: string, place: string): { root: '$' | '@'; segments: Segment[] } {
  const text = written.trim();
  const segments: Segment[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  const root = text.startsWith('$') ? '$' : '@';
  if (text.startsWith('$') || text.startsWith('@')) at = 1;
  else {
    const first = match(NAME);
    if (first !== null) segments.push({ key: first[0] });
    else if (!text.startsWith('[')) throw pathError(text, at, place);
  }
  while (at < text.length) {
    const index = match(INDEX);
    if (index !== null) {
      segments.push({ key: Number(index[1]) });
      continue;
    }
    if (match(WILDCARD) !== null) {
      segments.push(ANY);
      continue;
    }
    const quoted = match(QUOTED);
    if (quoted !== null) {
      segments.push({ key: (quoted[1] ?? quoted[2] ?? '').replaceAll(/\\(.)/g, '$1') });
      continue;
    }
    const dotAt = at;
    if (text.charAt(at) === '.') at++;
    const name = at > dotAt ? match(NAME) : null;
    if (name === null) throw pathError(text, dotAt, place);
    segments.push({ key: name[0] });
  }
  return { root, segments };
}

function pathError(text: string, at: number, place: string): NorthError {
  return new NorthError('CONFIG_INVALID', `The path ${JSON.stringify(text)} is wrong at position ${at}.`, {
    place,
    remedy: "Write names, ['names'], [0] and [*], such as $.items[*].name; for more than that set language: jsonata.",
  });
}
