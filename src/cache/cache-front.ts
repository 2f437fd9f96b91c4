/**
 * The face of a cache: turns its methods into calls and the answers into promises and callbacks. Where the calls are
 * carried out is the business of its `back`: another thread, or this one at a time that a simulator chooses.
 */
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { LANES, type Lane } from '../core/lane.js';
import { topicProblem } from '../core/topic.js';
import type { Cache } from './cache.js';
import { type Answer, type Call, carryError, type Opening, restoreError } from './calls.js';
import type {
  AppendedRange,
  AppendReply,
  AppendRequest,
  Batch,
  ListPage,
  ListQuery,
  QuarantinePart,
  QuarantineQuery,
  RetriedReply,
  SaveRequest,
  SessionIdentity,
  SessionProgress,
  StoreLimits,
  StoreReply,
  StoreRequest,
  StoreStatus,
} from './store.js';

/** How often it is looked whether something has been kept for its time. */
export const SWEEP_PERIOD_MS = 60_000;

/** Quarantined messages are retried and removed so many at a time, and other requests come in between. */
const PART_COUNT = 1000;

export interface CacheBack {
  /** Carries out the calls in the order in which they are given, now or later, and gives each one's answer. */
  post(calls: Call[]): void;
  /** Calls `flush` soon; what is submitted until then goes into the same `post`. */
  scheduleFlush(flush: () => void): void;
  /** Told when the last answer is there, and when there is something to wait for again. */
  setBusy(isBusy: boolean): void;
  /** Called once, when the store is closed. */
  end(): Promise<void>;
}

/** Called with the answer, or with the reason why there is none. */
type Waiter = (answer: Answer | undefined, error: NorthError | undefined) => void;

/** A call under way. */
interface Pending {
  waiter: Waiter;
  /** An append with batches that are kept for the session. */
  kept: KeptAppend | undefined;
}

type KeptAppend = Pick<AppendRequest, 'batches' | 'acceptedAtMs'>;

/** Offsets of one lane that follow each other, and those of their batches that are in memory still. */
interface Run {
  from: number;
  to: number;
  batches: Batch[];
}

/** A call that has no number yet. */
type NewCall = Call extends infer One ? (One extends Call ? Omit<One, 'id'> : never) : never;

export class CacheFront implements Cache {
  readonly cacheId: string;
  readonly progress: SessionProgress;
  readonly identity: SessionIdentity | undefined;
  onAppended: ((lane: Lane, from: number, to: number, batches: readonly Batch[]) => void) | undefined;
  isKeptFor: ((lane: Lane) => boolean) | undefined;
  onFailed: ((error: NorthError) => void) | undefined;

  readonly #back: CacheBack;
  readonly #clock: Clock;
  readonly #pending = new Map<number, Pending>();
  #queue: Call[] = [];
  #isFlushDue = false;
  #nextId = 0;
  #failure: NorthError | undefined;
  #closing: Promise<void> | undefined;
  #cancelSweep: () => void = () => undefined;

  constructor(opening: Opening, back: CacheBack, clock: Clock) {
    this.cacheId = opening.cacheId;
    this.progress = opening.progress;
    this.identity = opening.identity;
    this.#back = back;
    this.#clock = clock;
    this.#scheduleSweep();
  }

  append(request: Omit<AppendRequest, 'kind'>): Promise<AppendReply> {
    const { isKeptFor } = this;
    const batches =
      isKeptFor === undefined
        ? request.batches
        : request.batches.map((batch) => (isKeptFor(batch.lane) ? { ...batch, isKept: true } : batch));
    return this.#execute({ ...request, batches, kind: 'append' }, 'appended');
  }

  save(request: Omit<SaveRequest, 'kind'>, done: (error: Error | undefined) => void): void {
    this.#submit({ kind: 'execute', request: { ...request, kind: 'save' } }, (_answer, error) => done(error));
  }

