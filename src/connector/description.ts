/** The state of a connector in words that a technician understands at once. */
import type { NorthError } from '../core/error.js';
import type { Grant } from './connector.js';
import type { LinkState } from './link-state.js';

/** What the broker's grant makes of the delivery that was asked for. */
export function guaranteeText(qos: 0 | 1 | 2, persistent: boolean, grant: Grant, isDowngraded: boolean): string {
  const granted = Math.min(qos, grant.maximumQos, isDowngraded ? 1 : 2);
  const because = granted < qos ? `: this broker grants QoS ${granted}` : '';
  if (granted === 0) return `at most once${because}`;
  if (granted === 1) return `at least once${because}`;
  if (!persistent) return 'exactly once while connected: the session is not persistent';
  if (grant.sessionExpirySeconds === 0) return 'exactly once while connected: this broker keeps no session';
  return 'exactly once';
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

function sentence(error: NorthError): string {
  return error.message;
}
