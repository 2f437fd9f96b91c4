/**
 * One direction of a connection through the delay proxy: every byte comes out a fixed time after it went in, in order.
 *
 * Bytes are read as soon as they come and kept until they are due, so that the delay limits how soon they arrive and
 * not how many of them a second: a line of 50 ms that is offered 100 MB/s holds 5 MB. Reading pauses only when the
 * receiver itself has not taken for long what was due.
 */
import type { Socket } from 'node:net';

/** A receiver that is so far behind is slower than the sender, whatever the delay. */
const BEHIND_MAX_BYTES = 16 * 1024 * 1024;
/** Timers come at whole milliseconds; what is due within half of one goes out now, so that the mean is right. */
const TIMER_TOLERANCE_MS = 0.5;

export class DelayLine {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #delayMs: number;
  /** What is on its way, in order, from `#head` on; undefined is the sender's end, which takes the same way. */
  #queue: { dueMs: number; chunk: Buffer | undefined }[] = [];
  #head = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, delayMs: number) {
    this.#from = from;
    this.#to = to;
    this.#delayMs = delayMs;
    from.on('data', (chunk: Buffer) => this.#take(chunk));
    from.on('end', () => this.#take(undefined));
    to.on('drain', () => from.resume());
    to.on('close', () => {
      clearTimeout(this.#timer);
      this.#queue = [];
      this.#head = 0;
      // A receiver that has closed after the sender's end has only finished what was its part.
      if (!to.writableFinished) from.destroy();
    });
  }

  #take(chunk: Buffer | undefined): void {
    if (this.#to.destroyed) return;
    if (this.#delayMs === 0) {
      this.#pass(chunk);
      return;
    }
    this.#queue.push({ dueMs: performance.now() + this.#delayMs, chunk });
    if (this.#timer === undefined) this.#deliver();
  }

  /** Passes on what is due, in one write of the socket, and sets the timer for the next. */
  #deliver(): void {
    this.#timer = undefined;
    const dueMs = performance.now() + TIMER_TOLERANCE_MS;
    this.#to.cork();
    while (this.#head < this.#queue.length && this.#queue[this.#head]!.dueMs <= dueMs) {
      this.#pass(this.#queue[this.#head]!.chunk);
      this.#head++;
    }
    this.#to.uncork();
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
      return;
    }
    if (this.#head > this.#queue.length / 2) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    const waitMs = this.#queue[this.#head]!.dueMs - performance.now();
    this.#timer = setTimeout(() => this.#deliver(), Math.max(1, Math.round(waitMs)));
  }

  #pass(chunk: Buffer | undefined): void {
    if (chunk === undefined) this.#to.end();
    else if (!this.#to.write(chunk) && this.#to.writableLength > BEHIND_MAX_BYTES) this.#from.pause();
  }
}
