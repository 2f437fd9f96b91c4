/** Alerts one by one, timed from the producer to a subscriber. */
import type { BenchBroker } from '../broker.js';
import type { BenchService } from '../service.js';
import { Driver } from './driver.js';

export interface AlertTask {
  servicePort: number;
  brokerPort: number;
  alertsCount: number;
}

/** One entry per alert in each of the lists, in the order in which they were sent. */
export interface AlertResult {
  /** From the moment at which the request was due to its answer. */
  acceptMs: number[];
  /** From the receipt to the subscriber; 0 where the message was there before the receipt. */
  deliveryMs: number[];
  /** From the moment at which the request was due to the subscriber. */
  wholeMs: number[];
}

export function startAlerts(
  service: BenchService,
  broker: Pick<BenchBroker, 'port'>,
  alertsCount: number,
): Promise<Driver<AlertResult>> {
  const task: AlertTask = { servicePort: service.port, brokerPort: broker.port, alertsCount };
  return Driver.start('alerts-main', task);
}
