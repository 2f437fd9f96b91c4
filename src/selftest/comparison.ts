/**
 * What was accepted against what has arrived.
 *
 * Each lane is a row of numbers without gaps, handed in from 0 upwards. `offered` says that a request was about to be
 * made, `received` that its receipt was there, `arrived` what a subscriber got. Nothing is judged before the end,
 * because a message can arrive before the news that it was offered does. Memory: one byte per message.
 */
import { LANES, type Lane } from '../core/lane.js';
import { type KeptMessages, messageName, NOTHING_KEPT } from './kept-messages.js';
import { readMessageText } from './numbered-message.js';

/** So many examples of each kind are kept. */
const EXAMPLES_MAX = 20;
const COUNT_MAX = 255;

export interface Anomaly {
  count: number;
  /** `telemetry 17`: lane and number. */
  examples: readonly string[];
}

export interface ComparisonResult {
  /** Messages that a receipt was given for. */
  receiptedCount: number;
  /** Different messages that have arrived. */
  arrivedCount: number;
  /** Receipts whose message has neither arrived nor is it in the cache. */
  lost: Anomaly;
  /** Receipts whose message has not arrived and is in quarantine. */
  quarantined: Anomaly;
  /** Receipts whose message has not arrived and waits in the cache. */
  waiting: Anomaly;
  /** Arrivals of a message that had arrived before. */
  repeated: Anomaly;
  /** First arrivals after a later message of their lane. */
  disordered: Anomaly;
  /** Arrivals that are none of our messages, or have other bytes. */
  changed: Anomaly;
  /** Arrivals of messages that were never offered. */
  unknown: Anomaly;
}

class Tally {
  count = 0;
  readonly examples: string[] = [];

  add(example: string): void {
    this.count++;
    if (this.examples.length < EXAMPLES_MAX) this.examples.push(example);
  }
}

class LaneRecord {
  offeredTo = 0;
  receiptedTo = 0;
  /** The highest number that has arrived, plus one. */
  arrivedTo = 0;
  arrivedCount = 0;
  /** How often each number has arrived. */
  #seen = new Uint8Array(1024);

  seen(number: number): number {
    return this.#seen[number] ?? 0;
  }

  note(number: number): void {
    if (number >= this.#seen.length) {
      const larger = new Uint8Array(Math.max(number + 1, this.#seen.length * 2));
      larger.set(this.#seen);
      this.#seen = larger;
    }
    this.#seen[number] = Math.min(COUNT_MAX, this.seen(number) + 1);
  }
}

/** More than any run makes; a number beyond it comes from a text that somebody else wrote. */
const NUMBER_MAX = 1e9;

export class Comparison {
  readonly #lanes: Record<Lane, LaneRecord> = {
    command: new LaneRecord(),
    alert: new LaneRecord(),
    telemetry: new LaneRecord(),
  };
  readonly #repeated = new Tally();
  readonly #disordered = new Tally();
  readonly #changed = new Tally();

  offered(lane: Lane, from: number, count: number): void {
    const record = this.#lanes[lane];
    record.offeredTo = Math.max(record.offeredTo, from + count);
  }

  received(lane: Lane, from: number, count: number): void {
    const record = this.#lanes[lane];
    record.receiptedTo = Math.max(record.receiptedTo, from + count);
  }

  /** @param topic whose last level is the lane. */
  arrived(topic: string, text: string): void {
    const message = readMessageText(text);
    if (message === undefined || message.number > NUMBER_MAX || !topic.endsWith(`/${message.lane}`)) {
      this.#changed.add(`${topic}: ${text.slice(0, 60)}`);
      return;
    }
    const { lane, number } = message;
    const record = this.#lanes[lane];
    if (record.seen(number) > 0) this.#repeated.add(`${lane} ${number}`);
    else {
      record.arrivedCount++;
      if (number < record.arrivedTo) this.#disordered.add(`${lane} ${number}`);
    }
    record.note(number);
    record.arrivedTo = Math.max(record.arrivedTo, number + 1);
  }

  /** Where the producer of each lane goes on: at the first number that it has no receipt for. */
  next(): Record<Lane, number> {
    const { command, alert, telemetry } = this.#lanes;
    return { command: command.receiptedTo, alert: alert.receiptedTo, telemetry: telemetry.receiptedTo };
  }

  get receiptedCount(): number {
    return this.#sum((record) => record.receiptedTo);
  }

  /** Different messages. */
  get arrivedCount(): number {
    return this.#sum((record) => record.arrivedCount);
  }

  /** @param kept what the cache holds at the end. */
  result(kept: KeptMessages = NOTHING_KEPT): ComparisonResult {
    const lost = new Tally();
    const quarantined = new Tally();
    const waiting = new Tally();
    const unknown = new Tally();
    for (const lane of LANES) {
      const record = this.#lanes[lane];
      for (let number = 0; number < record.receiptedTo; number++) {
        if (record.seen(number) > 0) continue;
        const name = messageName(lane, number);
        (kept.quarantined.has(name) ? quarantined : kept.waiting.has(name) ? waiting : lost).add(name);
      }
      for (let number = record.offeredTo; number < record.arrivedTo; number++) {
        if (record.seen(number) > 0) unknown.add(`${lane} ${number}`);
      }
    }
    return {
      receiptedCount: this.receiptedCount,
      arrivedCount: this.arrivedCount,
      lost,
      quarantined,
      waiting,
      repeated: this.#repeated,
      disordered: this.#disordered,
      changed: this.#changed,
      unknown,
    };
  }

  #sum(of: (record: LaneRecord) => number): number {
    return LANES.reduce((sum, lane) => sum + of(this.#lanes[lane]), 0);
  }
}
