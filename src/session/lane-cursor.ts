/**
 * A session's place in one lane.
 *
 *     head ............. next ............. sentHigh ............. end
 *     | first unsettled  | next to look at  | never sent before    | accepted so far
 *
 * `next` walks from `head` to `end` once per connection and skips what is not waiting. It goes back only when a refused
 * message is due again. Packet identifiers walk along with the offsets, so that no division is needed per message.
 */

import { type Lane, type LaneIndex, laneIndex } from '../core/lane.js';
import type { Batch } from '../core/progress.js';
import { recordSizeAt } from '../core/record.js';
import { BatchQueue } from './batch-queue.js';
import { ID_RANGES, SETTLED, type Slots, WAITING } from './slots.js';

export class LaneCursor {
  readonly lane: Lane;
  readonly index: LaneIndex;
  readonly idStart: number;
  readonly idSize: number;
  head = 0;
  headId = 0;
  next = 0;
  nextId = 0;
  /** Offsets at and above this have never been sent. */
  sentHigh = 0;
  /** Offsets at and above this have not been sent in the broker's present session. */
  sessionHigh = 0;
  /** Offsets below this are re-sent with DUP on this connection, because the broker kept the session. */
  resendHigh = 0;
  /** Offsets below this may reach the broker a second time, because it lost the session. */
  doubtHigh = 0;
  end = 0;
  durableHead = 0;
  durableBound = 0;
  /** How far it was sent when the last save began. */
  sentAtSave = 0;
  /** While a read is under way: from where, and what `end` was then. */
  readFrom: number | undefined;
  readEnd = 0;
  /** Everything below this and at or above `next` was dropped from the cache. */
  gapTo = 0;
  /** The same for what follows the last loaded batch; it becomes the gap when that is used up. */
  #gapAfterTo = 0;
  readonly #batches = new BatchQueue();
  /** Reads under way whose answers are not wanted any more; they come before those that are. */
  #lateAnswers = 0;
  #recordAt = 0;
  #recordOffset = 0;

  constructor(lane: Lane) {
    this.lane = lane;
    this.index = laneIndex(lane);
    const range = ID_RANGES[this.index]!;
    this.idStart = range.start;
    this.idSize = range.size;
  }

  /** One past the last offset that is to be sent again on this connection. */
  get resendEnd(): number {
    return Math.min(this.end, this.resendHigh);
  }

  idOf(offset: number): number {
    return this.idStart + (offset % this.idSize);
  }

  /** The offset of a packet identifier between `head` and what was looked at, or undefined when it lies outside. */
  offsetOf(packetId: number): number | undefined {
    let distance = packetId - this.headId;
    if (distance < 0) distance += this.idSize;
    const offset = this.head + distance;
    return offset < Math.max(this.next, this.sentHigh) ? offset : undefined;
  }

  idAfter(packetId: number): number {
    return packetId + 1 === this.idStart + this.idSize ? this.idStart : packetId + 1;
  }

  setHead(offset: number): void {
    this.head = offset;
    this.headId = this.idOf(offset);
  }

  /** Goes to `offset` and forgets what was loaded, so that it is read from the cache again. */
  rewindTo(offset: number): void {
    this.next = offset;
    this.nextId = this.idOf(offset);
    this.unload();
  }

