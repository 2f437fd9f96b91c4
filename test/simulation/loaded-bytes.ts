/**
 * Weighs what a session has loaded. Whatever it takes of a lane, read from the cache or handed over from memory when it was
 * accepted, goes through the queue of that lane: the weight is taken at its doors, and not asked of the product.
 */
import type { Batch } from '../../src/core/progress.js';
import { BatchQueue } from '../../src/session/batch-queue.js';

interface Weight {
  owner: LoadedBytes | undefined;
  sizeBytes: number;
  /** A batch is taken as a whole: the largest one so far may come on top of a limit. */
  largestBytes: number;
}

export class LoadedBytes {
  /** The most that was loaded of one lane. */
  sizeMaxBytes = 0;
  readonly #readAheadBytes: number;
  #excess: string | undefined;

  /** What is loaded from now on by a session that has loaded nothing yet is counted here. */
  constructor(readAheadBytes: number) {
    this.#readAheadBytes = readAheadBytes;
    newest = this;
  }

  /**
   * From memory a lane is loaded until twice the read-ahead is reached, and a read begins when less than half of it is left:
   * what is more than the former and one batch, nobody has allowed.
   */
  note({ sizeBytes, largestBytes }: Readonly<Weight>): void {
    if (sizeBytes <= this.sizeMaxBytes) return;
    this.sizeMaxBytes = sizeBytes;
    const limit = 2 * this.#readAheadBytes + largestBytes;
    if (sizeBytes > limit) this.#excess = `The session has ${sizeBytes} bytes of a lane loaded; ${limit} are allowed.`;
  }

  get problems(): string[] {
    return this.#excess === undefined ? [] : [this.#excess];
  }
}

/** Processes follow each other, and so do the worlds of one thread. */
let newest: LoadedBytes | undefined;
const weights = new WeakMap<BatchQueue, Weight>();

function weightOf(queue: BatchQueue): Weight {
  let weight = weights.get(queue);
  if (weight === undefined) {
    weight = { owner: newest, sizeBytes: 0, largestBytes: 0 };
    weights.set(queue, weight);
  }
  return weight;
}

const { push, shift, clear } = BatchQueue.prototype;

BatchQueue.prototype.push = function (this: BatchQueue, batch: Batch): void {
  const weight = weightOf(this);
  weight.sizeBytes += batch.data.length;
  weight.largestBytes = Math.max(weight.largestBytes, batch.data.length);
  weight.owner?.note(weight);
  push.call(this, batch);
};

BatchQueue.prototype.shift = function (this: BatchQueue): void {
  weightOf(this).sizeBytes -= this.first?.data.length ?? 0;
  shift.call(this);
};

BatchQueue.prototype.clear = function (this: BatchQueue): void {
  weightOf(this).sizeBytes = 0;
  clear.call(this);
};
