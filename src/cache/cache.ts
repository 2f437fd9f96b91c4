/**
 * The durable FIFO between acceptance and the broker's acknowledgement, as the main thread sees it.
 *
 * Appends that arrive while a transaction is under way are committed together in the next one (group commit). The
 * callbacks and promises of one transaction are called in the order of the requests.
 */
import type { NorthError } from '../core/error.js';
import type { Lane } from '../core/lane.js';
import type {
  AppendReply,
  AppendRequest,
  Batch,
  ListPage,
  ListQuery,
  QuarantineQuery,
  RetriedReply,
  SaveRequest,
  SessionIdentity,
  SessionProgress,
  StoreLimits,
  StoreStatus,
} from './store.js';

export interface Cache {
  /** The unique id of this cache, made with it and kept for life: 8 lower-case hexadecimal digits. */
  readonly cacheId: string;
  /** As it was read when the cache was opened. */
  readonly progress: SessionProgress;
  readonly identity: SessionIdentity | undefined;

  /**
   * Resolves when everything in the request is on stable storage. The `data` of the batches is handed over and may be
   * detached: the caller does not touch it again. Rejects with a NorthError: CACHE_FULL,
   * CACHE_DISK_FULL, CACHE_FAILED, CACHE_CLOSED, IDEMPOTENCY_KEY_REUSED; nothing of the request is stored then.
   */
  append(request: Omit<AppendRequest, 'kind'>): Promise<AppendReply>;

  /**
   * Calls `done` when the progress is on stable storage, or with the error when that failed; the caller tries again.
   * Never a promise: it is called for every group of acknowledgements.
   */
  save(request: Omit<SaveRequest, 'kind'>, done: (error: Error | undefined) => void): void;

  /** Calls `done` with the batches as `Store.read` gives them. */
  read(
    lane: Lane,
    fromOffset: number,
    sizeBytesMax: number,
    done: (error: Error | undefined, batches: Batch[]) => void,
  ): void;

  /**
   * With a `topic`, `which` names exactly one message, which gets that topic. Rejects with TOPIC_INVALID or
   * REQUEST_INVALID when that is not so.
   */
  retry(which: QuarantineQuery, options?: { topic?: string }): Promise<RetriedReply>;
  remove(which: QuarantineQuery): Promise<number>;
  list(query: ListQuery): Promise<ListPage>;
  position(source: string): Promise<string | undefined>;
  status(): Promise<StoreStatus>;
  /** Takes effect at once; what is stored already is never removed by a smaller `maxSizeBytes`. */
  setLimits(limits: StoreLimits): Promise<void>;

  /**
   * Told of every committed append or retry, in offset order, before the promise of the append resolves. `batches` are
   * those of the appended ones that need not be read, because they are in memory still.
   */
  onAppended: ((lane: Lane, from: number, to: number, batches: readonly Batch[]) => void) | undefined;

  /** Asked with each append whether the session would take the batch from memory when it is stored. */
  isKeptFor?: ((lane: Lane) => boolean) | undefined;

  /** Told once when the cache can do nothing any more because its thread failed; every call rejects from then on. */
  onFailed?: ((error: NorthError) => void) | undefined;

  /** Commits what is queued, checkpoints, closes the files and ends the thread. Later calls reject with CACHE_CLOSED. */
  close(): Promise<void>;
}
