/** JSON documents to messages: one for the document, or one for each element that the iterator finds in it. */
import type { ConfigOf } from '../config/transformers.js';
import type { Content, ContentType, Source } from '../core/content.js';
import type { ErrorCode } from '../core/error-codes.js';
import { contentOf, eventLoopTurn, jsonOf, quote, takeEach, textProblem } from './element.js';
import { compileField, type Field, type FieldProblem, fieldJson } from './field.js';
import { JsonPath, type PathContext } from './json-path.js';
import { type JsonContext, JsonLanguage, type JsonQuery } from './json-query.js';
import { ExpressionFailed, JsonataExpression } from './jsonata-expression.js';
import { draftAlong, type Route, routeTo, unsentAlong } from './route.js';
import { cleanTopic, TopicTemplate } from './topic-template.js';
import type { MessageSink, Transformer } from './transformer.js';

/** Evaluations are promises all the way, which never let the event loop run; after so many of them it has its turn. */
const TURN_COUNT = 100;

interface ObjectField {
  query: JsonQuery;
  field: Field;
  /** `"key":` */
  prefix: string;
}

/** What is wrong with an element, and under which code it goes to quarantine. */
interface Fault {
  code: ErrorCode;
  problem: string;
}

export class JsonTransformer implements Transformer {
  readonly type = 'json-to-mqtt';
  readonly from: Source;
  readonly #route: Route;
  readonly #clean: boolean;
  readonly #iteratorText: string;
  readonly #iterator: JsonPath | JsonataExpression | undefined;
  readonly #isAsync: boolean;
  readonly #template: TopicTemplate<PathContext> | undefined;
  readonly #topicQuery: JsonQuery | undefined;
  readonly #payloadQuery: JsonQuery | undefined;
  readonly #payloadField: Field | undefined;
  readonly #objectFields: readonly ObjectField[] | undefined;
  /** All queries in the order in which their values are handed on. */
  readonly #queries: readonly JsonQuery[];

