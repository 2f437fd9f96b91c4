/** What "test connection" found. */
import type { QoS } from '../core/message.js';
import type { Grant } from './connector.js';

/**
 * The steps of a connection, in order; the first that fails is the last one reported. `session` is a second connection,
 * where the settings ask for a lasting session; `qos` is asked for where MQTT 3.1.1 does not announce it.
 */
export type TestStepName =
  | 'resolve'
  | 'dial'
  | 'tls'
  | 'websocket'
  | 'connect'
  | 'ping'
  | 'disconnect'
  | 'session'
  | 'qos';

export interface TestStep {
  name: TestStepName;
  ok: boolean;
  /** In words: what was found, or what failed. */
  message: string;
  elapsedMs: number;
}

/** A broker that refuses is a result, not an error of the test. */
export interface TestReport {
  ok: boolean;
  steps: readonly TestStep[];
  grant: Grant | undefined;
  /** The broker still had the session of the test when that connected again; undefined: it was not asked. */
  isSessionKept: boolean | undefined;
  /** The QoS that an MQTT 3.1.1 broker granted to a subscription, as it announces none; undefined: not asked, or refused. */
  subscribedQos: QoS | undefined;
  /** What the broker makes of the delivery that was asked for: "exactly once", "at least once: …". */
  guarantee: string | undefined;
  roundTripMs: number | undefined;
  /** When the broker's certificate expires, as ISO 8601. */
  certificateExpiresAt: string | undefined;
  warnings: readonly string[];
  error: { code: string; message: string; remedy: string } | undefined;
}
