/**
 * The messages of the self-test. Lane and number decide everything about a message and about the request that it comes
 * in, so that whoever knows the two can tell whether what has arrived is what was handed in.
 */
import { isLane, type Lane } from '../core/lane.js';

/** From a bare value to a waveform: small ones fill batches, large ones spread over many pages of the log. */
const SIZES_BYTES = [24, 40, 40, 90, 90, 300, 1200, 9000] as const;

/** The requests of a producer: single values, and batches. */
const COUNTS = [1, 1, 2, 5, 12, 30] as const;

/** How many messages the request has that begins with this number. */
export function requestCount(lane: Lane, from: number): number {
  return COUNTS[scatter(from + lane.length) % COUNTS.length]!;
}

export function messageText(lane: Lane, number: number): string {
  const head = `${lane} ${number} `;
  return head.padEnd(SIZES_BYTES[scatter(number) % SIZES_BYTES.length]!, `${number}.`);
}

/** Undefined when it is no message of the self-test, or one that was changed on its way. */
export function readMessageText(text: string): { lane: Lane; number: number } | undefined {
  const [, lane, digits] = /^([a-z]+) (\d{1,15}) /.exec(text) ?? [];
  if (!isLane(lane) || digits === undefined) return undefined;
  const number = Number(digits);
  return messageText(lane, number) === text ? { lane, number } : undefined;
}

/** Neighbouring numbers get values far apart (Knuth's multiplicative hash). */
function scatter(number: number): number {
  return Math.imul(number, 0x9e3779b1) >>> 8;
}
