/** Which message has which place in the cache: a message is named by its producer, and gets its offset from the store. */
import { LANES, type Lane } from '../../src/core/lane.js';
import { readRecord } from '../../src/core/record.js';
import { type Key, keyIn, keyOf, placeOf } from './key.js';

export interface Place {
  lane: Lane;
  offset: number;
}

export class Places {
  readonly problems: string[] = [];
  /** Messages that were stored once more. */
  repeatedCount = 0;
  readonly #places = new Map<Key, Place>();
  /** Every place that a message was accepted at: its id on the wire is made of one of these. */
  readonly #origins = new Map<Key, Place[]>();
  readonly #mayRepeat: (name: Key) => boolean;
  readonly #moved = new Set<Key>();
  readonly #names: Record<Lane, Map<number, Key>> = { command: new Map(), alert: new Map(), telemetry: new Map() };

  /** @param mayRepeat whether the message may be stored once more, because its producer's key was kept for its time. */
  constructor(mayRepeat: (name: Key) => boolean = () => false) {
    this.#mayRepeat = mayRepeat;
  }

  /** The records of one lane have got the offsets from `from` on. */
  note(lane: Lane, from: number, data: Uint8Array): void {
    let offset = from;
    for (let at = 0; at < data.length; ) {
      const record = readRecord(data, at);
      if (record === undefined) throw new Error(`What was stored at offset ${offset} of ${lane} is no record.`);
      this.set(keyIn(record.payload), { lane, offset });
      offset++;
      at += record.sizeBytes;
    }
  }

  /** @param isRetried it was in quarantine before, and keeps its id. */
  set(name: Key, place: Place, isRetried = false): void {
    const { lane, offset } = place;
    const origins = this.#origins.get(name);
    if (origins === undefined) this.#origins.set(name, [place]);
    else if (!isRetried) {
      if (!this.#mayRepeat(name)) this.problems.push(`${name} is stored twice.`);
      origins.push(place);
      this.repeatedCount++;
    }
    if (this.#places.has(name)) this.#moved.add(name);
    if (this.#names[lane].has(offset)) this.problems.push(`Offset ${offset} of ${lane} is given twice.`);
    if (placeOf(name).lane !== lane) this.problems.push(`${name} is stored in the lane ${lane}.`);
    this.#places.set(name, place);
    this.#names[lane].set(offset, name);
  }

  /** True when it had another place before: it may be delivered once more, and is not in its former order. */
  isMoved(name: Key): boolean {
    return this.#moved.has(name);
  }

  originsOf(name: Key): readonly Place[] {
    return this.#origins.get(name) ?? [];
  }

  has(name: Key): boolean {
    return this.#places.has(name);
  }

  of(name: Key): Place | undefined {
    return this.#places.get(name);
  }

  nameAt(lane: Lane, offset: number): Key | undefined {
    return this.#names[lane].get(offset);
  }

  /** The key of a message's place, by which the session and what is stored of it know the message. */
  keyOf(name: Key): Key {
    const place = this.#places.get(name);
    return place === undefined ? `${name}?` : keyOf(place.lane, place.offset);
  }

  *all(): Generator<[name: Key, place: Place]> {
    yield* this.#places;
  }

  copy(): Places {
    const copy = new Places();
    for (const lane of LANES) for (const [offset, name] of this.#names[lane]) copy.set(name, { lane, offset });
    return copy;
  }
}
