/**
 * What was accepted against what arrived.
 *
 * Everything that is handed in belongs to a stream: one producer in one lane, numbered from 0. A producer goes on to its
 * next request only when it has the receipt of the one before, so that what was accepted of a stream is always the numbers
 * below a limit, and the guarantee of order says that they arrive in their order. Of what arrives twice, the first arrival
 * counts for the order.
 */

import { elementId } from './element.js';

export interface TallyCounts {
  accepted: number;
  /** Different elements that arrived. */
  arrived: number;
  lost: number;
  /** Arrivals beyond the first of each element. */
  twice: number;
}

interface Stream {
  readonly name: string;
  /** Numbers below this may be on their way: a request with them was begun. */
  handedIn: number;
  accepted: number;
  readonly arrivals: number[];
  arrived: number;
  /** The highest number that has arrived. */
  highest: number;
}

const EXAMPLES_MAX = 5;

export class Tally {
  readonly #streams = new Map<string, Stream>();
  #twice = 0;
  /** Filled as it happens; each is a breach whatever the delivery. */
  readonly disorders: string[] = [];
  readonly inventions: string[] = [];
  /** What arrived otherwise than it was handed in. */
  readonly distortions: string[] = [];
  /** Elements that arrived again, the last ones. */
  readonly repetitions: string[] = [];

  handIn(stream: string, to: number): void {
    const found = this.#streamOf(stream);
    found.handedIn = Math.max(found.handedIn, to);
  }

  accept(stream: string, to: number): void {
    this.handIn(stream, to);
    const found = this.#streamOf(stream);
    found.accepted = Math.max(found.accepted, to);
  }

  arrive(id: string): void {
    const at = id.lastIndexOf('#');
    const stream = this.#streams.get(id.slice(0, at));
    const seq = Number(id.slice(at + 1));
    if (stream === undefined || !Number.isInteger(seq) || seq < 0 || seq >= stream.handedIn) {
      this.inventions.push(id);
      return;
    }
    const before = stream.arrivals[seq] ?? 0;
    stream.arrivals[seq] = before + 1;
    if (before > 0) {
      this.#twice++;
      this.repetitions.push(id);
      if (this.repetitions.length > EXAMPLES_MAX) this.repetitions.shift();
      return;
    }
    stream.arrived++;
    if (seq < stream.highest) this.disorders.push(`${id} arrived after ${elementId(stream.name, stream.highest)}`);
    else stream.highest = seq;
  }

  counts(): TallyCounts {
    const counts: TallyCounts = { accepted: 0, arrived: 0, lost: 0, twice: this.#twice };
    for (const stream of this.#streams.values()) {
      counts.accepted += stream.accepted;
      counts.arrived += stream.arrived;
    }
    counts.lost = this.#missing(Number.POSITIVE_INFINITY).length;
    return counts;
  }

  /** Some of what is accepted and has not arrived. */
  lostExamples(): readonly string[] {
    return this.#missing(EXAMPLES_MAX);
  }

  /** Everything that is accepted and has not arrived. */
  lost(): readonly string[] {
    return this.#missing(Number.POSITIVE_INFINITY);
  }

  #missing(countMax: number): string[] {
    const missing: string[] = [];
    for (const stream of this.#streams.values()) {
      // Everything that is accepted has arrived when as many have arrived and nothing beyond the limit has.
      if (stream.arrived === stream.accepted && stream.highest === stream.accepted - 1) continue;
      for (let seq = 0; seq < stream.accepted && missing.length < countMax; seq++) {
        if ((stream.arrivals[seq] ?? 0) === 0) missing.push(elementId(stream.name, seq));
      }
    }
    return missing;
  }

  #streamOf(name: string): Stream {
    let stream = this.#streams.get(name);
    if (stream === undefined) {
      stream = { name, handedIn: 0, accepted: 0, arrivals: [], arrived: 0, highest: -1 };
      this.#streams.set(name, stream);
    }
    return stream;
  }
}
