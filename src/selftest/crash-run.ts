/**
 * Lives and deaths of the writing process: started on the same cache again and again, killed at random moments, and at
 * the end left alive until everything is delivered.
 *
 * How much may be under way between producer and subscriber is bounded, so that the last life is short and no broker has
 * to drop what its queue for the subscriber does not hold. The bound moves with what arrives.
 */
import type { Durability } from '../cache/store.js';
import type { ConnectorInput } from '../config/connector.js';
import { NorthError } from '../core/error.js';
import { LANES, type Lane } from '../core/lane.js';
import type { Comparison } from './comparison.js';
import type { RunRecord } from './run-record.js';
import { stoppedError } from './stopped.js';
import { startWriter, type Writer, type WriterEnd, type WriterNews, writerError } from './writer.js';

/** A life after the process has opened its cache. */
const LIFE_MAX_MS = 900;
/** So many kills of a hundred fall into the start, into reading the log and the session for example. */
const KILLS_IN_START_PERCENT = 25;
const OPEN_TIMEOUT_MS = 60_000;
/** The last life goes on until each lane has a receipt, or for so long when the broker takes nothing. */
const LAST_RECEIPT_TIMEOUT_MS = 10_000;
/** A broker that takes nothing for so long takes nothing any more. */
const STALL_TIMEOUT_MS = 60_000;
/** After everything is acknowledged, the last message may still be on its way to the subscriber. */
const ARRIVAL_TIMEOUT_MS = 10_000;
const LOOK_MS = 20;

export interface CrashRunOptions {
  kills: number;
  dataDir: string;
  config: ConnectorInput;
  comparison: Comparison;
  record: RunRecord;
  /** Messages that may be on their way between producer and subscriber. */
  underWayMax: number;
  random: () => number;
  signal: AbortSignal;
  /** Called when the first process has opened its cache, with its pid. */
  opened(pid: number): void;
  progress(killsDone: number): void;
}

export interface CrashRunResult {
  kills: number;
  /** Kills before the process had opened its cache. */
  killsInStart: number;
  receiptCount: number;
  /** What the connections that wrote said of their commits, each different answer once. */
  durabilities: readonly (Durability | undefined)[];
  /** False when the broker did not take everything within the time for it. */
  isDrained: boolean;
  sessionsLost: number;
  isDowngraded: boolean;
  /** It closes the connection at every message of QoS 2, and has taken none. */
  isQos2Refused: boolean;
  quarantined: { count: number; code: string; reason: string } | undefined;
  lastFailure: { code: string; message: string } | undefined;
}

