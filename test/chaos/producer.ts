/**
 * A producer as a plant has it: hands in by HTTP, each request with an idempotency key, and asks again with the same key
 * until it has the receipt. Only then does it go on to its next request.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../simulation/random.js';
import type { Tally } from './tally.js';

/** What one request holds: the streams that it takes further, each up to a number (exclusive). */
export interface Batch {
  type: 'time-values' | 'messages';
  elements: readonly unknown[];
  to: ReadonlyMap<string, number>;
}

export interface ProducerOptions {
  name: string;
  url: string;
  random: Random;
  tally: Tally;
  nextBatch: () => Batch;
  pauseMaxMs: number;
  /** A request has just been sent. */
  asked: () => void;
  /** An answer that no producer should get here. */
  startled: (text: string) => void;
}

const ANSWER_TIMEOUT_MS = 4000;
const RETRY_MS = 25;

/** A producer may meet these and asks again: too many at once, stopping, full. */
const PASSING_STATUSES = new Set([429, 503, 507]);

export class Producer {
  /** How often it asked again, by the status that it had got; 0: no answer at all. */
  readonly retries = new Map<number, number>();
  requestCount = 0;
  /** What it was told last that was no receipt. */
  lastRefusal = 'nothing';
  readonly #options: ProducerOptions;
  #isPaused = true;
  #isEnded = false;
  #work: Promise<void> = Promise.resolve();

  constructor(options: ProducerOptions) {
    this.#options = options;
  }

  resume(): void {
    if (!this.#isPaused || this.#isEnded) return;
    this.#isPaused = false;
    this.#work = this.#run();
  }

  /** Resolves when the request under way has its receipt. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#work;
  }

  /** Ends it, also in the middle of a request. */
  end(): void {
    this.#isPaused = true;
    this.#isEnded = true;
  }

  async #run(): Promise<void> {
    const { random, tally, nextBatch, pauseMaxMs } = this.#options;
    while (!this.#isPaused) {
      const batch = nextBatch();
      for (const [stream, to] of batch.to) tally.handIn(stream, to);
      await this.#handIn(batch);
      if (this.#isEnded) return;
      for (const [stream, to] of batch.to) tally.accept(stream, to);
      await delay(random.between(1, pauseMaxMs));
    }
  }

  async #handIn(batch: Batch): Promise<void> {
    const key = `${this.#options.name}-${this.requestCount++}`;
    const body = JSON.stringify(batch.elements);
    while (!this.#isEnded) {
      // Now and then the same request is under way twice at once, as behind a proxy that repeats what takes too long.
      const count = this.#options.random.chance(0.05) ? 2 : 1;
      const asked = Array.from({ length: count }, () => this.#ask(batch, key, body));
      const receipts = (await Promise.all(asked)).filter((receipt) => receipt !== undefined);
      if (new Set(receipts).size > 1) this.#options.startled(`${key} has two receipts: ${receipts.join(', ')}`);
      if (receipts.length > 0) return;
      await delay(RETRY_MS);
    }
  }

  /** Gives the receipt, or undefined when there was none. */
  async #ask(batch: Batch, key: string, body: string): Promise<string | undefined> {
    const { url, startled } = this.#options;
    let answer: Response;
    let text: string;
    try {
      const asked = fetch(`${url}/api/content?connector=plant&type=${batch.type}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': key },
        body,
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
      });
      this.#options.asked();
      answer = await asked;
      text = await answer.text();
    } catch (error) {
      this.#refused(0, String(error));
      return undefined;
    }
    if (answer.status !== 202) {
      this.#refused(answer.status, text);
      if (!PASSING_STATUSES.has(answer.status)) startled(`${key} was answered ${answer.status}: ${text}`);
      return undefined;
    }
    const receipt = JSON.parse(text) as { receipt: string; accepted: number; quarantined: number };
    if (receipt.accepted !== batch.elements.length || receipt.quarantined !== 0) {
      startled(`${key} with ${batch.elements.length} elements has the receipt ${text}`);
    }
    return receipt.receipt;
  }

  #refused(status: number, text: string): void {
    this.retries.set(status, (this.retries.get(status) ?? 0) + 1);
    this.lastRefusal = `${status} ${text}`;
  }
}