  constructor(config: ConfigOf<'json-to-mqtt'>) {
    const language = new JsonLanguage(config);
    const { iterator, topic, topicFrom, payload, valueType, datetime, objectFields, clean } = config;
    this.from = config.from;
    this.#route = routeTo('', config);
    this.#clean = clean;
    this.#isAsync = language.isAsync;
    this.#iteratorText = iterator ?? '';
    if (iterator !== undefined) {
      this.#iterator = language.isAsync
        ? new JsonataExpression(iterator, config.timeout, 'iterator')
        : new JsonPath(iterator, 'iterator');
    }
    if (topic !== undefined) {
      const compile = (name: string) => language.path(name, 'topic');
      this.#template = new TopicTemplate<PathContext>(topic, { compileField: compile, clean, place: 'topic' });
    }
    if (topicFrom !== undefined) this.#topicQuery = language.query(topicFrom, 'topicFrom');
    if (payload !== undefined) this.#payloadQuery = language.query(payload, 'payload');
    if (valueType !== 'any') {
      this.#payloadField = compileField({ type: valueType, datetime, decimalSeparator: '.', place: 'datetime' });
    }
    this.#objectFields = objectFields?.map(({ key, path, type, datetime: fieldDatetime }, index) => {
      const place = `objectFields[${index}]`;
      return {
        query: language.query(path, `${place}.path`),
        field: compileField({ type, datetime: fieldDatetime, decimalSeparator: '.', place: `${place}.datetime` }),
        prefix: `${JSON.stringify(key)}:`,
      };
    });
    const fields = this.#objectFields?.map(({ query }) => query) ?? [];
    this.#queries = [this.#topicQuery, this.#payloadQuery, ...fields].filter((query) => query !== undefined);
  }

  takes(type: ContentType, source: Source): boolean {
    return type === 'json' && (this.from === '*' || this.from === source);
  }

  transform(content: Content, sink: MessageSink): void | Promise<void> {
    const { document } = contentOf(content, 'json');
    if (this.#isAsync) return this.#evaluate(document, sink);
    const contexts = this.#follow(document);
    if (contexts === undefined) {
      this.#setAside(document, 0, sink, { code: 'ELEMENT_INVALID', problem: this.#nothingFound() });
      return;
    }
    return takeEach(contexts.length, (index) => {
      const context = { ...contexts[index]!, index };
      this.#take(
        context,
        sink,
        this.#queries.map((query) => query.find(context)),
      );
    });
  }

  /** The elements that the iterator path leads to; undefined when it leads nowhere. */
  #follow(document: unknown): PathContext[] | undefined {
    if (!(this.#iterator instanceof JsonPath)) return [{ document, element: document, trail: [] }];
    const contexts: PathContext[] = [];
    return this.#iterator.each(document, (context) => contexts.push(context)) ? contexts : undefined;
  }

  async #evaluate(document: unknown, sink: MessageSink): Promise<void> {
    let elements: unknown[];
    try {
      elements = await this.#iterate(document);
    } catch (error) {
      this.#setAside(document, 0, sink, failure(error, 'iterator'));
      return;
    }
    // An expression that selects nothing of a document is how one leaves documents out.
    if (elements.length === 0) sink.ignored(1);
    for (const [index, element] of elements.entries()) {
      await this.#evaluateElement({ document, element, index, trail: [] }, sink);
      if (index % TURN_COUNT === TURN_COUNT - 1) await eventLoopTurn();
    }
  }

  async #iterate(document: unknown): Promise<unknown[]> {
    if (!(this.#iterator instanceof JsonataExpression)) return [document];
    const found = await this.#iterator.evaluate(document, { document });
    return Array.isArray(found) ? found : found === undefined ? [] : [found];
  }

  async #evaluateElement(context: JsonContext, sink: MessageSink): Promise<void> {
    const values: unknown[] = [];
    for (const query of this.#queries) {
      try {
        values.push(await query.find(context));
      } catch (error) {
        this.#setAside(context.element, context.index, sink, failure(error, query.place));
        return;
      }
    }
    this.#take(context, sink, values);
  }

  /** Makes the message of an element out of what the queries have found. */
  #take(context: JsonContext, sink: MessageSink, values: readonly unknown[]): void {
    const { index, element } = context;
    let at = 0;
    const topic = this.#topicOf(context, this.#topicQuery === undefined ? undefined : values[at++]);
    const payload = this.#payloadOf(element, values.slice(at));
    if (typeof payload !== 'string') {
      this.#setAside(element, index, sink, payload, typeof topic === 'string' ? topic : undefined);
    } else if (typeof topic !== 'string') {
      sink.quarantine(index, topic.code, topic.problem, unsentAlong(this.#route, payload));
    } else {
      const isTopicFromContent = this.#template?.beginsWithField ?? true;
      sink.push(index, draftAlong(this.#route, topic, payload, isTopicFromContent));
    }
  }

  #topicOf(context: JsonContext, found: unknown): string | Fault {
    if (this.#template !== undefined) {
      const topic = this.#template.render(context);
      return typeof topic === 'string' ? topic : { code: 'UNMAPPED', problem: topic.problem };
    }
    if (found === undefined || found === null) return { code: 'UNMAPPED', problem: 'topicFrom finds no topic.' };
    if (typeof found !== 'string') {
      return { code: 'TOPIC_INVALID', problem: `topicFrom gives ${quote(found)}, which is no text.` };
    }
    return this.#clean ? cleanTopic(found) : found;
  }

  #payloadOf(element: unknown, values: readonly unknown[]): string | Fault {
    const payload = this.#objectFields === undefined ? this.#single(element, values[0]) : this.#object(values);
    return typeof payload === 'string' ? payload : { code: 'ELEMENT_INVALID', problem: `${payload.problem}.` };
  }

  #single(element: unknown, value: unknown): string | FieldProblem {
    if (this.#payloadQuery === undefined) return textOf(jsonOf(element));
    if (value === undefined) return { problem: 'payload finds nothing' };
    if (this.#payloadField !== undefined) {
      const converted = this.#payloadField.convert(value);
      return converted === null ? 'null' : typeof converted === 'string' ? converted : converted;
    }
    if (typeof value !== 'string') return textOf(jsonOf(value));
    const problem = textProblem(value);
    return problem === undefined ? value : { problem: `payload ${problem}` };
  }

  #object(values: readonly unknown[]): string | FieldProblem {
    let json = '{';
    for (const [index, { field, prefix, query }] of (this.#objectFields ?? []).entries()) {
      const converted = field.convert(values[index]);
      if (typeof converted === 'object' && converted !== null) {
        return { problem: `${query.place}: ${converted.problem}` };
      }
      if (index > 0) json += ',';
      json += prefix + fieldJson(field, converted);
    }
    return `${json}}`;
  }

  #nothingFound(): string {
    return `The iterator ${quote(this.#iteratorText)} finds nothing in the document.`;
  }

  /** Keeps an element, or the whole document, as it came. */
  #setAside(value: unknown, index: number, sink: MessageSink, fault: Fault, topic?: string): void {
    const payload = jsonOf(value);
    if ('problem' in payload) sink.reject(index, 'ELEMENT_INVALID', `The element ${payload.problem}.`);
    else sink.quarantine(index, fault.code, fault.problem, unsentAlong(this.#route, payload.json, topic));
  }
}

function textOf(json: { json: string } | FieldProblem): string | FieldProblem {
  return 'json' in json ? json.json : json;
}

function failure(error: unknown, place: string): Fault {
  if (!(error instanceof ExpressionFailed)) throw error;
  return { code: 'TRANSFORMER_FAILED', problem: `The expression of ${place} ${error.message}.` };
}
