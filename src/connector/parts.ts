/** The parts of a connector with several connections: each has a cache, a session and a socket of its own. */
import type { Part } from './content-store.js';
import type { Sharing } from './sharing-record.js';

export interface Parts {
  readonly sharing: Sharing;
  /** The part of this number. One that is out of use is opened when it is asked for, and only then is a promise given. */
  part(number: number): Part | Promise<Part>;
  /** Numbers of connections under which keys may have been stored that are remembered still, the oldest first. */
  formerConnections(nowMs: number): readonly number[];
}

/** Waits for all of them, also when one fails, so that nothing is under way when that is told. Rejects with the first failure. */
export async function allSettled(works: readonly Promise<unknown>[]): Promise<void> {
  const outcomes = await Promise.allSettled(works);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}