  isAnswerLate(): boolean {
    if (this.#lateAnswers === 0) return false;
    this.#lateAnswers--;
    return true;
  }

  unload(): void {
    this.#batches.clear();
    if (this.readFrom !== undefined) this.#lateAnswers++;
    this.readFrom = undefined;
    this.gapTo = 0;
    this.#gapAfterTo = 0;
  }

  /** Moves `head` over everything that is settled; `next` comes along when it would be left behind. */
  advanceHead(slots: Slots): void {
    const limit = Math.max(this.next, this.sentHigh);
    let id = this.headId;
    let offset = this.head;
    while (offset < limit && slots.state[id] === SETTLED) {
      slots.clear(id);
      offset++;
      id = this.idAfter(id);
    }
    this.head = offset;
    this.headId = id;
    while (this.next < offset) this.skip();
  }

  get loadedSizeBytes(): number {
    return this.#batches.sizeBytes;
  }

  /** One past the last offset that is loaded. */
  get loadedEnd(): number {
    const { last } = this.#batches;
    return last === undefined
      ? Math.max(this.next, this.gapTo)
      : Math.max(last.firstOffset + last.count, this.#gapAfterTo);
  }

  /**
   * Goes over a gap at once when everything before it is done, and gives true then. Slots of what was settled in it become
   * free; while anything in it is still under way, it is gone over one by one.
   */
  jumpGap(slots: Slots): boolean {
    if (this.head !== this.next || this.gapTo <= this.next) return false;
    const count = Math.min(this.gapTo - this.next, this.idSize);
    for (let i = 0, id = this.nextId; i < count; i++, id = this.idAfter(id)) {
      if (slots.state[id] !== WAITING && slots.state[id] !== SETTLED) return false;
    }
    for (let i = 0, id = this.nextId; i < count; i++, id = this.idAfter(id)) slots.clear(id);
    this.setHead(this.gapTo);
    this.next = this.head;
    this.nextId = this.headId;
    this.gapTo = 0;
    return true;
  }

  /** Nothing is left in the cache between what is loaded and `to`. */
  loadNothing(to: number): void {
    if (this.#batches.first === undefined) this.gapTo = Math.max(this.gapTo, to);
    else this.#gapAfterTo = Math.max(this.#gapAfterTo, to);
  }

  /** True when everything up to `end` is loaded, and no read is under way. */
  get isLoadedToEnd(): boolean {
    return this.readFrom === undefined && this.loadedEnd >= this.end;
  }

  /** Adds those of the batches that follow what is loaded, until so much is. */
  loadOffered(batches: readonly Batch[], sizeMaxBytes: number): void {
    for (const batch of batches) {
      if (this.readFrom !== undefined || this.loadedSizeBytes >= sizeMaxBytes) return;
      if (this.loadedEnd === batch.firstOffset) this.load([batch]);
    }
  }

  /** Adds batches that follow what is loaded. Messages before `next` in the first one are passed over. */
  load(batches: readonly Batch[]): void {
    for (const batch of batches) {
      if (this.#batches.first === undefined) {
        this.#recordAt = 0;
        this.#recordOffset = batch.firstOffset;
        if (batch.firstOffset > this.next) this.gapTo = batch.firstOffset;
      }
      this.#batches.push(batch);
    }
    this.#stepToNext();
  }

  /** The batch whose record at `recordAt` is the message at `next`, or undefined when it is not loaded. */
  get batch(): Batch | undefined {
    return this.gapTo > this.next ? undefined : this.#batches.first;
  }

  get recordAt(): number {
    return this.#recordAt;
  }

  /** Steps over the message at `next`. */
  skip(): void {
    this.next++;
    this.nextId = this.idAfter(this.nextId);
    this.#stepToNext();
  }

  /**
   * Usually one step. A batch that was read may begin before the end of what was taken from memory, because the cache joins
   * what is committed together; the messages that both have are gone over.
   */
  #stepToNext(): void {
    while (this.#batches.first !== undefined && this.#recordOffset < this.next) this.#stepRecord();
  }

  #stepRecord(): void {
    const batch = this.#batches.first!;
    const size = recordSizeAt(batch.data, this.#recordAt);
    this.#recordOffset++;
    this.#recordAt += size ?? 0;
    if (this.#recordOffset >= batch.firstOffset + batch.count) {
      this.#batches.shift();
      this.#recordAt = 0;
      const following = this.#batches.first;
      if (following !== undefined) {
        this.#recordOffset = following.firstOffset;
        if (following.firstOffset > this.next) this.gapTo = following.firstOffset;
      } else if (this.#gapAfterTo > this.next) this.gapTo = this.#gapAfterTo;
    }
  }
}
