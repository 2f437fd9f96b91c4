/** A cache whose store runs in a thread of its own, so that a sync never stops the event loop. */
import { Worker } from 'node:worker_threads';
import { type Clock, systemClock } from '../core/clock.js';
import { errorText, NorthError } from '../core/error.js';
import type { Cache } from './cache.js';
import { type CacheBack, CacheFront } from './cache-front.js';
import { type Call, type Opening, restoreError } from './calls.js';
import { Parcel } from './parcel.js';
import type { CacheFinding, StoreLimits, StoreRequest } from './store.js';
import type { WorkerMessage } from './worker.js';

export interface OpenCacheOptions {
  /** The connector's own folder; `cache.db` is in it. It must not be open anywhere else. */
  folder: string;
  limits: StoreLimits;
  /** For the times of retries and sweeps. */
  clock?: Clock;
  /** Told of each finding of damage when it is stored, those at opening included, before the cache is given. */
  onFound?: (finding: CacheFinding) => void;
}

/**
 * Opens the cache of a folder, or makes a new one. Takes no longer with a large backlog. Rejects with CACHE_NEWER,
 * CACHE_DISK_FULL or CACHE_FAILED.
 */
export async function openCache(options: OpenCacheOptions): Promise<Cache> {
  const { folder, limits, clock = systemClock({ unref: true }), onFound } = options;
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: { folder, limits }, name: 'cache' });
  const back = new WorkerBack(worker);
  let front: CacheFront | undefined;
  const opening = await new Promise<Opening>((resolve, reject) => {
    const fail = (error: NorthError): void => (front === undefined ? reject(error) : front.fail(error));
    worker.on('message', (message: WorkerMessage) => {
      if (message.kind === 'answers') front?.answer(message.answers);
      else if (message.kind === 'opened') resolve(message.opening);
      else if (message.kind === 'found') onFound?.(message.finding);
      else reject(restoreError(message.error));
    });
    worker.on('messageerror', (error) => fail(threadError(errorText(error), error)));
    worker.on('error', (error) => fail(threadError(errorText(error), error)));
    worker.on('exit', () => fail(threadError('it ended')));
  });
  front = new CacheFront(opening, back, clock);
  back.setBusy(false);
  return front;
}

class WorkerBack implements CacheBack {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #isWorking = false;

  constructor(worker: Worker) {
    this.#worker = worker;
    this.#exited = new Promise((resolve) => worker.once('exit', () => resolve()));
  }

  post(calls: Call[]): void {
    const parcel = new Parcel();
    for (const call of calls) if (call.kind === 'execute') call.request = pack(call.request, parcel);
    this.#isWorking = true;
    this.#worker.postMessage(calls, parcel.buffers);
  }

  /**
   * To an idle thread at the end of this task. A busy one has its next transaction before it anyway; then everything
   * that this turn of the event loop brings goes over in one message.
   */
  scheduleFlush(flush: () => void): void {
    if (this.#isWorking) setImmediate(flush);
    else queueMicrotask(flush);
  }

  /** An open cache with nothing to do does not keep the process alive; one with a call under way does. */
  setBusy(isBusy: boolean): void {
    if (isBusy) this.#worker.ref();
    else {
      this.#isWorking = false;
      this.#worker.unref();
    }
  }

  async end(): Promise<void> {
    this.#worker.ref();
    await this.#exited;
  }
}

function pack(request: StoreRequest, parcel: Parcel): StoreRequest {
  if (request.kind !== 'append') return request;
  return {
    ...request,
    batches: request.batches.map((batch) => ({
      ...batch,
      data: batch.isKept === true ? parcel.copy(batch.data) : parcel.add(batch.data),
    })),
    quarantined: request.quarantined.map((draft) => ({ ...draft, record: parcel.add(draft.record) })),
  };
}

function threadError(problem: string, cause?: unknown): NorthError {
  return new NorthError('CACHE_FAILED', `The thread of the cache failed: ${problem}.`, { cause });
}
