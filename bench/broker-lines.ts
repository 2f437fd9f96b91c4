/** Brokers with and without a limit of what is in flight, each at the end of lines of several lengths. */
import { type BrokerLimit, startBroker } from './broker.js';
import type { Task } from './contenders/task.js';
import { startDelayProxy } from './delay-proxy.js';

/** A broker at the end of a line. */
export interface BrokerLine {
  limit: BrokerLimit;
  roundTripMs: number;
  address: Pick<Task, 'port' | 'brokerPid'>;
}

export const ROUND_TRIPS_MS = [0, 20, 100] as const;

/**
 * By default mosquitto leaves it to TCP to hold back acknowledgements until the ones before have been confirmed, which
 * a client does with its next message. At the end of a line the confirmation is that of the proxy's kernel, which has
 * nothing to send and takes its 40 ms.
 */
const NO_HOLDING_BACK = ['set_tcp_nodelay true'];

/** How the limits are called in tables. */
export const LIMIT_NAMES: Readonly<Record<BrokerLimit, string>> = { default: '20, the default', none: 'none' };

/**
 * Runs `use` with a line for each limit and round trip, also that of 0 ms through a proxy, and then ends them all. A
 * line that nobody uses takes no part of the machine.
 */
export async function withBrokerLines<T>(
  limits: readonly BrokerLimit[],
  use: (lines: readonly BrokerLine[]) => Promise<T>,
): Promise<T> {
  const lines: BrokerLine[] = [];
  const stops: (() => Promise<void>)[] = [];
  try {
    for (const limit of limits) {
      const broker = await startBroker(limit, NO_HOLDING_BACK);
      stops.unshift(() => broker.stop());
      for (const roundTripMs of ROUND_TRIPS_MS) {
        const proxy = await startDelayProxy({ targetPort: broker.port, roundTripMs });
        stops.unshift(() => proxy.stop());
        lines.push({ limit, roundTripMs, address: { port: proxy.port, brokerPid: broker.pid } });
      }
    }
    return await use(lines);
  } finally {
    for (const stop of stops) await stop();
  }
}

/**
 * How long a window that starts at 20 needs to grow: it takes some twenty rounds to a window of many thousands, each of
 * which lasts at least two round trips.
 */
export function growthTimeMs(roundTripMs: number): number {
  return 3000 + 80 * roundTripMs;
}
