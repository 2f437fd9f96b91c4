/** What the options of `json-to-mqtt` are written in: paths, which are evaluated at once, or JSONata, which is not. */
import type { ConfigOf } from '../config/transformers.js';
import { NorthError } from '../core/error.js';
import { JsonPath, type PathContext } from './json-path.js';
import { JsonataExpression } from './jsonata-expression.js';

/** An element of a document, with its place there and among the elements. */
export interface JsonContext extends PathContext {
  readonly index: number;
}

/** Finds one value for an element; `undefined` when there is none. */
export interface JsonQuery {
  /** The option that it comes from, for messages. */
  readonly place: string;
  find(context: JsonContext): unknown;
}

/** Compiles the options of one transformer. */
export class JsonLanguage {
  readonly isAsync: boolean;
  readonly #timeoutMs: number;
  readonly #iteratorWildcardCount: number;

  constructor(config: ConfigOf<'json-to-mqtt'>) {
    this.isAsync = config.language === 'jsonata';
    this.#timeoutMs = config.timeout;
    this.#iteratorWildcardCount =
      this.isAsync || config.iterator === undefined ? 0 : new JsonPath(config.iterator, 'iterator').wildcardCount;
  }

  /** Throws CONFIG_INVALID with the place when the text is no path or expression. */
  query(text: string, place: string): JsonQuery {
    if (!this.isAsync) return { place, find: this.path(text, place) };
    const expression = new JsonataExpression(text, this.#timeoutMs, place);
    return { place, find: ({ element, document, index }) => expression.evaluate(element, { document, index }) };
  }

  /** A path, whatever the language: fields of topic templates are always paths. */
  path(text: string, place: string): (context: PathContext) => unknown {
    const path = new JsonPath(text, place);
    const known = path.fromDocument ? this.#iteratorWildcardCount : 0;
    if (path.wildcardCount > known) {
      throw new NorthError('CONFIG_INVALID', `The path ${JSON.stringify(text)} leads to many values, not to one.`, {
        place,
        remedy: 'Leave [*] out, or begin with $ and repeat those of the iterator, which stand for the current element.',
      });
    }
    return (context) => path.get(context);
  }
}
