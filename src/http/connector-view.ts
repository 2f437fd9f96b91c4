/** A connector's status as the API, the event stream and the metrics give it, also when it cannot answer. */
import type { Connector, ConnectorStatus, FailedStatus } from '../connector/connector.js';
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { ERRORS } from '../core/error-codes.js';

/** What is known of a connector whose status could not be had. */
export interface SilentConnector {
  id: string;
  name: string;
  state: 'failed';
  description: string;
}

/** What a connector answers, or what is known of it when it does not. */
export type AnyStatus = ConnectorStatus | FailedStatus | SilentConnector;

export type ConnectorView = Omit<ConnectorStatus | FailedStatus, 'ackLatency'> | SilentConnector;

const STATUS_TIMEOUT_MS = 5000;

/**
 * The status, or the reason why there is none within five seconds: one connector with a hanging disk must not take the
 * view of all others away.
 */
export async function readStatus(connector: Connector, clock: Clock): Promise<AnyStatus> {
  let cancel = (): void => undefined;
  const overdue = new Promise<SilentConnector>((resolve) => {
    cancel = clock.schedule(STATUS_TIMEOUT_MS, () =>
      resolve(silent(connector, `gives no status within ${STATUS_TIMEOUT_MS / 1000} s; its disk may hang`)),
    );
  });
  try {
    return await Promise.race([connector.status(), overdue]);
  } catch (error) {
    return silent(connector, error instanceof NorthError ? error.message : ERRORS.INTERNAL.meaning);
  } finally {
    cancel();
  }
}

function silent(connector: Connector, description: string): SilentConnector {
  return { id: connector.id, name: connector.name, state: 'failed', description };
}

export function hasStatus(status: AnyStatus): status is ConnectorStatus | FailedStatus {
  return 'counts' in status;
}

/** Whether it is known what is in its cache. */
export function hasCache(status: AnyStatus): status is ConnectorStatus {
  return hasStatus(status) && status.cache !== undefined;
}

/** For people and the console; the latencies are for the metrics only. */
export function viewOf(status: AnyStatus): ConnectorView {
  if (!hasStatus(status)) return status;
  const { ackLatency: _, ...view } = status;
  return view;
}
