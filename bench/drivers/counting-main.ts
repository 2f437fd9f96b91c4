/** The process that subscribes to everything and marks each number that arrives: one bit for each. */
import type { Arrivals, CountingTask } from './counting.js';
import { type DriverControl, serveDriver } from './driver.js';
import { RawSubscriber } from './raw-subscriber.js';
import { NUMBER_AT, readNumber } from './values.js';

const SIZE_FIRST_BYTES = 1024 * 1024;
const GAPS_MAX = 10;

class ArrivedNumbers {
  receivedCount = 0;
  distinctCount = 0;
  #bits = new Uint8Array(SIZE_FIRST_BYTES);
  #most = -1;

  add(number: number): void {
    this.receivedCount++;
    this.#most = Math.max(this.#most, number);
    const byte = Math.floor(number / 8);
    while (byte >= this.#bits.length) this.#grow();
    const bit = 1 << (number % 8);
    if ((this.#bits[byte]! & bit) !== 0) return;
    this.#bits[byte]! |= bit;
    this.distinctCount++;
  }

  gaps(): (readonly [number, number])[] {
    const gaps: (readonly [number, number])[] = [];
    for (let from = 0; from <= this.#most && gaps.length < GAPS_MAX; from++) {
      if (this.#has(from)) continue;
      let to = from;
      while (!this.#has(to)) to++;
      gaps.push([from, to]);
      from = to;
    }
    return gaps;
  }

  #has(number: number): boolean {
    return ((this.#bits[Math.floor(number / 8)] ?? 0) & (1 << (number % 8))) !== 0;
  }

  #grow(): void {
    const bits = new Uint8Array(this.#bits.length * 2);
    bits.set(this.#bits);
    this.#bits = bits;
  }
}

async function count(task: CountingTask, control: DriverControl<Arrivals>): Promise<Arrivals> {
  const numbers = new ArrivedNumbers();
  const subscriber = new RawSubscriber({
    port: task.brokerPort,
    clientId: 'counting',
    isPersistent: true,
    filter: 'bench/#',
    // Each message keeps the QoS of its publisher.
    qos: 2,
    onPayload: (bytes, at) => numbers.add(readNumber(bytes, at + NUMBER_AT)),
  });
  await subscriber.ready;
  const arrivals = (gaps: Arrivals['gaps']): Arrivals => ({
    receivedCount: numbers.receivedCount,
    distinctCount: numbers.distinctCount,
    gaps,
    connectionsCount: subscriber.connectionsCount,
    lostSessionsCount: subscriber.lostSessionsCount,
  });
  // Looking for gaps takes a while, and while it does so nothing is read.
  control.onAsk(() => arrivals([]));
  const stopped = new Promise<void>((resolve) => control.onStop(resolve));
  control.ready();
  await stopped;
  subscriber.close();
  return arrivals(numbers.gaps());
}

serveDriver<CountingTask, Arrivals, Arrivals>(count);
