/**
 * Commits a group of requests together, and what can be of it when that fails.
 *
 * A request that is refused is answered by the store, and the others commit. When the store throws, nothing is stored;
 * then there are two cases in which a part may still succeed. With a full disk, saves are tried alone: they let settled
 * batches go, so that the session goes on and makes room while producers are turned away. With an impossible request,
 * each is tried alone, so that a fault in one does not become the others'.
 */
import type { Store, StoreReply, StoreRequest } from './store.js';
import { isDiskFull } from './store-error.js';

export type Outcome = StoreReply | Error;

/** Gives one outcome for each request, in their order; an Error for those of which nothing is stored. */
export function commitGroup(store: Store, requests: readonly StoreRequest[]): Outcome[] {
  const outcome = attempt(store, requests);
  if (!(outcome instanceof Error)) return outcome;
  if (requests.length > 1 && outcome instanceof RangeError) {
    return requests.map((request) => {
      const alone = attempt(store, [request]);
      return alone instanceof Error ? alone : alone[0]!;
    });
  }
  const freeing = isDiskFull(outcome) ? requests.filter((request) => request.kind !== 'append') : [];
  if (freeing.length === 0 || freeing.length === requests.length) return requests.map(() => outcome);
  const freed = attempt(store, freeing);
  let next = 0;
  return requests.map((request) => {
    if (request.kind === 'append') return outcome;
    return freed instanceof Error ? freed : freed[next++]!;
  });
}

function attempt(store: Store, requests: readonly StoreRequest[]): StoreReply[] | Error {
  try {
    return store.execute(requests);
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}
