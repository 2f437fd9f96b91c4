/** A cache on any store, in this thread: for a simulated world, which decides when things happen. */
import type { Clock } from '../core/clock.js';
import { CacheFront } from './cache-front.js';
import { serveCalls } from './serve.js';
import type { Store } from './store.js';

export interface DirectCacheOptions {
  store: Store;
  cacheId: string;
  clock: Clock;
  /** Runs `work` later, never at once. What is asked of the cache until then is committed together. */
  schedule: (work: () => void) => void;
}

export function openDirectCache(options: DirectCacheOptions): CacheFront {
  const { store, cacheId, clock, schedule } = options;
  const opening = { cacheId, progress: store.progress(), identity: store.identity() };
  const front: CacheFront = new CacheFront(
    opening,
    {
      post: (calls) => serveCalls(store, calls, (answers) => front.answer(answers)),
      scheduleFlush: schedule,
      setBusy: () => undefined,
      end: () => Promise.resolve(),
    },
    clock,
  );
  return front;
}
