/**
 * The cache's thread in virtual time. As in the product, what is asked while a transaction is under way is committed
 * together in the next one, reads are answered before its time begins, and an answer takes its time to the main thread.
 */
import type { CacheBack, CacheFront } from '../../src/cache/cache-front.js';
import type { Answer, Call } from '../../src/cache/calls.js';
import { serveCalls } from '../../src/cache/serve.js';
import type { Store } from '../../src/cache/store.js';
import { PowerCut } from './simulated-disk.js';

export interface ThreadOptions {
  store: Store;
  /** Calls back unless the process has ended. */
  schedule: (delayMs: number, action: () => void) => void;
  readDelayMs: () => number;
  commitDelayMs: () => number;
  replyDelayMs: () => number;
  /** The process ends in the middle of a transaction. */
  powerCut: () => void;
  /** Answers are about to reach the main thread, and have reached it. */
  answering: () => void;
  answered: () => void;
}

export class SimulatedThread implements CacheBack {
  /** Most calls that were ever waiting at once, besides appends: what the session and the sweep have asked for. */
  waitingMax = 0;
  /** Called once, when the answers to the transaction under way have reached the main thread. */
  whenAnswered: (() => void) | undefined;
  #front: CacheFront | undefined;
  readonly #options: ThreadOptions;
  #waiting: Call[] = [];
  #isBusy = false;
  #answersUnderWay = 0;

  constructor(options: ThreadOptions) {
    this.#options = options;
  }

  serve(front: CacheFront): void {
    this.#front = front;
  }

  get isIdle(): boolean {
    return !this.#isBusy && this.#waiting.length === 0 && this.#answersUnderWay === 0;
  }

  post(calls: Call[]): void {
    this.#waiting.push(...calls);
    const count = this.#waiting.filter((call) => call.kind !== 'execute' || call.request.kind !== 'append').length;
    this.waitingMax = Math.max(this.waitingMax, count);
    if (!this.#isBusy) this.#begin();
  }

  scheduleFlush(flush: () => void): void {
    this.#options.schedule(0, flush);
  }

  setBusy(): void {}

  end(): Promise<void> {
    return Promise.resolve();
  }

  #begin(): void {
    this.#isBusy = true;
    const calls = this.#waiting;
    this.#waiting = [];
    const reads = calls.filter(({ kind }) => kind === 'read');
    const others = calls.filter(({ kind }) => kind !== 'read');
    const done = (): void => {
      this.#isBusy = false;
      if (this.#waiting.length > 0) this.#begin();
    };
    const serveOthers = (): void => {
      const isWriting = others.some(({ kind }) => kind === 'execute');
      const delayMs = isWriting ? this.#options.commitDelayMs() : this.#options.readDelayMs();
      this.#serve(others, delayMs, done);
    };
    if (reads.length === 0) serveOthers();
    else this.#serve(reads, this.#options.readDelayMs(), others.length === 0 ? done : serveOthers);
  }

  /** The answers leave when the time is over. */
  #serve(calls: readonly Call[], delayMs: number, then: () => void): void {
    this.#options.schedule(delayMs, () => {
      try {
        serveCalls(this.#options.store, calls, (answers) => this.#answer(answers));
      } catch (error) {
        if (!(error instanceof PowerCut)) throw error;
        this.#options.powerCut();
        return;
      }
      then();
    });
  }

  #answer(answers: readonly Answer[]): void {
    this.#answersUnderWay++;
    const { whenAnswered } = this;
    this.whenAnswered = undefined;
    this.#options.schedule(this.#replyDelayMs(), () => {
      this.#answersUnderWay--;
      this.#options.answering();
      this.#front?.answer(answers);
      this.#options.answered();
      whenAnswered?.();
    });
  }

  #lastReplyDelayMs = 0;

  #replyDelayMs(): number {
    // Answers do not overtake each other: they come through one port.
    this.#lastReplyDelayMs = this.#answersUnderWay > 1 ? this.#lastReplyDelayMs : this.#options.replyDelayMs();
    return this.#lastReplyDelayMs;
  }
}
