/**
 * Everything that happened in a run, in a file: what is looked at when a check fails. Arrivals in a row are one line,
 * so that its size depends on the requests and not on the messages.
 */
import { appendFileSync } from 'node:fs';
import { readMessageText } from './numbered-message.js';

const BUFFER_MAX_CHARS = 64 * 1024;

interface Row {
  lane: string;
  from: number;
  to: number;
}

export class RunRecord {
  readonly #path: string;
  readonly #startMs = performance.now();
  #text = '';
  /** Arrivals that follow each other and are not written yet. */
  #row: Row | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  note(what: string): void {
    this.#endRow();
    this.#write(what);
  }

  arrived(topic: string, text: string): void {
    const message = readMessageText(text);
    if (message === undefined) {
      this.note(`arrived ${topic} ${JSON.stringify(text.slice(0, 200))}`);
      return;
    }
    const { lane, number } = message;
    const row = this.#row;
    if (row !== undefined && row.lane === lane && row.to + 1 === number) {
      row.to = number;
      return;
    }
    this.#endRow();
    this.#row = { lane, from: number, to: number };
  }

  /** Writes what is still in memory. */
  flush(): void {
    this.#endRow();
    appendFileSync(this.#path, this.#text, { mode: 0o600 });
    this.#text = '';
  }

  #endRow(): void {
    const row = this.#row;
    this.#row = undefined;
    if (row !== undefined) this.#write(`arrived ${row.lane} ${row.from}..${row.to}`);
  }

  #write(what: string): void {
    this.#text += `${((performance.now() - this.#startMs) / 1000).toFixed(3)} s  ${what}\n`;
    if (this.#text.length < BUFFER_MAX_CHARS) return;
    appendFileSync(this.#path, this.#text, { mode: 0o600 });
    this.#text = '';
  }
}
