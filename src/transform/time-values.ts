/**
 * Measured values to messages: the hot path of the transformers. One value costs a look-up in a map, a check of its
 * timestamp and one JSON.stringify of its data; everything else was decided when the transformer was opened.
 */
import { nearMiss } from '../config/near-miss.js';
import type { ConfigOf } from '../config/transformers.js';
import type { Content, ContentType, Source, TimeValue } from '../core/content.js';
import { NorthError } from '../core/error.js';
import { contentOf, isPlainObject, jsonOf, quote, takeEach, textProblem } from './element.js';
import { JsonPath } from './json-path.js';
import { draftAlong, type Route, routeTo, unsentAlong } from './route.js';
import { isTimestamp, isUsualTimestamp } from './timestamp.js';
import { type FieldGetter, TopicTemplate } from './topic-template.js';
import type { MessageSink, Transformer } from './transformer.js';

export class TimeValuesTransformer implements Transformer {
  readonly type = 'time-values-to-mqtt';
  readonly from: Source;
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #template: TopicTemplate<TimeValue> | undefined;
  readonly #defaults: Route;
  readonly #valueOnly: boolean;

  constructor(config: ConfigOf<'time-values-to-mqtt'>) {
    this.from = config.from;
    this.#routes = new Map(config.mapping.map((entry) => [entry.pointId, routeTo(entry.topic, entry, config)]));
    this.#defaults = routeTo('', config);
    this.#valueOnly = config.payload === 'value';
    if (config.topic !== undefined) {
      const { clean } = config;
      this.#template = new TopicTemplate(config.topic, { compileField, clean, place: 'topic' });
    }
  }

  takes(type: ContentType, source: Source): boolean {
    return type === 'time-values' && (this.from === '*' || this.from === source);
  }

  transform(content: Content, sink: MessageSink): void | Promise<void> {
    const { elements } = contentOf(content, 'time-values');
    return takeEach(elements.length, (index) => this.#take(elements[index], index, sink));
  }

  #take(element: unknown, index: number, sink: MessageSink): void {
    const problem = timeValueProblem(element);
    if (problem !== undefined) {
      sink.reject(index, 'ELEMENT_INVALID', problem);
      return;
    }
    // timeValueProblem has checked each of the fields.
    const value = element as TimeValue;
    const payload = this.#valueOnly ? valueAlone(value) : timeValueJson(value);
    if ('problem' in payload) {
      this.#refuse(payload, value, index, sink);
      return;
    }
    const route = this.#routes.get(value.pointId);
    if (route !== undefined) {
      sink.push(index, draftAlong(route, route.topic, payload.text));
      return;
    }
    if (this.#template === undefined) {
      const reason = `The point ${quote(value.pointId)} has no mapping, and the transformer has no topic template.`;
      sink.quarantine(index, 'UNMAPPED', reason, unsentAlong(this.#defaults, payload.text));
      return;
    }
    const topic = this.#template.render(value);
    if (typeof topic === 'string') {
      sink.push(index, draftAlong(this.#defaults, topic, payload.text, this.#template.beginsWithField));
    } else {
      const reason = `${topic.problem} The point is ${quote(value.pointId)}.`;
      sink.quarantine(index, 'UNMAPPED', reason, unsentAlong(this.#defaults, payload.text));
    }
  }

  /** A value that merely lacks `data.value` is sound, so it is kept; one that cannot be written at all is not. */
  #refuse({ problem, isMissing }: NoPayload, value: TimeValue, index: number, sink: MessageSink): void {
    const whole = isMissing ? timeValueJson(value) : undefined;
    if (whole === undefined || 'problem' in whole) {
      sink.reject(index, 'ELEMENT_INVALID', problem);
    } else {
      const route = this.#routes.get(value.pointId) ?? this.#defaults;
      const topic = route === this.#defaults ? undefined : route.topic;
      sink.quarantine(index, 'ELEMENT_INVALID', problem, unsentAlong(route, whole.text, topic));
    }
  }
}

interface NoPayload {
  problem: string;
  isMissing: boolean;
}

type Payload = { text: string } | NoPayload;

function timeValueProblem(element: unknown): string | undefined {
  if (!isPlainObject(element))
    return `A time value is an object with pointId, timestamp and data, not ${quote(element)}.`;
  const { pointId, timestamp, data } = element;
  if (typeof pointId !== 'string') return `pointId ${isNoText(pointId)}.`;
  if (pointId === '') return 'pointId is empty.';
  if (typeof timestamp !== 'string') return `timestamp ${isNoText(timestamp)}.`;
  if (!isTimestamp(timestamp)) {
    return `timestamp ${quote(timestamp)} is no ISO 8601 date and time such as 2026-01-15T10:00:00.000Z.`;
  }
  if (isPlainObject(data)) return undefined;
  return data === undefined ? 'data is missing.' : `data is an object such as {"value": 23.5}, not ${quote(data)}.`;
}

function isNoText(value: unknown): string {
  return value === undefined ? 'is missing' : `is a text, not ${quote(value)}`;
}

/**
 * The JSON of `{...data, timestamp}`. JSON.stringify of the data as it is, with the timestamp put in before the closing
 * brace, takes a third of the time that a copy of the data takes.
 */
function timeValueJson({ data, timestamp }: TimeValue): Payload {
  if ('timestamp' in data || 'toJSON' in data || !isUsualTimestamp(timestamp))
    return jsonText({ ...data, timestamp }, 'data');
  const payload = jsonText(data, 'data');
  if ('problem' in payload) return payload;
  const comma = payload.text.length > 2 ? ',' : '';
  return { text: `${payload.text.slice(0, -1)}${comma}"timestamp":"${timestamp}"}` };
}

/** `data.value` alone: a text bare, anything else as JSON. */
function valueAlone({ pointId, data }: TimeValue): Payload {
  const { value } = data;
  if (value === undefined) {
    const problem = `The value of point ${quote(pointId)} has no data.value, which is to be the payload.`;
    return { problem, isMissing: true };
  }
  if (typeof value !== 'string') return jsonText(value, 'data.value');
  const problem = textProblem(value);
  return problem === undefined ? { text: value } : { problem: `data.value ${problem}.`, isMissing: false };
}

function jsonText(value: unknown, name: string): Payload {
  const json = jsonOf(value);
  return 'json' in json ? { text: json.json } : { problem: `${name} ${json.problem}.`, isMissing: false };
}

function compileField(name: string): FieldGetter<TimeValue> {
  if (name === 'pointId') return (value) => value.pointId;
  if (name === 'timestamp') return (value) => value.timestamp;
  if (/^data[.[]/.test(name)) {
    const path = new JsonPath(`@${name.slice('data'.length)}`, 'topic');
    if (path.wildcardCount === 0) return (value) => path.find(value.data);
  }
  const near = nearMiss(name, ['pointId', 'timestamp', 'data.value']);
  throw new NorthError('CONFIG_INVALID', `A time value has no field {${name}}.`, {
    place: 'topic',
    remedy: `Use {pointId}, {timestamp} or fields of the data such as {data.site}.${near === undefined ? '' : ` Perhaps {${near}}?`}`,
  });
}