  read(
    lane: Lane,
    fromOffset: number,
    sizeBytesMax: number,
    done: (error: Error | undefined, batches: Batch[]) => void,
  ): void {
    this.#submit({ kind: 'read', query: { lane, fromOffset, sizeBytesMax } }, (answer, error) =>
      done(error, answer?.kind === 'read' ? answer.batches : []),
    );
  }

  async retry(which: QuarantineQuery, options: { topic?: string } = {}): Promise<RetriedReply> {
    const { topic } = options;
    if (topic !== undefined) {
      const problem = topicProblem(topic);
      if (problem !== undefined) throw new NorthError('TOPIC_INVALID', problem);
      if (!('ids' in which) || which.ids.length !== 1) {
        throw new NorthError(
          'REQUEST_INVALID',
          'A new topic is for exactly one message, which must be named by its id.',
        );
      }
    }
    const ranges: AppendedRange[] = [];
    let count = 0;
    await this.#inParts(async (part) => {
      const atMs = this.#clock.wallMs();
      const request: StoreRequest = { kind: 'retry', which, atMs, part, ...(topic === undefined ? {} : { topic }) };
      const reply = await this.#execute(request, 'retried');
      count += reply.count;
      ranges.push(...reply.ranges);
      return reply.nextAfterId;
    });
    return { kind: 'retried', ranges, count };
  }

  async remove(which: QuarantineQuery): Promise<number> {
    let count = 0;
    await this.#inParts(async (part) => {
      const reply = await this.#execute({ kind: 'remove', which, part }, 'removed');
      count += reply.count;
      return reply.nextAfterId;
    });
    return count;
  }

  async list(query: ListQuery): Promise<ListPage> {
    const answer = await this.#ask({ kind: 'list', query });
    return answer.kind === 'list' ? answer.page : unexpected(answer);
  }

  async position(source: string): Promise<string | undefined> {
    const answer = await this.#ask({ kind: 'position', source });
    return answer.kind === 'position' ? answer.value : unexpected(answer);
  }

  async status(): Promise<StoreStatus> {
    const answer = await this.#ask({ kind: 'status' });
    return answer.kind === 'status' ? answer.status : unexpected(answer);
  }

  async setLimits(limits: StoreLimits): Promise<void> {
    await this.#ask({ kind: 'limits', limits });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** The back has carried out calls. */
  answer(answers: readonly Answer[]): void {
    this.#announce(answers);
    for (const answer of answers) {
      const pending = this.#pending.get(answer.id);
      this.#pending.delete(answer.id);
      if (answer.kind === 'error') pending?.waiter(undefined, restoreError(answer.error));
      else pending?.waiter(answer, undefined);
    }
    if (this.#pending.size === 0) this.#back.setBusy(false);
  }

  /** The back is gone for good, and what it was doing may be stored or not. */
  fail(error: NorthError): void {
    // A thread that ends after it has closed the store has done what it should.
    if (this.#failure !== undefined || (this.#closing !== undefined && this.#pending.size === 0)) return;
    this.#failure = error;
    this.#cancelSweep();
    this.#queue = [];
    const calls = [...this.#pending.values()];
    this.#pending.clear();
    for (const { waiter } of calls) waiter(undefined, error);
    this.#back.setBusy(false);
    this.onFailed?.(error);
  }

  /** One call for each run of offsets, however many requests it came from. */
  #announce(answers: readonly Answer[]): void {
    if (this.onAppended === undefined) return;
    const open: Partial<Record<Lane, Run>> = {};
    for (const answer of answers) {
      if (answer.kind !== 'execute') continue;
      const { reply } = answer;
      if (reply.kind !== 'appended' && reply.kind !== 'retried') continue;
      const kept = this.#pending.get(answer.id)?.kept;
      for (const range of reply.ranges) {
        let run = open[range.lane];
        if (run?.to !== range.from) {
          if (run !== undefined) this.onAppended(range.lane, run.from, run.to, run.batches);
          run = { from: range.from, to: range.from, batches: [] };
          open[range.lane] = run;
        }
        run.to = range.to;
        if (range.isLent === true && kept !== undefined) run.batches.push(batchOf(kept, range));
      }
    }
    for (const lane of LANES) {
      const run = open[lane];
      if (run !== undefined) this.onAppended(lane, run.from, run.to, run.batches);
    }
  }

  #submit(call: NewCall, waiter: Waiter): void {
    const gone = this.#failure ?? (this.#closing === undefined ? undefined : closedError());
    if (gone !== undefined) {
      // Never before the caller has returned, so that it sees the same order as with an answer.
      queueMicrotask(() => waiter(undefined, gone));
      return;
    }
    this.#enqueue(call, waiter);
  }

  #enqueue(call: NewCall, waiter: Waiter): void {
    const id = this.#nextId++;
    if (this.#pending.size === 0) this.#back.setBusy(true);
    this.#pending.set(id, { waiter, kept: keptOf(call) });
    this.#queue.push({ ...call, id });
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    this.#back.scheduleFlush(() => this.#flush());
  }

  #flush(): void {
    this.#isFlushDue = false;
    const calls = this.#queue;
    this.#queue = [];
    if (calls.length === 0) return;
    try {
      this.#back.post(calls);
    } catch (error) {
      // Something in a request cannot be sent to a thread. Its neighbours in the same bundle fail with it.
      this.answer(calls.map(({ id }) => ({ id, kind: 'error', error: carryError(error) })));
    }
  }

  #ask(call: NewCall): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#submit(call, (answer, error) => (answer === undefined ? reject(error) : resolve(answer)));
    });
  }

  #execute<K extends StoreReply['kind']>(request: StoreRequest, kind: K): Promise<Extract<StoreReply, { kind: K }>> {
    return new Promise((resolve, reject) => {
      this.#submit({ kind: 'execute', request }, (answer, error) => {
        if (answer === undefined) return reject(error);
        if (answer.kind !== 'execute') return reject(unexpectedError(answer.kind));
        const { reply } = answer;
        if (reply.kind === 'refused') return reject(new NorthError(reply.code, reply.message));
        // The kind of the reply was just compared, which the compiler does not conclude for an open K.
        if (reply.kind === kind) return resolve(reply as Extract<StoreReply, { kind: K }>);
        return reject(unexpectedError(reply.kind));
      });
    });
  }

  async #inParts(execute: (part: QuarantinePart) => Promise<number | undefined>): Promise<void> {
    let afterId: number | undefined = 0;
    while (afterId !== undefined) afterId = await execute({ afterId, countMax: PART_COUNT });
  }

  #scheduleSweep(): void {
    this.#cancelSweep = this.#clock.schedule(SWEEP_PERIOD_MS, () => this.#sweep());
  }

  #sweep(): void {
    this.#submit({ kind: 'execute', request: { kind: 'sweep', atMs: this.#clock.wallMs() } }, (answer) => {
      if (this.#closing !== undefined || this.#failure !== undefined) return;
      const isUnfinished = answer?.kind === 'execute' && answer.reply.kind === 'swept' && answer.reply.isUnfinished;
      // A sweep that failed has removed nothing, and whoever appends or saves next hears of the cause.
      if (isUnfinished) this.#sweep();
      else this.#scheduleSweep();
    });
  }

  async #close(): Promise<void> {
    this.#cancelSweep();
    try {
      if (this.#failure !== undefined) return;
      await new Promise<void>((resolve, reject) => {
        this.#enqueue({ kind: 'close' }, (answer, error) => (answer === undefined ? reject(error) : resolve()));
      });
    } finally {
      await this.#back.end();
    }
  }
}

function keptOf(call: NewCall): KeptAppend | undefined {
  if (call.kind !== 'execute' || call.request.kind !== 'append') return undefined;
  return call.request.batches.some((batch) => batch.isKept) ? call.request : undefined;
}

/** The batch of a kept append that got these offsets. */
function batchOf(kept: KeptAppend, range: AppendedRange): Batch {
  const { lane, from, to } = range;
  const data = kept.batches.find((batch) => batch.lane === lane && batch.count > 0)?.data;
  if (data === undefined) throw new NorthError('INTERNAL', `The append had no batch for the lane ${lane}.`);
  return { lane, firstOffset: from, count: to - from, acceptedAtMs: Math.trunc(kept.acceptedAtMs), data };
}

function closedError(): NorthError {
  return new NorthError('CACHE_CLOSED', 'The cache is closed.');
}

function unexpectedError(kind: string): NorthError {
  return new NorthError('INTERNAL', `The cache answered something else than was asked: ${kind}.`);
}

function unexpected(answer: Answer): never {
  throw unexpectedError(answer.kind);
}
