/** One line that tells how far long work has come, on a terminal only. */
import { notes } from './terminal.js';

const PERIOD_MS = 200;

export class Progress {
  readonly #verb: string;
  readonly #startMs = performance.now();
  #shownMs = 0;
  #isShown = false;

  /** @param verb what has happened to the things that are counted: "acknowledged". */
  constructor(verb: string) {
    this.#verb = verb;
  }

  show(count: number, suffix = ''): void {
    const nowMs = performance.now();
    if (!notes.isTerminal || nowMs - this.#shownMs < PERIOD_MS) return;
    this.#shownMs = nowMs;
    this.#isShown = true;
    const perSecond = Math.round((count * 1000) / Math.max(1, nowMs - this.#startMs));
    notes.write(`\r\x1b[K${count.toLocaleString('en')} ${this.#verb}, ${perSecond.toLocaleString('en')}/s${suffix}`);
  }

  /** Replaces the line by the result. */
  end(result: string): void {
    if (this.#isShown) notes.write('\r\x1b[K');
    notes.writeLine(result);
  }
}
