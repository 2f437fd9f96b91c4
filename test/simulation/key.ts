/**
 * Messages name themselves: the payload begins with the lane's letter and a number, such as `t42|`; of a measured value it
 * is the value that does. The number is the offset that the message gets when everything before it is accepted.
 */
import { LANES, type Lane, laneIndex } from '../../src/core/lane.js';
import { ID_RANGES, laneIndexOfId } from '../../src/session/slots.js';

export type Key = string;

export function keyOf(lane: Lane, offset: number): Key {
  return `${lane.charAt(0)}${offset}`;
}

export function placeOf(key: Key): { lane: Lane; offset: number } {
  const lane = LANES.find((name) => name.charAt(0) === key.charAt(0));
  if (lane === undefined) throw new Error(`"${key}" names no message.`);
  return { lane, offset: Number(key.slice(1)) };
}

export function payloadOf(key: Key, sizeBytes = 0): Buffer {
  return Buffer.from(`${key}|`.padEnd(sizeBytes, '.'));
}

export function keyIn(payload: Uint8Array): Key {
  const bytes = Buffer.isBuffer(payload) ? payload : Buffer.from(payload);
  const end = bytes.indexOf(0x7c);
  // `{"value":"t42|...`
  const start = bytes[0] === 0x7b ? VALUE_START_SIZE : 0;
  return end < start ? '' : bytes.toString('latin1', start, end);
}

const VALUE_START_SIZE = '{"value":"'.length;

export function packetIdOf(key: Key): number {
  const { lane, offset } = placeOf(key);
  const range = ID_RANGES[laneIndex(lane)]!;
  return range.start + (offset % range.size);
}

export function rangeSizeOf(lane: Lane): number {
  return ID_RANGES[laneIndex(lane)]!.size;
}

/** The message that a packet identifier means when the lane's first unsettled offset is known. */
export function keyOfPacketId(packetId: number, firstUnsettled: (lane: Lane) => number): Key {
  const index = laneIndexOfId(packetId);
  const lane = LANES[index]!;
  const range = ID_RANGES[index]!;
  const head = firstUnsettled(lane);
  let distance = packetId - range.start - (head % range.size);
  if (distance < 0) distance += range.size;
  return keyOf(lane, head + distance);
}
