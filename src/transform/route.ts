/** Where the messages of a point or reference go, with everything decided that the configuration can decide. */
import type { Lane } from '../core/lane.js';
import type { QoS } from '../core/message.js';

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
