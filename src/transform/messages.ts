/**
 * Messages that say everything themselves: topic, payload and whatever else they like. They are checked strictly and
 * one by one, because nothing here knows better than the producer what was meant.
 */
import type { ConfigOf } from '../config/transformers.js';
import type { Content, ContentType, Source } from '../core/content.js';
import { isLane, type Lane } from '../core/lane.js';
import type { QoS } from '../core/message.js';
import { contentOf, isPlainObject, jsonOf, quote, takeEach, textProblem } from './element.js';
import { checkKeys, decodeBase64, InvalidMessage, readProperties } from './message-properties.js';
import { type Route, routeTo } from './route.js';
import type { MessageDraft, MessageSink, Transformer } from './transformer.js';

const KEYS = ['topic', 'payload', 'payloadBase64', 'qos', 'retain', 'lane', 'properties'];

export class MessagesTransformer implements Transformer {
  readonly type = 'messages-to-mqtt';
  readonly from: Source;
  readonly #defaults: Route;

  constructor(config: ConfigOf<'messages-to-mqtt'>) {
    this.from = config.from;
    this.#defaults = routeTo('', config);
  }

  takes(type: ContentType, source: Source): boolean {
    return type === 'messages' && (this.from === '*' || this.from === source);
  }

  transform(content: Content, sink: MessageSink): void | Promise<void> {
    const { elements } = contentOf(content, 'messages');
    return takeEach(elements.length, (index) => {
      let draft: MessageDraft;
      try {
        draft = this.#read(elements[index]);
      } catch (error) {
        if (!(error instanceof InvalidMessage)) throw error;
        sink.reject(index, 'ELEMENT_INVALID', error.message);
        return;
      }
      sink.push(index, draft);
    });
  }

  #read(element: unknown): MessageDraft {
    if (!isPlainObject(element)) {
      throw new InvalidMessage(`A message is an object with topic and payload, not ${quote(element)}.`);
    }
    checkKeys(element, KEYS, 'A message');
    const { topic, qos, retain, lane } = element;
    if (topic === undefined) throw new InvalidMessage('topic is missing.');
    if (typeof topic !== 'string') throw new InvalidMessage(`topic is a text, not ${quote(topic)}.`);
    const payload = readPayload(element);
    const { properties, expirySeconds } = readProperties(element.properties, payload);
    return {
      topic,
      payload,
      qos: readQos(qos) ?? this.#defaults.qos,
      retain: readRetain(retain) ?? this.#defaults.retain,
      lane: readLane(lane) ?? this.#defaults.lane,
      expirySeconds: expirySeconds ?? this.#defaults.expirySeconds,
      properties,
    };
  }
}

function readPayload(element: Readonly<Record<string, unknown>>): string | Uint8Array {
  const { payload, payloadBase64 } = element;
  if (payload !== undefined && payloadBase64 !== undefined) {
    throw new InvalidMessage('payload and payloadBase64 are both given; which one counts is not clear.');
  }
  if (payloadBase64 !== undefined) return decodeBase64(payloadBase64, 'payloadBase64');
  if (payload === undefined) throw new InvalidMessage('payload or payloadBase64 is missing; "" is an empty payload.');
  if (typeof payload === 'string') {
    const problem = textProblem(payload);
    if (problem !== undefined) throw new InvalidMessage(`payload ${problem}.`);
    return payload;
  }
  const json = jsonOf(payload);
  if ('problem' in json) throw new InvalidMessage(`payload ${json.problem}.`);
  return json.json;
}

function readQos(value: unknown): QoS | undefined {
  if (value === undefined || value === 0 || value === 1 || value === 2) return value;
  throw new InvalidMessage(`qos is 0, 1 or 2, not ${quote(value)}.`);
}

function readRetain(value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw new InvalidMessage(`retain is true or false, not ${quote(value)}.`);
}

function readLane(value: unknown): Lane | undefined {
  if (value === undefined || isLane(value)) return value;
  throw new InvalidMessage(`lane is command, alert or telemetry, not ${quote(value)}.`);
}
