/**
 * What the log says of connections that come and go: a line per cause, not per attempt, so that neither an outage of a
 * week nor a broker that drops us every ten seconds fills the disk.
 *
 * An unrest begins when a connection is lost or cannot be opened, and is over when one has lasted for a minute. Within
 * it each cause and each warning has one line, and so have the first connections; when it is over, a line tells of those
 * in between.
 */
import type { Clock } from '../core/clock.js';
import type { NorthError } from '../core/error.js';
import type { ErrorCode } from '../core/error-codes.js';
import type { Logger } from '../core/logger.js';

const SETTLED_MS = 60_000;
/** Different causes that are logged during one unrest. */
const CAUSES_MAX = 64;
const WARNINGS_MAX = 256;
const CONNECTIONS_MAX = 2;

export class ConnectionLog {
  readonly #connector: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #settled: () => void;
  readonly #causes = new Set<string>();
  /** What was warned of since the last change between rest and unrest. */
  readonly #warnings = new Set<string>();
  /** Connections since the unrest began. */
  #connections = 0;
  #cancel: (() => void) | undefined;

  /** @param settled an unrest is over. */
  constructor(connector: string, clock: Clock, logger: Logger, settled: () => void) {
    this.#connector = connector;
    this.#clock = clock;
    this.#logger = logger;
    this.#settled = settled;
  }

  connected(fields: object, text: string): void {
    const isAtRest = this.#causes.size === 0;
    this.#connections = isAtRest ? 0 : this.#connections + 1;
    const line = { connector: this.#connector, ...fields };
    if (this.#connections <= CONNECTIONS_MAX) this.#logger.info(line, text);
    else this.#logger.debug(line, text);
    if (isAtRest) return;
    this.#cancel = this.#clock.schedule(SETTLED_MS, () => {
      this.#cancel = undefined;
      this.#causes.clear();
      this.#warnings.clear();
      const isTold = this.#connections <= CONNECTIONS_MAX;
      if (!isTold) this.#logger.info(line, `${text}, after ${this.#connections - 1} that did not last`);
      this.#settled();
    });
  }

  /** Each connection shows the same again, a session that was lost for example. */
  warned(code: ErrorCode, message: string): void {
    const isFull = this.#warnings.size >= WARNINGS_MAX;
    if (this.#causes.size > 0 && (isFull || this.#warnings.has(message))) return;
    if (!isFull) this.#warnings.add(message);
    this.#logger.warn({ connector: this.#connector, code }, message);
  }

  /** A connection that is over can settle nothing any more. */
  disconnected(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  ended(error: NorthError, wasUp: boolean, nextInMs: number): void {
    const fields = { connector: this.#connector, code: error.code, nextInMs };
    const cause = `${error.code} ${error.message}`;
    // Several brokers have their causes in turn; a text that is never twice the same makes no more lines than the limit.
    if (this.#causes.has(cause) || this.#causes.size >= CAUSES_MAX) {
      this.#logger.debug(fields, 'still not connected');
      return;
    }
    if (this.#causes.size === 0) this.#warnings.clear();
    this.#causes.add(cause);
    const text = `${wasUp ? 'lost the connection' : 'could not connect'}: ${error.message} ${error.remedy}`;
    this.#logger.warn(fields, text);
  }
}
