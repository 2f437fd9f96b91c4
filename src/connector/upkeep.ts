/**
 * Whether the session can store its progress and read what waits. Both go on being tried by themselves, so that nothing
 * is lost; but while they fail nothing settles, QoS 2 stops at its first window, and somebody has to see to the disk.
 *
 * Told are changes: the first failure, another cause, the recovery. How often it was tried in between is told with the
 * recovery, so that a disk that stays full for a week is not filled with lines about it.
 */
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import type { ConnectorStatus } from './connector.js';
import { Digest } from './digest.js';

export type Undertaking = 'save' | 'read';

const WHAT_FAILS: Readonly<Record<Undertaking, string>> = {
  save: 'cannot store its progress',
  read: 'cannot read what waits',
};
const WHAT_WORKS: Readonly<Record<Undertaking, string>> = {
  save: 'stores its progress again',
  read: 'reads what waits again',
};

interface Trouble {
  error: NorthError;
  sinceMs: number;
  count: number;
}

export class Upkeep {
  readonly #clock: Clock;
  readonly #changed: (error: NorthError | undefined) => void;
  readonly #troubles = new Map<Undertaking, Trouble>();
  readonly #failureLog: Digest;
  readonly #recoveryLog: Digest;

  /** @param changed told with the error of something that has begun to fail, and with undefined when it works again. */
  constructor(id: string, clock: Clock, logger: Logger, changed: (error: NorthError | undefined) => void) {
    this.#clock = clock;
    this.#changed = changed;
    this.#failureLog = new Digest(clock, (code, count, text) => logger.warn({ connector: id, code, count }, text));
    this.#recoveryLog = new Digest(clock, (_kind, count, text) => logger.info({ connector: id, count }, text));
  }

  failed(undertaking: Undertaking, cause: Error): void {
    const error = cause instanceof NorthError ? cause : new NorthError('CACHE_FAILED', cause.message, { cause });
    // That is the end, and nobody's trouble.
    if (error.code === 'CACHE_CLOSED') return;
    const known = this.#troubles.get(undertaking);
    if (known?.error.code === error.code) {
      known.error = error;
      known.count++;
      return;
    }
    this.#troubles.set(undertaking, {
      error,
      sinceMs: known?.sinceMs ?? this.#clock.wallMs(),
      count: (known?.count ?? 0) + 1,
    });
    this.#failureLog.note(error.code, this.#sentence(undertaking, error));
    this.#changed(error);
  }

  worked(undertaking: Undertaking): void {
    const trouble = this.#troubles.get(undertaking);
    if (trouble === undefined) return;
    this.#troubles.delete(undertaking);
    const seconds = Math.round((this.#clock.wallMs() - trouble.sinceMs) / 1000);
    const text = `The connector ${WHAT_WORKS[undertaking]}, after ${seconds} s and ${trouble.count} attempts that failed.`;
    this.#recoveryLog.note(undertaking, text);
    this.#changed(undefined);
  }

  /** What is wrong now, for the description of the state: "cannot store its progress: the disk is full". */
  get text(): string | undefined {
    const texts = [...this.#troubles].map(
      ([undertaking, { error }]) => `${WHAT_FAILS[undertaking]}: ${causeOf(error)}`,
    );
    return texts.length === 0 ? undefined : texts.join('; ');
  }

  get lastError(): ConnectorStatus['lastError'] {
    const [trouble] = this.#troubles.values();
    return trouble === undefined ? undefined : { ...trouble.error.toJSON(), atMs: trouble.sinceMs };
  }

  get warnings(): readonly string[] {
    return [...this.#troubles].map(([undertaking, { error }]) => this.#sentence(undertaking, error));
  }

  /** Tells what has not been told; for the end. */
  flush(): void {
    this.#failureLog.flush();
    this.#recoveryLog.flush();
  }

  #sentence(undertaking: Undertaking, error: NorthError): string {
    return `The connector ${WHAT_FAILS[undertaking]}: ${error.message} ${error.remedy}`;
  }
}

function causeOf({ code, message }: NorthError): string {
  return code === 'CACHE_DISK_FULL' ? 'the disk is full' : message;
}
