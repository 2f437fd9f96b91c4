/**
 * A whole world in virtual time: producers, the connector of the product with its cache and its session, a disk, a network
 * and a broker with habits. It runs a plan to its end, then lets everything settle without faults, and gives what was
 * found.
 */
import { crc32 } from 'node:zlib';
import type { SessionProgress } from '../../src/cache/store.js';
import type { ConnectorConfig } from '../../src/config/connector.js';
import type { ConnectorStatus } from '../../src/connector/connector.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import { ID_RANGES } from '../../src/session/slots.js';
import { traitsOf } from './broker-habits.js';
import { Expectations } from './expectations.js';
import type { Key } from './key.js';
import { ModelBroker } from './model-broker.js';
import { Places } from './places.js';
import type { WorldPlan } from './plan.js';
import type { HandedMessage } from './producer.js';
import { Random } from './random.js';
import { Reception } from './reception.js';
import { SimulatedDisk } from './simulated-disk.js';
import { type AskedSave, SimulatedProcess } from './simulated-process.js';
import { StoredProgress } from './stored-progress.js';
import { Timeline } from './timeline.js';
import { Watcher } from './watcher.js';
import { Workforce } from './workforce.js';
import {
  configOf,
  keyRetentionMsOf,
  limitsOf,
  longestSaveMs,
  reconfigured,
  type SettingsChange,
  SPARE_HOST,
  settlingMsOf,
} from './world-config.js';
import { STOP_DEADLINE_MS, STOP_LONGEST_MS, WorldFaults } from './world-faults.js';
import type { WorldOptions } from './world-options.js';

const STEPS_MAX = 2_000_000;
/** A save that failed is tried again after a second; what is idle for longer, and for each that is to fail, has none. */
const CALM_MS = 2500;
const CALM_PER_FAILURE_MS = 1100;
/** So far ahead of what was accepted, an identifier means nothing yet. */
const UNUSED_AHEAD = 1000;

export class World {
  readonly plan: WorldPlan;
  readonly timeline = new Timeline();
  readonly stored: StoredProgress;
  readonly places: Places;
  readonly disk: SimulatedDisk;
  /** What has arrived, whichever broker it came to. */
  readonly reception = new Reception();
  readonly broker: ModelBroker;
  /** The one beside it, which nobody dials unless the plan has it. */
  readonly spare: ModelBroker;
  readonly watcher: Watcher;
  readonly workforce: Workforce;
  readonly problems: string[] = [];
  readonly expectations = new Expectations(this);
  readonly faults: WorldFaults;
  /** The process that runs, or ran last. */
  process: SimulatedProcess;
  crashCount = 0;
  /** Processes after the first one, those after an orderly end included. */
  newProcessCount = 0;
  /** The status of the connector at the end. */
  finalStatus: ConnectorStatus | undefined;
  isStopped = false;
  /** Digest of everything that has happened: the same plan gives the same. */
  digest = 0;
  readonly #random: Random;
  #config: ConnectorConfig;
  readonly #saves = new WeakMap<SessionProgress, AskedSave>();
  readonly #isTraced: boolean;
  #stepCount = 0;
  /** A stop and a start in order are under way. */
  isRestarting = false;
  /** Microtasks may be due. */
  #isPromised = true;
  #crashesWhenTold = false;

