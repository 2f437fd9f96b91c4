import type { Lane } from './lane.js';

export type QoS = 0 | 1 | 2;

/** The MQTT 5 properties that a message may carry [MQTT 5.0 §3.3.2.3]; a 3.1.1 connection leaves them out. */
export interface MessageProperties {
  /** True when the payload is UTF-8 text (Payload Format Indicator 1). */
  payloadIsText?: boolean;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Uint8Array;
  /** Name and value pairs; a name may occur more than once. */
  userProperties?: readonly (readonly [name: string, value: string])[];
}

/** A message before it has an offset: what transformers give and the cache takes. */
export interface Message {
  /** A valid topic name: see `validateTopicName`. */
  topic: string;
  payload: Uint8Array;
  qos: QoS;
  retain: boolean;
  lane: Lane;
  /** Seconds that the message is worth something, counted from acceptance; 0 means for ever. */
  expirySeconds: number;
  properties?: MessageProperties;
}

/** A message's place for life: its lane and its number there. */
export interface MessageOffset {
  lane: Lane;
  offset: number;
}

/** Offsets `from` (inclusive) to `to` (exclusive) of one lane. */
export interface OffsetRange {
  from: number;
  to: number;
}

/**
 * The stable id of a message: the cache's own unique id, the lane and the offset, such as `9f2c41d7-t-1042`.
 * It is derived, so that it costs no storage, and it survives every restart and re-send.
 */
export function messageId(cacheId: string, lane: Lane, offset: number): string {
  return `${cacheId}-${lane.charAt(0)}-${offset}`;
}
