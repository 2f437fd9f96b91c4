/** Where the messages of a point or reference go, with everything decided that the configuration can decide. */
import type { Lane } from '../core/lane.js';
import type { QoS } from '../core/message.js';
import type { MessageDraft, UnsentDraft } from './transformer.js';

/** The message options of a transformer or of one entry of its mapping. */
export interface MessageOptions {
  qos?: QoS | undefined;
  retain?: boolean | undefined;
  lane?: Lane | undefined;
  messageExpiry?: number | undefined;
}

export interface Route {
  readonly topic: string;
  readonly qos: QoS | undefined;
  readonly retain: boolean | undefined;
  readonly lane: Lane | undefined;
  readonly expirySeconds: number | undefined;
}

/** The route to a topic; the options of the mapping come before those of the transformer. */
export function routeTo(topic: string, ...options: readonly MessageOptions[]): Route {
  const first = <K extends keyof MessageOptions>(key: K): MessageOptions[K] =>
    options.find((option) => option[key] !== undefined)?.[key];
  return {
    topic,
    qos: first('qos'),
    retain: first('retain'),
    lane: first('lane'),
    expirySeconds: first('messageExpiry'),
  };
}

/** A message along a route. All drafts have the same shape, which spreading the route would cost a microsecond to make. */
export function draftAlong(
  route: Route,
  topic: string,
  payload: MessageDraft['payload'],
  isTopicFromContent = false,
): MessageDraft {
  const { qos, retain, lane, expirySeconds } = route;
  return { topic, isTopicFromContent, payload, qos, retain, lane, expirySeconds, properties: undefined };
}

/** What is kept of an element that would have gone along a route, with the topic if it is known. */
export function unsentAlong(route: Route, payload: MessageDraft['payload'], topic?: string): UnsentDraft {
  const { qos, retain, lane, expirySeconds } = route;
  return { topic, payload, qos, retain, lane, expirySeconds };
}