  constructor(plan: WorldPlan, options: WorldOptions = {}) {
    const { isTraced = false, beginning, openDisk = (parts) => new SimulatedDisk(parts, beginning?.image) } = options;
    this.plan = plan;
    this.#isTraced = isTraced;
    this.#random = new Random(plan.seed ^ 0x5eed);
    this.#config = configOf(plan);
    const justifies = (lane: Lane, offset: number): boolean => this.expectations.isJustified(lane, offset);
    this.stored = beginning?.stored.copy(justifies) ?? new StoredProgress(plan.firstOffset, justifies);
    this.places = beginning?.places.copy() ?? new Places((name) => this.expectations.mayBeStoredAgain(name));
    this.timeline.nowMs = beginning?.nowMs ?? 0;
    this.disk = openDisk({
      limits: limitsOf(plan),
      firstOffset: plan.firstOffset,
      stored: this.stored,
      places: this.places,
      wallMs: () => this.timeline.wallMs,
      mayFail: plan.faults.some(({ kind }) => kind === 'diskFull'),
      fateOf: (commit) => this.faults.commitFate(commit),
      saved: (progress, hasIdentity) => this.#saved(progress, hasIdentity),
      retried: (counts) => {
        for (const lane of LANES) this.process.retried[lane] += counts[lane];
      },
      problems: this.problems,
    });
    const traits = traitsOf(
      plan,
      () => this.#unusedId(),
      (fault) => this.faults.happened(fault),
      (name) => this.places.isMoved(name),
    );
    this.broker = new ModelBroker(traits, this.reception, this.timeline, this.#random);
    this.spare = new ModelBroker(traits, this.reception, this.timeline, this.#random);
    this.watcher = new Watcher({
      stored: this.stored,
      places: this.places,
      expectations: this.expectations,
      isPersistent: plan.isPersistent,
      nowMs: () => this.timeline.nowMs,
      // A lane that is read in small pieces is not there now and then, and others go on meanwhile.
      patienceMs: () =>
        plan.readAheadBytes === undefined
          ? 3 * (longestSaveMs(plan) + this.faults.slowestCommitMs)
          : Number.POSITIVE_INFINITY,
    });
    this.watcher.overruns = this.reception.overruns;
    this.workforce = new Workforce({
      plan,
      timeline: this.timeline,
      places: this.places,
      problems: this.problems,
      process: () => this.process,
      promised: () => this.promised(),
      answered: (what) => this.trace(what, NOTHING),
      outcomes: beginning?.outcomes,
    });
    if (beginning !== undefined) {
      this.disk.quarantine.draftCount = beginning.draftCount;
      this.broker.recall(beginning.broker);
      this.newProcessCount++;
    }
    this.faults = new WorldFaults(this, this.#random);
    this.process = this.#start();
  }

  /** All messages that anybody wants to hand in, by name. */
  get messages(): ReadonlyMap<Key, HandedMessage> {
    return this.workforce.messages;
  }

  /** Runs to the end and gives what is wrong; nothing when all is well. */
  async run(): Promise<string[]> {
    const untilMs = this.faults.lastMs;
    while (this.isWell && (await this.#step(untilMs)));
    this.timeline.nowMs = Math.max(this.timeline.nowMs, untilMs);
    await this.#settle();
    if (this.isWell) await this.#stayIdle();
    if (this.isWell) await this.#takeStock();
    while (this.isWell && this.plan.endsStopped === true && !this.isStopped) await this.#stop();
    return this.found();
  }

  /** Lets the time pass until everything has its end and the connection stands, and stays. */
  async #settle(): Promise<void> {
    const deadlineMs = this.timeline.nowMs + settlingMsOf(this.plan);
    let storedBefore: number;
    do {
      while (this.isWell && !this.isIdle && this.timeline.nowMs < deadlineMs) {
        if (!(await this.#step(deadlineMs))) break;
      }
      if (!this.isIdle) break;
      // What is idle may have a failed save to repeat, or a connection that is dead and nobody has noticed; and what it
      // stores meanwhile may fail and be repeated in its turn.
      storedBefore = this.disk.commitCount;
      await this.#pass(CALM_MS + this.faults.failingCommitsCount * CALM_PER_FAILURE_MS);
    } while (
      this.isWell &&
      (!this.isIdle || (this.disk.commitCount !== storedBefore && this.timeline.nowMs < deadlineMs))
    );
    if (this.isWell && !this.isIdle) this.problems.push(`It does not end idle: ${this.describe()}`);
  }

  async #takeStock(): Promise<void> {
    this.process.review();
    this.finalStatus = await this.#resolve('status', this.process.connector.status(), 5000);
    this.problems.push(...this.disk.audit(this.process.store), ...this.disk.auditArchive(this.process.store));
  }

  /** Gives the memory of the disk back. */
  dispose(): void {
    this.process.isAlive = false;
    this.disk.dispose();
  }

  describe(): string {
    const { process, stored } = this;
    const lanes = LANES.map(
      (lane) => `${lane} ${stored.progress.lanes[lane].firstUnsettled} of ${stored.nextOffsets[lane]}`,
    ).join(', ');
    const due = this.workforce.producers.filter(({ isDone }) => !isDone).length;
    const alive = process.isAlive ? process.state : 'dead';
    return `${alive}, thread ${process.thread.isIdle ? 'idle' : 'busy'}, ${due} producers wait, ${lanes}`;
  }

  found(): string[] {
    return [...this.problems, ...this.places.problems, ...this.watcher.problems, ...this.reception.problems];
  }

  /** Everything that was handed in has its end, the connection stands, and nothing is under way to the disk. */
  get isIdle(): boolean {
    return this.process.thread.isIdle && this.#isDone;
  }

  get #isDone(): boolean {
    const { process } = this;
    return (
      process.isAlive &&
      process.state === 'online' &&
      process.link !== undefined &&
      !process.link.isDead &&
      !this.isRestarting &&
      this.stored.isAllSettled &&
      this.workforce.producers.every(({ isDone }) => isDone)
    );
  }

  get isWell(): boolean {
    return (
      this.problems.length === 0 &&
      this.places.problems.length === 0 &&
      this.watcher.problems.length === 0 &&
      this.reception.problems.length === 0
    );
  }

  /** Microtasks may be due: they are done before the next step. */
  promised(): void {
    this.#isPromised = true;
  }

  /** One step, with everything that was promised in it. */
  async #step(untilMs: number): Promise<boolean> {
    if (!this.timeline.step(untilMs)) return false;
    if (++this.#stepCount > STEPS_MAX) this.problems.push('No end.');
    if (this.#isPromised) await this.#drain();
    return true;
  }

  /** From within a microtask, what is asked for here comes when no other microtask is left. */
  async #drain(): Promise<void> {
    this.#isPromised = false;
    await new Promise<void>((resolve) => process.nextTick(resolve));
    if (!this.#crashesWhenTold) return;
    this.#crashesWhenTold = false;
    this.crash(this.#random.pick([0, 200, 1_000_000]));
  }

  async #pass(durationMs: number): Promise<void> {
    const untilMs = this.timeline.nowMs + durationMs;
    while (this.isWell && (await this.#step(untilMs)));
    this.timeline.nowMs = Math.max(this.timeline.nowMs, untilMs);
  }

  /** Lets the time pass until a promise is kept, or the process that gave it is gone. */
  async #resolve<T>(name: string, promise: Promise<T>, longestMs: number): Promise<T | undefined> {
    const { process } = this;
    let result: { value: T } | undefined;
    promise.then(
      (value) => {
        result = { value };
      },
      (error: unknown) => this.problems.push(`${name} failed: ${String(error)}`),
    );
    const untilMs = this.timeline.nowMs + longestMs;
    do {
      this.#isPromised = true;
      await this.#drain();
    } while (result === undefined && process.isAlive && this.isWell && this.timeline.step(untilMs));
    if (result === undefined && process.isAlive && this.isWell)
      this.problems.push(`${name} took longer than ${longestMs} ms.`);
    return result?.value;
  }

  /** What is idle stays so: nothing is written but pings, and nothing is stored. */
  async #stayIdle(): Promise<void> {
    const { disk, watcher, plan, reception, process } = this;
    const { commitCount } = disk;
    const { publishCount, pingCount } = watcher;
    const { connectionCount } = reception;
    process.link?.heal();
    const keepaliveSeconds = reception.grants.at(-1)?.serverKeepAliveSeconds ?? plan.keepaliveSeconds;
    await this.#pass(keepaliveSeconds * 3000);
    if (!this.isWell) return;
    // The thread of the cache may be looking for what has been kept for its time.
    if (!this.#isDone) this.problems.push(`It does not stay idle: ${this.describe()}`);
    if (disk.commitCount !== commitCount) this.problems.push('It stores while it is idle.');
    if (watcher.publishCount !== publishCount) this.problems.push('It publishes while it is idle.');
    if (reception.connectionCount !== connectionCount) this.problems.push('It reconnects while it is idle.');
    const pings = watcher.pingCount - pingCount;
    if (pings < 2 || pings > 6) this.problems.push(`${pings} pings were sent in three keep-alive intervals.`);
  }

  /** It stops within its deadline, and afterwards nothing of it acts any more. */
  async #stop(): Promise<void> {
    const { process, disk, watcher, reception } = this;
    await this.#resolve('close', process.connector.close(STOP_DEADLINE_MS), STOP_LONGEST_MS);
    if (!this.isWell) return;
    if (!process.isAlive) {
      // A crash was planned for one of the last saves.
      await this.#settle();
      if (this.isWell) await this.#takeStock();
      return;
    }
    this.isStopped = true;
    if (process.state !== 'stopped') this.problems.push(`It is closed and its state is ${process.state}.`);
    const { commitCount } = disk;
    const { writtenSizeBytes } = watcher;
    const { connectionCount } = reception;
    await this.#pass(120_000);
    if (disk.commitCount !== commitCount) this.problems.push('It stores after it was stopped.');
    if (watcher.writtenSizeBytes !== writtenSizeBytes) this.problems.push('It writes after it was stopped.');
    if (reception.connectionCount !== connectionCount) this.problems.push('It connects after it was stopped.');
  }

  #start(): SimulatedProcess {
    return new SimulatedProcess({
      timeline: this.timeline,
      random: this.#random,
      disk: this.disk,
      stored: this.stored,
      brokerOf: (host) => (host === SPARE_HOST ? this.spare : this.broker),
      keyRetentionMs: keyRetentionMsOf(this.plan),
      readAheadBytes: this.plan.readAheadBytes,
      watcher: this.watcher,
      config: this.#config,
      problems: this.problems,
      saves: this.#saves,
      promised: () => this.promised(),
      dialFate: () => this.faults.dialFate(),
      openLink: () => this.faults.openLink(),
      commitDelayMs: () => this.faults.commitDelayMs(),
      powerCut: () => this.crash(this.#random.pick([0, 200, 1_000_000])),
      trace: (kind, bytes) => this.trace(kind, bytes),
    });
  }

  crash(arrivingSizeBytes: number): void {
    const { process, timeline } = this;
    if (!process.isAlive) return;
    this.trace('crash', NOTHING);
    this.crashCount++;
    const lagging = this.expectations.laggingSettlement();
    if (lagging !== undefined) this.problems.push(lagging);
    this.end(arrivingSizeBytes);
    timeline.after(this.#random.between(1, 300), () => this.startAnew());
  }

  /** What the process was doing is not done any more; producers with a key ask again. */
  end(arrivingSizeBytes: number): void {
    this.process.end(arrivingSizeBytes);
    this.isRestarting = false;
    this.#crashesWhenTold = false;
    this.workforce.abandoned();
  }

  /** From its next process on, the connector has other settings. */
  reconfigure(change: SettingsChange): void {
    this.#config = reconfigured(this.#config, change);
  }

  startAnew(): void {
    this.newProcessCount++;
    this.process = this.#start();
    this.#isPromised = true;
  }

  #saved(progress: SessionProgress, hasIdentity: boolean): number {
    const asked = this.#saves.get(progress);
    if (asked === undefined) throw new Error('A save was stored that nobody asked for.');
    this.watcher.committed(hasIdentity);
    if (asked.newSession !== undefined) asked.newSession.isKnownToClient = true;
    return asked.epoch;
  }

  /** A packet identifier of telemetry that means nothing yet. */
  #unusedId(): number {
    const { start, size } = ID_RANGES[2]!;
    return start + ((this.stored.nextOffsets.telemetry + UNUSED_AHEAD) % size);
  }

  /** Adds to the digest of what has happened. */
  trace(kind: string, bytes: Uint8Array): void {
    if (!this.#isTraced) return;
    this.digest = crc32(`${this.timeline.nowMs} ${kind} `, this.digest);
    this.digest = crc32(bytes, this.digest);
  }

  /** The process ends when it has heard of the transaction that is about to be made. */
  crashWhenTold(): void {
    const { process } = this;
    process.thread.whenAnswered = () => {
      this.#crashesWhenTold = true;
      this.#isPromised = true;
    };
  }
}

const NOTHING = new Uint8Array(0);
