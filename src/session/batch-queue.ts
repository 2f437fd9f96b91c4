/**
 * Batches that wait to be sent, first in, first out. Single values come in batches of one, so that there may be very many:
 * taking the first one costs the same however long the queue is.
 */
import type { Batch } from '../core/progress.js';

/** The places before the first one are given back when there are so many of them, and they are most of all. */
const EMPTY_COUNT_MAX = 1024;

export class BatchQueue {
  sizeBytes = 0;
  #first: Batch | undefined;
  #batches: (Batch | undefined)[] = [];
  #firstIndex = 0;

  get first(): Batch | undefined {
    return this.#first;
  }

  get last(): Batch | undefined {
    return this.#first === undefined ? undefined : this.#batches[this.#batches.length - 1];
  }

  push(batch: Batch): void {
    this.#first ??= batch;
    this.#batches.push(batch);
    this.sizeBytes += batch.data.length;
  }

  /** Takes the first one out. */
  shift(): void {
    if (this.#first === undefined) return;
    this.sizeBytes -= this.#first.data.length;
    this.#batches[this.#firstIndex++] = undefined;
    if (this.#firstIndex === this.#batches.length) {
      this.clear();
      return;
    }
    if (this.#firstIndex >= EMPTY_COUNT_MAX && this.#firstIndex * 2 > this.#batches.length) {
      this.#batches = this.#batches.slice(this.#firstIndex);
      this.#firstIndex = 0;
    }
    this.#first = this.#batches[this.#firstIndex];
  }

  clear(): void {
    this.#batches = [];
    this.#firstIndex = 0;
    this.#first = undefined;
    this.sizeBytes = 0;
  }
}