export class CrashRun {
  readonly #options: CrashRunOptions;
  #writer: Writer | undefined;
  #end: WriterEnd | undefined;
  #failed: Extract<WriterNews, { kind: 'failed' }> | undefined;
  #isOpen = false;
  #isDone = false;
  #openMs = 300;
  #startedMs = 0;
  #allowed = 0;
  #lanesWithReceipt = new Set<Lane>();
  #lastArrivalMs = 0;
  readonly #durabilities = new Map<string, Durability | undefined>();
  readonly #result: CrashRunResult = {
    kills: 0,
    killsInStart: 0,
    receiptCount: 0,
    durabilities: [],
    isDrained: false,
    sessionsLost: 0,
    isDowngraded: false,
    isQos2Refused: false,
    quarantined: undefined,
    lastFailure: undefined,
  };

  constructor(options: CrashRunOptions) {
    this.#options = options;
  }

  /** Told of each arrival after the comparison. */
  arrived(): void {
    this.#lastArrivalMs = performance.now();
    const allowed = this.#options.comparison.arrivedCount + this.#options.underWayMax;
    if (allowed - this.#allowed < this.#options.underWayMax / 8) return;
    this.#allowed = allowed;
    this.#writer?.command({ kind: 'allow', total: allowed });
  }

  /** Rejects when the process ends by itself, when it does not start, and when the signal comes. */
  async run(): Promise<CrashRunResult> {
    try {
      // Messages that the broker refuses show all there is to see: further kills would add nothing.
      while (this.#result.kills < this.#options.kills && !this.#isRefused) await this.#liveAndDie();
      await this.#liveToTheEnd();
      return this.#result;
    } finally {
      this.#writer?.kill();
      await this.#writer?.ended;
    }
  }

  get #isRefused(): boolean {
    return this.#result.quarantined !== undefined || this.#result.isQos2Refused;
  }

  async #liveAndDie(): Promise<void> {
    const { random, record, progress } = this.#options;
    const isInStart = this.#result.kills > 0 && random() * 100 < KILLS_IN_START_PERCENT;
    this.#start();
    if (isInStart) await this.#pass(random() * this.#openMs);
    else {
      await this.#untilOpen();
      await this.#pass(random() * LIFE_MAX_MS);
    }
    record.note(`kill ${this.#result.kills + 1}${this.#isOpen ? '' : ', before the cache was open'}`);
    this.#writer?.kill();
    const end = await this.#writer!.ended;
    if (end.signal !== 'SIGKILL') throw writerError(this.#failed, end);
    this.#result.kills++;
    if (!this.#isOpen) this.#result.killsInStart++;
    progress(this.#result.kills);
  }

  async #liveToTheEnd(): Promise<void> {
    const { comparison, record } = this.#options;
    this.#start();
    await this.#untilOpen();
    const endMs = performance.now() + LAST_RECEIPT_TIMEOUT_MS;
    await this.#until(() => this.#lanesWithReceipt.size === LANES.length || performance.now() > endMs);
    record.note('no more is handed in');
    this.#writer!.command({ kind: 'finish' });
    this.#lastArrivalMs = performance.now();
    const stallTimeoutMs = this.#result.isQos2Refused ? LAST_RECEIPT_TIMEOUT_MS : STALL_TIMEOUT_MS;
    await this.#until(() => this.#isDone || performance.now() - this.#lastArrivalMs > stallTimeoutMs);
    this.#result.isDrained = this.#isDone;
    if (!this.#isDone) return;
    await this.#writer!.ended;
    this.#lastArrivalMs = performance.now();
    await this.#until(
      () =>
        comparison.arrivedCount + (this.#result.quarantined?.count ?? 0) >= comparison.receiptedCount ||
        performance.now() - this.#lastArrivalMs > ARRIVAL_TIMEOUT_MS,
      true,
    );
    // What arrives twice arrives late.
    await this.#pass(200, true);
  }

  #start(): void {
    const { dataDir, config, comparison, record, underWayMax } = this.#options;
    this.#isOpen = false;
    this.#end = undefined;
    this.#lanesWithReceipt.clear();
    this.#startedMs = performance.now();
    this.#allowed = comparison.arrivedCount + underWayMax;
    const start = { dataDir, config, next: comparison.next(), allowed: this.#allowed };
    const writer = startWriter(start, (news) => this.#heard(news));
    this.#writer = writer;
    record.note(`start, pid ${writer.pid}`);
    void writer.ended.then((end) => {
      if (this.#writer === writer) this.#end = end;
    });
  }

  #heard(news: WriterNews): void {
    const { comparison, record, opened } = this.#options;
    switch (news.kind) {
      case 'offered':
        record.note(`offered ${news.lane} ${news.from}..${news.from + news.count - 1}`);
        comparison.offered(news.lane, news.from, news.count);
        return;
      case 'received':
        record.note(`receipt ${news.lane} ${news.from}..${news.from + news.count - 1}`);
        comparison.received(news.lane, news.from, news.count);
        this.#result.receiptCount++;
        this.#lanesWithReceipt.add(news.lane);
        return;
      case 'open':
        record.note('the cache is open');
        this.#isOpen = true;
        this.#openMs = performance.now() - this.#startedMs;
        if (this.#result.kills === 0) opened(this.#writer!.pid);
        return;
      case 'durability':
        this.#durabilities.set(JSON.stringify(news.durability), news.durability);
        this.#result.durabilities = [...this.#durabilities.values()];
        return;
      case 'online':
        record.note('online');
        return;
      case 'done':
        record.note('everything is delivered');
        this.#isDone = true;
        return;
      case 'quarantined':
        record.note(`quarantined ${news.code}: ${news.reason}`);
        this.#result.quarantined ??= { count: 0, code: news.code, reason: news.reason };
        this.#result.quarantined.count++;
        return;
      case 'warning':
        record.note(`warning ${news.code}: ${news.message}`);
        if (news.code === 'SESSION_LOST') this.#result.sessionsLost++;
        if (news.code === 'DELIVERY_DOWNGRADED') this.#result.isDowngraded = true;
        return;
      case 'failure':
        record.note(`failure ${news.code}: ${news.message}`);
        if (news.code === 'QOS2_REFUSED') this.#result.isQos2Refused = true;
        this.#result.lastFailure = { code: news.code, message: news.message };
        return;
      case 'failed':
        record.note(`the process failed, ${news.code}: ${news.message}`);
        this.#failed = news;
        return;
    }
  }

  async #untilOpen(): Promise<void> {
    const endMs = performance.now() + OPEN_TIMEOUT_MS;
    await this.#until(() => this.#isOpen || performance.now() > endMs);
    if (this.#isOpen) return;
    throw new NorthError('CACHE_FAILED', `The cache was not open after ${OPEN_TIMEOUT_MS / 1000} s.`, {
      remedy: 'The disk is very slow, or a file system does not answer: look at the kernel log.',
    });
  }

  /** Lets the time pass; the process has to live through it. */
  async #pass(ms: number, mayEnd = false): Promise<void> {
    const endMs = performance.now() + ms;
    await this.#until(() => performance.now() >= endMs, mayEnd, Math.min(ms, LOOK_MS));
  }

  async #until(condition: () => boolean, mayEnd = false, lookMs = LOOK_MS): Promise<void> {
    while (!condition()) {
      if (this.#options.signal.aborted) throw stoppedError();
      if (this.#end !== undefined && !mayEnd) {
        if (!this.#isDone) throw writerError(this.#failed, this.#end);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(1, lookMs)));
    }
  }
}
