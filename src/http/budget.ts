/**
 * Bounds what all content requests together hold in memory: how many there are at once, and their bytes as they arrive
 * and unpack. What is over the bound is refused with REQUEST_TOO_MANY before it is read, so that a burst of producers
 * is slowed down and the process lives.
 */
import { NorthError } from '../core/error.js';

export interface BudgetLimits {
  requestsMax: number;
  sizeMaxBytes: number;
}

export class Budget {
  requestCount = 0;
  sizeBytes = 0;
  readonly #limits: BudgetLimits;

  constructor(limits: BudgetLimits) {
    this.#limits = limits;
  }

  /** One request's share. The caller releases it when the answer is decided, whatever the answer is. */
  enter(): Share {
    if (this.requestCount >= this.#limits.requestsMax) {
      throw new NorthError('REQUEST_TOO_MANY', `${this.requestCount} requests with content are under way already.`);
    }
    this.requestCount++;
    return new Share(this);
  }

  /** False when there is no room. A request that is alone always has room: the body limit bounds it. */
  tryGrow(bytes: number, shareBytes: number): boolean {
    const othersBytes = this.sizeBytes - shareBytes;
    if (othersBytes > 0 && this.sizeBytes + bytes > this.#limits.sizeMaxBytes) return false;
    this.sizeBytes += bytes;
    return true;
  }
}

export class Share {
  #sizeBytes = 0;
  #released = false;
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  tryGrow(bytes: number): boolean {
    if (!this.#budget.tryGrow(bytes, this.#sizeBytes)) return false;
    this.#sizeBytes += bytes;
    return true;
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#budget.requestCount--;
    this.#budget.sizeBytes -= this.#sizeBytes;
  }
}

export function noRoom(): NorthError {
  return new NorthError('REQUEST_TOO_MANY', 'The requests under way already hold all the memory that they may.');
}
