/** What comes to the lanes: news of accepted messages, and the messages themselves, from memory or read from the cache. */
import { type Lane, laneIndex } from '../core/lane.js';
import type { Batch } from '../core/progress.js';
import type { Cursors } from './progress.js';

export class Feed {
  readonly #cursors: Cursors;
  /** No more is taken from memory while so much of a lane is loaded; what is accepted then is read later. */
  readonly #memoryMaxBytes: number;

  constructor(cursors: Cursors, readAheadBytes: number) {
    this.#cursors = cursors;
    this.#memoryMaxBytes = 2 * readAheadBytes;
  }

  /** True when all of a lane is loaded, and what is accepted next is taken from memory, too. */
  isUpTo(lane: Lane): boolean {
    const cursor = this.#cursors[laneIndex(lane)];
    return cursor.isLoadedToEnd && cursor.loadedSizeBytes < this.#memoryMaxBytes;
  }

  offered(lane: Lane, end: number): void {
    const cursor = this.#cursors[laneIndex(lane)];
    cursor.end = Math.max(cursor.end, end);
  }

  /** Those of the batches that follow what is loaded are not read. */
  load(lane: Lane, batches: readonly Batch[]): void {
    this.#cursors[laneIndex(lane)].loadOffered(batches, this.#memoryMaxBytes);
  }

  /** Batches that were asked for; gives false when nobody waits for them any more. */
  supply(lane: Lane, fromOffset: number, batches: readonly Batch[]): boolean {
    const cursor = this.#cursors[laneIndex(lane)];
    if (cursor.isAnswerLate() || cursor.readFrom !== fromOffset) return false;
    cursor.readFrom = undefined;
    if (batches.length === 0) cursor.loadNothing(cursor.readEnd);
    else cursor.load(batches);
    return true;
  }

  readFailed(lane: Lane, fromOffset: number): void {
    const cursor = this.#cursors[laneIndex(lane)];
    if (!cursor.isAnswerLate() && cursor.readFrom === fromOffset) cursor.readFrom = undefined;
  }
}
