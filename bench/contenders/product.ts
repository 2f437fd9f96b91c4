/**
 * The product as its users run it: a service in a process of its own, time-values by HTTP in requests of 1000. Every
 * request is on stable storage before it is answered. Its share of a core is that of the service with all its threads;
 * this process, which makes the requests, comes on top.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type BenchService, contentPath, startService } from '../service.js';
import { type Arrival, watchArrival } from './arrival.js';
import { measure, type Publisher } from './measurement.js';
import { isTimed, readTask } from './task.js';

const REQUEST_VALUES_COUNT = 1000;
const REQUESTS_AT_ONCE = 4;
const POINTS_COUNT = 500;
const POLL_MS = 10;
/**
 * In a run without an end, so many are accepted and not yet published at least, and this many times the window: enough
 * that the window can always be filled and grow, and no more, because it is not a backlog that is measured.
 */
const AHEAD_LEAST_COUNT = 20_000;
const AHEAD_WINDOWS = 4;
/** What the payload of a value takes besides its padding, in the mean: the digits of the values differ. */
const FRAME_SIZE_BYTES = 76;

class ProductPublisher implements Publisher {
  readonly #service: BenchService;
  readonly #arrival: Arrival | undefined;
  readonly #bodies: readonly Buffer[];
  #accepted = 0;
  #published = 0;
  #aheadMax = AHEAD_LEAST_COUNT;
  #window = 0;

  constructor(service: BenchService, payloadSizeBytes: number, arrival: Arrival | undefined) {
    this.#service = service;
    this.#arrival = arrival;
    const unit = 'a'.repeat(Math.max(0, payloadSizeBytes - FRAME_SIZE_BYTES));
    this.#bodies = Array.from({ length: 10 }, (_none, body) => {
      const values = Array.from({ length: REQUEST_VALUES_COUNT }, (_nothing, at) => ({
        pointId: `point-${(body * REQUEST_VALUES_COUNT + at) % POINTS_COUNT}`,
        timestamp: '2026-01-15T10:00:00.000Z',
        data: { value: at / 7, unit },
      }));
      return Buffer.from(JSON.stringify(values));
    });
  }

  async acknowledged(): Promise<number> {
    const { counts, window } = await this.#service.status();
    this.#published = counts.telemetry.published;
    this.#window = window;
    this.#aheadMax = Math.max(AHEAD_LEAST_COUNT, AHEAD_WINDOWS * window);
    return this.#published;
  }

  window(): number {
    return this.#window;
  }

  async publish(count: number): Promise<void> {
    const wanted = this.#accepted + count;
    if (!Number.isFinite(count)) {
      await Promise.all([this.#lookForever(), ...this.#handInAtOnce(wanted)]);
      return;
    }
    const arrived = this.#arrival?.reach(wanted);
    await Promise.all(this.#handInAtOnce(wanted));
    if (arrived !== undefined) {
      await arrived;
      return;
    }
    while ((await this.acknowledged()) < wanted) await delay(POLL_MS);
  }

  #handInAtOnce(wanted: number): Promise<void>[] {
    return Array.from({ length: REQUESTS_AT_ONCE }, () => this.#handIn(wanted));
  }

  async #handIn(wanted: number): Promise<void> {
    while (this.#accepted < wanted) {
      if (wanted === Number.POSITIVE_INFINITY && this.#accepted - this.#published >= this.#aheadMax) {
        await delay(POLL_MS);
        continue;
      }
      const body = this.#bodies[(this.#accepted / REQUEST_VALUES_COUNT) % this.#bodies.length];
      this.#accepted += REQUEST_VALUES_COUNT;
      await this.#service.call('POST', contentPath('time-values'), body);
    }
  }

  /** Keeps the count of what is published up to date, which a run without an end is held back by. */
  async #lookForever(): Promise<never> {
    for (;;) {
      await this.acknowledged();
      await delay(POLL_MS);
    }
  }
}

const task = readTask();
if (!isTimed(task.extent) && [task.extent.warmupCount, task.extent.count].some((n) => n % REQUEST_VALUES_COUNT !== 0)) {
  throw new Error(`The counts are multiples of ${REQUEST_VALUES_COUNT}.`);
}
const service = await startService({
  brokerUrl: `mqtt://127.0.0.1:${task.port}`,
  qos: task.qos,
  settings: task.window > 0 ? { inflightMax: task.window } : {},
});
await service.online();
const arrival = task.qos === 0 ? await watchArrival(task) : undefined;
await measure(new ProductPublisher(service, task.payloadSizeBytes, arrival), [service.pid]);
// Nothing of it is kept, so that it need not end in order.
await service.remove();
process.exit(0);
