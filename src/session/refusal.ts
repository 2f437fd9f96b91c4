/**
 * What a reason code in a PUBACK or PUBREC means for the message [MQTT 5.0 §3.4.2.1, §3.5.2.1].
 *
 * A code of 0x80 and above ends the exchange: the packet identifier is free, and the same packet must not be sent
 * again; the message may, as a new PUBLISH.
 */
import type { ErrorCode } from '../core/error-codes.js';

export const NO_MATCHING_SUBSCRIBERS = 0x10;
const UNSPECIFIED = 0x80;
const IMPLEMENTATION_SPECIFIC = 0x83;
const NOT_AUTHORIZED = 0x87;
export const PACKET_ID_IN_USE = 0x91;
const QUOTA_EXCEEDED = 0x97;
export const PACKET_ID_NOT_FOUND = 0x92;

export type Refusal =
  /** Try again after a pause that doubles. */
  | { action: 'retry'; slowDown: boolean }
  /** To quarantine, and the topic is not tried for a while. */
  | { action: 'pauseTopic'; code: ErrorCode }
  | { action: 'quarantine'; code: ErrorCode };

const RETRY: Refusal = { action: 'retry', slowDown: false };
const RETRY_SLOWER: Refusal = { action: 'retry', slowDown: true };
const PAUSE: Refusal = { action: 'pauseTopic', code: 'PUBLISH_NOT_AUTHORIZED' };
const REFUSED: Refusal = { action: 'quarantine', code: 'PUBLISH_REFUSED' };

export function refusalOf(reasonCode: number): Refusal {
  switch (reasonCode) {
    case UNSPECIFIED:
    case IMPLEMENTATION_SPECIFIC:
    case PACKET_ID_IN_USE:
      return RETRY;
    case QUOTA_EXCEEDED:
      return RETRY_SLOWER;
    case NOT_AUTHORIZED:
      return PAUSE;
    default:
      return REFUSED;
  }
}

/**
 * A message that is refused for a passing reason this often, while others pass, goes to quarantine: it may be its own
 * fault. While the broker refuses everything, its quota used up or a part of it down, everything waits.
 */
export const REFUSALS_MAX = 8;

const PAUSE_FIRST_MS = 500;
const PAUSE_LONGEST_MS = 30_000;

/** Doubles from half a second to half a minute: the first eight take about a minute. */
export function retryPauseMs(refusals: number): number {
  return Math.min(PAUSE_LONGEST_MS, PAUSE_FIRST_MS * 2 ** (refusals - 1));
}

/** How long a topic is not tried after the broker said that we may not publish to it. */
export const TOPIC_PAUSE_MS = 60_000;

/** Beyond so many paused topics the oldest is forgotten: its next message is tried, and refused, again. */
export const PAUSED_TOPICS_MAX = 10_000;
