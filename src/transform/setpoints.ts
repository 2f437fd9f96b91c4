/** Setpoints to messages: commands to devices. They wait in the command lane and are not retained unless told so. */
import { nearMiss } from '../config/near-miss.js';
import type { ConfigOf } from '../config/transformers.js';
import type { Content, ContentType, Setpoint, Source } from '../core/content.js';
import { NorthError } from '../core/error.js';
import { contentOf, isPlainObject, jsonOf, quote, takeEach, textProblem } from './element.js';
import { draftAlong, type Route, routeTo, unsentAlong } from './route.js';
import { type FieldGetter, TopicTemplate } from './topic-template.js';
import type { MessageSink, Transformer } from './transformer.js';

// The retain of the connection does not reach setpoints: a device that subscribes a week later would execute the last
// command at once.
const COMMAND = { lane: 'command', retain: false } as const;

export class SetpointsTransformer implements Transformer {
  readonly type = 'setpoints-to-mqtt';
  readonly from: Source;
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #template: TopicTemplate<Setpoint> | undefined;
  readonly #defaults: Route;
  readonly #quoteTexts: boolean;

  constructor(config: ConfigOf<'setpoints-to-mqtt'>) {
    this.from = config.from;
    this.#routes = new Map(
      config.mapping.map((entry) => [entry.reference, routeTo(entry.topic, entry, config, COMMAND)]),
    );
    this.#defaults = routeTo('', config, COMMAND);
    this.#quoteTexts = config.payload === 'json';
    if (config.topic !== undefined) {
      const { clean } = config;
      this.#template = new TopicTemplate(config.topic, { compileField, clean, place: 'topic' });
    }
  }

  takes(type: ContentType, source: Source): boolean {
    return type === 'setpoints' && (this.from === '*' || this.from === source);
  }

  transform(content: Content, sink: MessageSink): void | Promise<void> {
    const { elements } = contentOf(content, 'setpoints');
    return takeEach(elements.length, (index) => this.#take(elements[index], index, sink));
  }

  #take(element: unknown, index: number, sink: MessageSink): void {
    const problem = setpointProblem(element);
    if (problem !== undefined) {
      sink.reject(index, 'ELEMENT_INVALID', problem);
      return;
    }
    // setpointProblem has checked that there are these two fields and no other.
    const setpoint = element as Setpoint;
    const payload = this.#payloadOf(setpoint.value);
    if ('problem' in payload) {
      sink.reject(index, 'ELEMENT_INVALID', `value ${payload.problem}.`);
      return;
    }
    const mapped = this.#routes.get(setpoint.reference);
    if (mapped !== undefined) {
      sink.push(index, draftAlong(mapped, mapped.topic, payload.json));
    } else if (this.#template === undefined) {
      const reference = quote(setpoint.reference);
      const reason = `The reference ${reference} has no mapping, and the transformer has no topic template.`;
      sink.quarantine(index, 'UNMAPPED', reason, unsentAlong(this.#defaults, payload.json));
    } else {
      const topic = this.#template.render(setpoint);
      if (typeof topic === 'string') {
        sink.push(index, draftAlong(this.#defaults, topic, payload.json, this.#template.beginsWithField));
      } else {
        sink.quarantine(index, 'UNMAPPED', topic.problem, unsentAlong(this.#defaults, payload.json));
      }
    }
  }

  #payloadOf(value: unknown): { json: string } | { problem: string } {
    if (typeof value !== 'string' || this.#quoteTexts) return jsonOf(value);
    const problem = textProblem(value);
    return problem === undefined ? { json: value } : { problem };
  }
}

/**
 * A further key may well be a condition of the command, such as a deadline. To ignore it could move a machine that
 * should have stayed still, so it is refused.
 */
function setpointProblem(element: unknown): string | undefined {
  if (!isPlainObject(element)) return `A setpoint is an object with reference and value, not ${quote(element)}.`;
  const { reference, value } = element;
  for (const key of Object.keys(element)) {
    if (key === 'reference' || key === 'value') continue;
    const near = nearMiss(key, ['reference', 'value']);
    return `A setpoint has no key ${quote(key)}${near === undefined ? '' : `; perhaps "${near}" is meant`}.`;
  }
  if (reference === undefined) return 'reference is missing.';
  if (typeof reference !== 'string') return `reference is a text, not ${quote(reference)}.`;
  if (reference === '') return 'reference is empty.';
  return value === undefined ? 'value is missing.' : undefined;
}

function compileField(name: string): FieldGetter<Setpoint> {
  if (name === 'reference') return (setpoint) => setpoint.reference;
  throw new NorthError('CONFIG_INVALID', `A setpoint has no field {${name}} for a topic.`, {
    place: 'topic',
    remedy: 'Use {reference}.',
  });
}
