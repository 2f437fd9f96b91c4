/** What is done to the network between the service and the broker. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Direction, Proxy as TcpProxy } from '../kit/proxy.js';
import type { Random } from '../simulation/random.js';
import type { Plant } from './plant.js';
import type { Action } from './service-actions.js';

const CUT_TIMEOUT_MS = 700;
const REDIAL_TIMEOUT_MS = 1000;
const LONG_CHANCE = 0.15;

/** Waits for a moment that makes the accident a good one; without it, the accident happens all the same. */
async function untilOrLate(condition: () => boolean, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition() && performance.now() < endMs) await delay(5);
}

/** Waits for a connection beyond those that there were. */
export function untilRedial(proxy: TcpProxy, connectionCount: number): Promise<void> {
  return untilOrLate(() => proxy.connectionCount > connectionCount, REDIAL_TIMEOUT_MS);
}

/**
 * Where fewer bytes come than were waited for, the connection is cut where it is then. No cut is left for later: it would
 * fall into an accident that counts on a connection which is not cut.
 */
function cut(direction: Direction) {
  return async ({ proxy }: Pick<Plant, 'proxy'>, random: Random): Promise<string> => {
    const sizeBytes = random.between(1, direction === 'toBroker' ? 20_000 : 1000);
    const place = direction === 'toBroker' ? 'to the broker' : 'to the service';
    const beginBytes = proxy.passedBytes[direction];
    const beginCount = proxy.connectionCount;
    const passedBytes = () => proxy.passedBytes[direction] - beginBytes;
    proxy.cutAfter(direction, sizeBytes);
    await untilOrLate(() => passedBytes() >= sizeBytes, CUT_TIMEOUT_MS);
    if (passedBytes() >= sizeBytes) {
      await untilRedial(proxy, beginCount);
      return `cut after ${sizeBytes} bytes ${place}`;
    }
    proxy.cutAfter(direction, Number.POSITIVE_INFINITY);
    const late = `${sizeBytes} did not come within ${CUT_TIMEOUT_MS} ms`;
    if (proxy.openCount === 0) return `no cut ${place}, no connection: ${late}`;
    const told = `cut after ${passedBytes()} bytes ${place}: ${late}`;
    const { connectionCount } = proxy;
    proxy.cut();
    await untilRedial(proxy, connectionCount);
    return told;
  };
}

export const cutToBroker = cut('toBroker');
export const cutToService = cut('toClient');

/** One side reads nothing, so that the other's buffers fill; sometimes for longer than acknowledgements may take. */
export const stallReads: Action = async ({ proxy }, random) => {
  const directions = random.pick<readonly Direction[]>([['toBroker'], ['toClient'], ['toBroker', 'toClient']]);
  const timeMs = random.chance(LONG_CHANCE) ? random.between(2000, 2600) : random.between(50, 700);
  for (const direction of directions) proxy.stall(direction);
  await delay(timeMs);
  for (const direction of directions) proxy.resume(direction);
  return `reads stalled ${directions.join(' and ')} for ${timeMs} ms`;
};

/** Bytes go nowhere and both sides believe to be connected, until the connection is reset. */
export const loseTheWay: Action = async ({ proxy }, random) => {
  const direction = random.pick<Direction>(['toBroker', 'toClient']);
  const timeMs = random.chance(LONG_CHANCE) ? random.between(2000, 2600) : random.between(50, 500);
  proxy.swallow(direction);
  await delay(timeMs);
  // What was swallowed is missing in the middle of the stream: such a connection never goes on.
  proxy.cut();
  proxy.resume(direction);
  return `half-open ${direction} for ${timeMs} ms`;
};
