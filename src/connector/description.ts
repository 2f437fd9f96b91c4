/** The state of a connector in words that a technician understands at once. */
import type { NorthError } from '../core/error.js';
import { ERRORS } from '../core/error-codes.js';
import type { Grant } from './connector.js';
import type { LinkState } from './link-state.js';

/** What was asked for, and what this broker was seen to do with it. */
export interface DeliveryFacts {
  qos: 0 | 1 | 2;
  persistent: boolean;
  sessionExpirySeconds: number;
  /** It has acknowledged QoS 2 as QoS 1. */
  isDowngraded: boolean;
  /** It had no session for us although we had one with it. */
  isSessionLost: boolean;
  /** What was in doubt in another session is sent again in this one: to another broker, or after the old one was given up. */
  isInDoubt: boolean;
  /** It has taken QoS 2 as such. MQTT 5 announces what a broker takes; under MQTT 3.1.1 only trying shows it. */
  isQos2Proven: boolean;
}

/** What the broker's grant makes of the delivery that was asked for: guarantees 2 and 3 of docs/guarantees.md. */
export function guaranteeText(facts: DeliveryFacts, grant: Grant): string {
  const { qos } = facts;
  const granted = Math.min(qos, grant.maximumQos, facts.isDowngraded ? 1 : 2);
  const because = granted < qos ? `: this broker grants QoS ${granted}` : '';
  if (granted === 0) return `not acknowledged (QoS 0)${because}`;
  if (granted === 1) {
    // A subscription has shown it. What the broker does with a message of QoS 2 then is its own affair [MQTT-3.3.4-1].
    const isOnlySubscribed = grant.protocolVersion === 4 && granted < qos && !facts.isDowngraded;
    return isOnlySubscribed
      ? `at least once at best${because}, and may refuse every message of QoS 2`
      : `at least once${because}`;
  }
  if (grant.protocolVersion === 4 && !facts.isQos2Proven) {
    return 'not known yet whether exactly once: MQTT 3.1.1 does not announce the QoS that a broker grants';
  }
  if (!facts.persistent) return 'exactly once while connected: the session is not persistent';
  const keptSeconds = grant.sessionExpirySeconds;
  if (keptSeconds === 0) return 'exactly once while connected: this broker keeps no session';
  if (facts.isSessionLost) return 'at least once: this broker has lost our session';
  if (facts.isInDoubt) return 'exactly once, but at least once for what was in doubt in the session before this one';
  if (keptSeconds !== undefined && keptSeconds < facts.sessionExpirySeconds) {
    return `exactly once through outages of up to ${durationText(keptSeconds)}: this broker keeps the session no longer`;
  }
  return 'exactly once';
}

function durationText(seconds: number): string {
  if (seconds % 86_400 === 0) return `${seconds / 86_400} d`;
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

export function describeState(
  state: LinkState,
  context: { guarantee: string | undefined; failures: number; nextInMs: number | undefined },
): string {
  switch (state.name) {
    case 'stopped':
      return 'stopped';
    case 'dialing':
      return `dialing ${state.broker}${attemptText(context.failures)}`;
    case 'handshaking':
      return `connected to ${state.broker}, waiting for its answer`;
    case 'recovering':
      return `online with ${state.broker}, sending again what is in doubt`;
    case 'online':
      return `online with ${state.broker}, ${context.guarantee ?? ''}`;
    case 'draining':
      return `stopping: waiting for ${state.broker} to acknowledge what is in flight`;
    case 'waiting': {
      const seconds = Math.max(0, Math.round((context.nextInMs ?? 0) / 1000));
      return `reconnecting to ${state.broker} in ${seconds} s${attemptText(context.failures)}: ${sentence(state.error)}`;
    }
  }
}

const ORDINALS = ['', '', 'second', 'third', 'fourth', 'fifth', 'sixth', 'seventh', 'eighth', 'ninth', 'tenth'];

function attemptText(failures: number): string {
  const attempt = failures + 1;
  if (attempt < 2) return '';
  return `, ${ORDINALS[attempt] ?? `${attempt}${endingOf(attempt)}`} attempt`;
}

function endingOf(number: number): string {
  const tens = number % 100;
  if (tens >= 11 && tens <= 13) return 'th';
  return ['th', 'st', 'nd', 'rd'][number % 10] ?? 'th';
}

/** "Session taken over", as a broker says it, needs a translation. */
function sentence({ code, message }: NorthError): string {
  return code === 'CLIENT_ID_TAKEN' ? `${message} ${ERRORS[code].meaning} (${code})` : message;
}
