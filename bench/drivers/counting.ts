/** A subscriber that knows of every number whether it has arrived. */
import type { BenchBroker } from '../broker.js';
import { Driver } from './driver.js';

export interface CountingTask {
  brokerPort: number;
}

export interface Arrivals {
  /** Messages that came, those that came again included. */
  receivedCount: number;
  /** Numbers that came at least once. */
  distinctCount: number;
  /** Runs of numbers below the greatest that did not come, at most ten of them; only in the result. `to` did come. */
  gaps: (readonly [from: number, to: number])[];
  connectionsCount: number;
  lostSessionsCount: number;
}

/** Resolves when it has subscribed. It keeps its session over the broker's restarts. */
export function startCounting(broker: Pick<BenchBroker, 'port'>): Promise<Driver<Arrivals, Arrivals>> {
  const task: CountingTask = { brokerPort: broker.port };
  return Driver.start('counting-main', task);
}
