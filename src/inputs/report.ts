/** Keeps what an input says of itself: counts, the last error, and log lines that do not repeat themselves. */
import type { Clock } from '../core/clock.js';
import { errorText, NorthError } from '../core/error.js';
import { ERRORS } from '../core/error-codes.js';
import type { Logger } from '../core/logger.js';
import type { InputState, InputStatus } from './input.js';

export class InputReport {
  state: InputState = 'stopped';
  description = 'stopped';
  readonly #id: string;
  readonly #type: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #deliveredCount = 0;
  #failedCount = 0;
  #lastDeliveredAtMs: number | undefined;
  #lastError: InputStatus['lastError'];
  /** The last problem that was logged, until something succeeds. */
  #logged: string | undefined;

  constructor(id: string, type: string, clock: Clock, logger: Logger) {
    this.#id = id;
    this.#type = type;
    this.#clock = clock;
    this.#logger = logger;
  }

  show(state: InputState, description: string): void {
    this.state = state;
    this.description = description;
  }

  delivered(): void {
    this.#deliveredCount++;
    this.#lastDeliveredAtMs = this.#clock.wallMs();
    if (this.#logged === undefined) return;
    this.#logged = undefined;
    this.#logger.info({ input: this.#id }, 'The input delivers again.');
  }

  /** A sample or file that could not be delivered and will not be. */
  failed(error: unknown, message: string): void {
    this.#failedCount++;
    this.#remember(error);
    this.#logger.warn({ input: this.#id, code: codeOf(error), err: error }, message);
  }

  /** As `failed`, for what comes again and again: each is counted, and told only when it begins or changes. */
  lost(error: unknown, message: string): void {
    this.#failedCount++;
    this.problem(error, message);
  }

  /** A problem that lasts: it is told when it begins and when it changes, not each time that it is met again. */
  problem(error: unknown, message: string): void {
    this.#remember(error);
    const line = `${codeOf(error)} ${message}`;
    if (this.#logged === line) return;
    this.#logged = line;
    this.#logger.warn({ input: this.#id, code: codeOf(error), err: error }, message);
  }

  /** A problem that the caller logs itself. */
  note(error: unknown): void {
    this.#remember(error);
  }

  status(): InputStatus {
    return {
      id: this.#id,
      type: this.#type,
      state: this.state,
      description: this.description,
      deliveredCount: this.#deliveredCount,
      failedCount: this.#failedCount,
      lastDeliveredAtMs: this.#lastDeliveredAtMs,
      lastError: this.#lastError,
    };
  }

  #remember(error: unknown): void {
    const atMs = this.#clock.wallMs();
    const code = codeOf(error);
    const remedy = error instanceof NorthError ? error.remedy : ERRORS.INTERNAL.remedy;
    this.#lastError = { code, message: errorText(error), remedy, atMs };
  }
}

function codeOf(error: unknown): string {
  return error instanceof NorthError ? error.code : 'INTERNAL';
}
