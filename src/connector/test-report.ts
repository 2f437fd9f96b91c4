/** What "test connection" found. */
import type { Grant } from './connector.js';

/** The steps of a connection, in order; the first that fails is the last one reported. */
export type TestStepName = 'resolve' | 'dial' | 'tls' | 'websocket' | 'connect' | 'ping' | 'disconnect';

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
  /** What the broker makes of the delivery that was asked for: "exactly once", "at least once: …". */
  guarantee: string | undefined;
  roundTripMs: number | undefined;
  /** When the broker's certificate expires, as ISO 8601. */
  certificateExpiresAt: string | undefined;
  warnings: readonly string[];
  error: { code: string; message: string; remedy: string } | undefined;
}
