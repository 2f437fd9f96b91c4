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
import { type Key, keyIn, keyOf } from './key.js';
import { type AckFault, type BrokerMemory, ModelBroker, ORDINARY_BROKER } from './model-broker.js';
import { ModelLink } from './model-link.js';
import { Places } from './places.js';
import type { PlannedFault, WorldPlan } from './plan.js';
import { type Outcome, Producer, type ProducerMessage } from './producer.js';
import { Random } from './random.js';
import { type CommitFate, type DiskOptions, SimulatedDisk } from './simulated-disk.js';
import { type AskedSave, SimulatedProcess } from './simulated-process.js';
import type { DialFate } from './simulated-transport.js';
import { StoredProgress } from './stored-progress.js';
import { Timeline } from './timeline.js';
import { Watcher } from './watcher.js';
import { CONNECT_TIMEOUT_MS, configOf, limitsOf } from './world-config.js';

/** Longer than the longest pause before a refused message is tried again. */
const SETTLING_MS = 20 * 60_000;
const STEPS_MAX = 2_000_000;
const STOP_DEADLINE_MS = 2000;
/** A stop may take its deadline, the farewell and what is left to be stored. */
const STOP_LONGEST_MS = STOP_DEADLINE_MS + 1000 + 5000 + 1000;
const PRODUCER_RETRY_MS = 200;
/** A save that failed is tried again after a second; what is idle for longer, and for each that is to fail, has none. */
const CALM_MS = 2500;
const CALM_PER_FAILURE_MS = 1100;
/** So far ahead of what was accepted, an identifier means nothing yet. */
const UNUSED_AHEAD = 1000;

export interface Accepted extends ProducerMessage {
  producer: Producer;
}

/** Where a world goes on from: what another one had on its disk, and what its broker and its producers knew. */
export interface Beginning {
  image: Buffer;
  nowMs: number;
  stored: StoredProgress;
  places: Places;
  draftCount: number;
  broker: BrokerMemory;
  outcomes: readonly Outcome[];
}

export interface WorldOptions {
  /** Computes the digest, which takes its time. */
  isTraced?: boolean;
  beginning?: Beginning;
  /** A disk of another kind. */
  openDisk?: (options: DiskOptions) => SimulatedDisk;
}

export class World {
  readonly plan: WorldPlan;
  readonly timeline = new Timeline();
  readonly stored: StoredProgress;
  readonly places: Places;
  readonly disk: SimulatedDisk;
  readonly broker: ModelBroker;
  readonly watcher: Watcher;
  readonly producers: readonly Producer[];
  /** All messages that anybody wants to hand in, by name. */
  readonly messages = new Map<Key, Accepted>();
  readonly problems: string[] = [];
  readonly links: ModelLink[] = [];
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
  readonly #config: ConnectorConfig;
  readonly #saves = new WeakMap<SessionProgress, AskedSave>();
  readonly #isTraced: boolean;
  #commitDelayMs = 0;
  #latencyMs: number;
  #stepCount = 0;
  #dialCount = 0;
  /** A stop and a start in order are under way. */
  #isRestarting = false;
  /** Microtasks may be due. */
  #isPromised = true;
  #crashesWhenTold = false;
  /** The latest time that the wall clock showed before it jumped. */
  #jumpedFromMs = 0;

  constructor(plan: WorldPlan, options: WorldOptions = {}) {
    const { isTraced = false, beginning, openDisk = (parts) => new SimulatedDisk(parts, beginning?.image) } = options;
    this.plan = plan;
    this.#isTraced = isTraced;
    this.#random = new Random(plan.seed ^ 0x5eed);
    this.#latencyMs = plan.latencyMs;
    this.#config = configOf(plan);
    const justifies = (lane: Lane, offset: number): boolean => this.#isJustified(lane, offset);
    this.stored = beginning?.stored.copy(justifies) ?? new StoredProgress(plan.firstOffset, justifies);
    this.places = beginning?.places.copy() ?? new Places();
    this.timeline.nowMs = beginning?.nowMs ?? 0;
    this.disk = openDisk({
      limits: limitsOf(plan),
      firstOffset: plan.firstOffset,
      stored: this.stored,
      places: this.places,
      wallMs: () => this.timeline.wallMs,
      fateOf: (commit) => this.#commitFate(commit),
      saved: (progress, hasIdentity) => this.#saved(progress, hasIdentity),
      problems: this.problems,
    });
    this.broker = new ModelBroker({ ...ORDINARY_BROKER, ...this.#traits() }, this.timeline, this.#random);
    this.watcher = new Watcher(this.stored, this.places, plan.isPersistent, (key) => this.#expires(key));
    this.watcher.overruns = this.broker.overruns;
    this.producers = this.#employ(beginning?.outcomes);
    if (beginning !== undefined) {
      this.disk.draftCount = beginning.draftCount;
      this.broker.recall(beginning.broker);
      this.newProcessCount++;
    }
    for (const fault of plan.faults) this.#prepare(fault);
    this.process = this.#start();
  }

  /** Runs to the end and gives what is wrong; nothing when all is well. */
  async run(): Promise<string[]> {
    const untilMs = lastMs(this.plan);
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
    const deadlineMs = this.timeline.nowMs + SETTLING_MS;
    do {
      while (this.isWell && !this.isIdle && this.timeline.nowMs < deadlineMs) {
        if (!(await this.#step(deadlineMs))) break;
      }
      if (!this.isIdle) break;
      // What is idle may have a failed save to repeat, or a connection that is dead and nobody has noticed.
      await this.#pass(CALM_MS + failingCommits(this.plan) * CALM_PER_FAILURE_MS);
    } while (this.isWell && !this.isIdle);
    if (this.isWell && !this.isIdle) this.problems.push(`It does not end idle: ${this.describe()}`);
  }

  async #takeStock(): Promise<void> {
    this.finalStatus = await this.#resolve('status', this.process.connector.status(), 5000);
    this.problems.push(...this.disk.audit(this.process.store));
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
    const due = this.producers.filter(({ isDone }) => !isDone).length;
    const alive = process.isAlive ? process.state : 'dead';
    return `${alive}, thread ${process.thread.isIdle ? 'idle' : 'busy'}, ${due} producers wait, ${lanes}`;
  }

  found(): string[] {
    return [...this.problems, ...this.places.problems, ...this.watcher.problems, ...this.broker.problems];
  }

  /** Everything that was handed in has its end, and the connection stands. */
  get isIdle(): boolean {
    const { process } = this;
    return (
      process.isAlive &&
      process.state === 'online' &&
      process.link !== undefined &&
      !process.link.isDead &&
      !this.#isRestarting &&
      process.thread.isIdle &&
      this.stored.isAllSettled &&
      this.producers.every(({ isDone }) => isDone)
    );
  }

  get isWell(): boolean {
    return (
      this.problems.length === 0 &&
      this.places.problems.length === 0 &&
      this.watcher.problems.length === 0 &&
      this.broker.problems.length === 0
    );
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
    this.#crash(this.#random.pick([0, 200, 1_000_000]));
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
    const { disk, watcher, plan, broker, process } = this;
    const { commitCount } = disk;
    const { publishCount, pingCount } = watcher;
    const { connectionCount } = broker;
    process.link?.heal();
    await this.#pass(plan.keepaliveSeconds * 3000);
    if (!this.isWell) return;
    if (!this.isIdle) this.problems.push(`It does not stay idle: ${this.describe()}`);
    if (disk.commitCount !== commitCount) this.problems.push('It stores while it is idle.');
    if (watcher.publishCount !== publishCount) this.problems.push('It publishes while it is idle.');
    if (broker.connectionCount !== connectionCount) this.problems.push('It reconnects while it is idle.');
    const pings = watcher.pingCount - pingCount;
    if (pings < 2 || pings > 6) this.problems.push(`${pings} pings were sent in three keep-alive intervals.`);
  }

  /** It stops within its deadline, and afterwards nothing of it acts any more. */
  async #stop(): Promise<void> {
    const { process, disk, watcher, broker } = this;
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
    const { connectionCount } = broker;
    await this.#pass(120_000);
    if (disk.commitCount !== commitCount) this.problems.push('It stores after it was stopped.');
    if (watcher.writtenSizeBytes !== writtenSizeBytes) this.problems.push('It writes after it was stopped.');
    if (broker.connectionCount !== connectionCount) this.problems.push('It connects after it was stopped.');
  }

  /** @param outcomes what each producer has heard already; those that have not asked yet never do. */
  #employ(outcomes?: readonly Outcome[]): Producer[] {
    const next: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };
    for (const lane of LANES) next[lane] = this.plan.firstOffset;
    return [...this.plan.appends]
      .sort((a, b) => a.atMs - b.atMs)
      .map((append, i) => {
        const names = append.messages.map(() => keyOf(append.lane, next[append.lane]++));
        const producer = new Producer(append, names, i, this.places, this.problems);
        for (const message of producer.messages) this.messages.set(message.name, { ...message, producer });
        const outcome = outcomes?.[i];
        if (outcome === 'due') producer.outcome = 'unknown';
        else if (outcome !== undefined) producer.outcome = outcome;
        producer.abandoned();
        if (!producer.isDone) this.timeline.after(append.atMs - this.timeline.nowMs, () => this.#hand(producer));
        return producer;
      });
  }

  /** While nobody is there to take it, the producer tries again. */
  #hand(producer: Producer): void {
    const { process } = this;
    if (!process.isAlive) {
      this.timeline.after(PRODUCER_RETRY_MS, () => this.#hand(producer));
      return;
    }
    this.#isPromised = true;
    producer.hand(
      process.connector,
      this.timeline.wallMs,
      () => process.isAlive,
      (receipt, code) => {
        this.trace(code ?? 'receipt', NOTHING);
        if (receipt !== undefined) {
          process.accepted[producer.plan.lane] += producer.messages.length;
          process.accepted.telemetry += producer.plan.unmappedCount ?? 0;
        }
        if (producer.outcome === 'due') this.timeline.after(PRODUCER_RETRY_MS, () => this.#hand(producer));
      },
    );
  }

  #start(): SimulatedProcess {
    return new SimulatedProcess({
      timeline: this.timeline,
      random: this.#random,
      disk: this.disk,
      stored: this.stored,
      broker: this.broker,
      watcher: this.watcher,
      config: this.#config,
      problems: this.problems,
      saves: this.#saves,
      promised: () => {
        this.#isPromised = true;
      },
      dialFate: () => this.#dialFate(),
      openLink: () => this.#openLink(),
      commitDelayMs: () => this.#random.between(...this.plan.saveDelayMs) + this.#commitDelayMs,
      powerCut: () => this.#crash(this.#random.pick([0, 200, 1_000_000])),
      trace: (kind, bytes) => this.trace(kind, bytes),
    });
  }

  #crash(arrivingSizeBytes: number): void {
    const { process, timeline } = this;
    if (!process.isAlive) return;
    this.trace('crash', NOTHING);
    this.crashCount++;
    this.#end(arrivingSizeBytes);
    timeline.after(this.#random.between(1, 300), () => this.#startAnew());
  }

  #end(arrivingSizeBytes: number): void {
    this.process.end(arrivingSizeBytes);
    this.#isRestarting = false;
    this.#crashesWhenTold = false;
    for (const producer of this.producers) {
      const wasAsked = producer.outcome === 'asked';
      producer.abandoned();
      if (wasAsked && !producer.isDone) this.timeline.after(PRODUCER_RETRY_MS, () => this.#hand(producer));
    }
  }

  #startAnew(): void {
    this.newProcessCount++;
    this.process = this.#start();
    this.#isPromised = true;
  }

  /** Stops in order, then starts again. */
  #restart(isSameProcess: boolean): void {
    const { process } = this;
    if (this.#isRestarting || !process.isAlive) return;
    this.#isRestarting = true;
    this.#isPromised = true;
    const startMs = this.timeline.nowMs;
    const { connector } = process;
    const ended = isSameProcess ? connector.stop(STOP_DEADLINE_MS) : connector.close(STOP_DEADLINE_MS);
    ended.then(
      () => {
        if (!process.isAlive) return;
        const tookMs = this.timeline.nowMs - startMs;
        if (tookMs > STOP_LONGEST_MS + this.#slowestCommitMs) this.problems.push(`A stop took ${tookMs} ms.`);
        this.#isRestarting = false;
        this.#checkSaved();
        if (isSameProcess) {
          connector.start();
          return;
        }
        this.#end(0);
        this.timeline.after(this.#random.between(1, 300), () => this.#startAnew());
      },
      (error: unknown) => this.problems.push(`A stop failed: ${String(error)}`),
    );
  }

  /** A stop in order has stored everything that it knew, unless the disk would not take it. */
  #checkSaved(): void {
    const [key] = this.watcher.unsettled();
    const mayFail = this.plan.faults.some(({ kind }) => DISK_FAULTS.includes(kind));
    if (key !== undefined && !mayFail) this.problems.push(`${key} was done when it stopped, and that is not stored.`);
  }

  get #slowestCommitMs(): number {
    const slow = this.plan.faults.map((fault) => (fault.kind === 'slowCommits' ? fault.delayMs : 0));
    return 2 * Math.max(0, ...slow);
  }

  #saved(progress: SessionProgress, hasIdentity: boolean): number {
    const asked = this.#saves.get(progress);
    if (asked === undefined) throw new Error('A save was stored that nobody asked for.');
    this.watcher.committed(hasIdentity);
    if (asked.newSession !== undefined) asked.newSession.isKnownToClient = true;
    return asked.epoch;
  }

  get #latestWallMs(): number {
    return Math.max(this.#jumpedFromMs, this.timeline.wallMs);
  }

  #expires(key: Key): boolean {
    for (const lane of LANES) {
      if (key.charAt(0) !== lane.charAt(0)) continue;
      const name = this.places.nameAt(lane, Number(key.slice(1)));
      return name !== undefined && (this.messages.get(name)?.message.expirySeconds ?? 0) > 0;
    }
    return false;
  }

  /** Whether a message that is settled now was delivered, or needed not be. */
  #isJustified(lane: Lane, offset: number): boolean {
    const name = this.places.nameAt(lane, offset);
    const accepted = name === undefined ? undefined : this.messages.get(name);
    if (name === undefined || accepted === undefined) return false;
    const { message, producer } = accepted;
    if ((this.broker.deliveredCount.get(name) ?? 0) > 0) return true;
    const { expirySeconds } = message;
    // Messages that are accepted within a second share a row, which has the time of the first one.
    const acceptedAtMs = (producer.firstAskedAtMs ?? 0) - 1000;
    if (expirySeconds > 0 && this.#latestWallMs >= acceptedAtMs + expirySeconds * 1000) return true;
    if (message.qos === 0 || this.broker.traits.maximumQos === 0) return this.watcher.sent.has(keyOf(lane, offset));
    return this.isExcused(name);
  }

  /**
   * The one loss that MQTT cannot prevent: the broker lost its session, and the CONNACK that said so was lost, too, or we
   * with it. The next one says that there is a session, and its PUBCOMP means nothing.
   */
  isExcused(name: Key): boolean {
    const { message } = this.messages.get(name) ?? {};
    return this.broker.maskedLossCount > 0 && message?.qos === 2 && this.broker.traits.deliversAt === 'pubrel';
  }

  /** Adds to the digest of what has happened. */
  trace(kind: string, bytes: Uint8Array): void {
    if (!this.#isTraced) return;
    this.digest = crc32(`${this.timeline.nowMs} ${kind} `, this.digest);
    this.digest = crc32(bytes, this.digest);
  }

  #dialFate(): DialFate {
    const [least, most] = this.plan.dialDelayMs ?? [0, 0];
    const delayMs = this.#random.between(least, most);
    const dial = this.#dialCount++;
    const fault = this.plan.faults.find((one) => one.kind === 'dial' && one.dial === dial);
    if (fault?.kind !== 'dial') return { delayMs, outcome: 'opens' };
    if (fault.outcome === 'slow') return { delayMs: CONNECT_TIMEOUT_MS - 100, outcome: 'opens' };
    return { delayMs, outcome: fault.outcome };
  }

  #openLink(): ModelLink {
    const index = this.links.length;
    const cut = this.plan.faults.find((fault) => fault.kind === 'cut' && fault.connection === index);
    const isCut = cut?.kind === 'cut';
    const { receiveMaximum, receiveMaxima } = this.plan.broker;
    if (receiveMaxima !== undefined && index > 0) {
      this.broker.traits.receiveMaximum = receiveMaxima[Math.min(index, receiveMaxima.length) - 1];
    }
    if (receiveMaxima !== undefined || receiveMaximum !== undefined) {
      this.watcher.receiveMaximum = this.broker.traits.receiveMaximum ?? 65_535;
    }
    const link = new ModelLink({
      timeline: this.timeline,
      random: this.#random,
      latencyMs: this.#latencyMs,
      bufferSizeMax: this.plan.bufferSizeMax,
      pieceSizeMax: this.plan.pieceSizeMax,
      cutToBroker: isCut && cut.to === 'broker' ? cut.afterSizeBytes : undefined,
      cutToClient: isCut && cut.to === 'client' ? cut.afterSizeBytes : undefined,
      clientNoticeMs: isCut ? cut.clientNoticeMs : 0,
      brokerNoticeMs: isCut ? cut.brokerNoticeMs : 0,
    });
    this.links.push(link);
    return link;
  }

  #commitFate(index: number): CommitFate {
    const fate: CommitFate = { isFailing: false, crash: undefined };
    for (const fault of this.plan.faults) {
      if (fault.kind === 'crashAtCommit' && fault.commit === index) {
        if (fault.when === 'told') this.#crashWhenTold();
        else fate.crash = fault.when;
      }
      if (fault.kind === 'commitsFail' && index >= fault.from && index < fault.from + fault.count) {
        fate.isFailing = true;
      }
    }
    this.trace('commit', NOTHING);
    return fate;
  }

  /** The answers to this transaction are the next that come. */
  #crashWhenTold(): void {
    const { process } = this;
    process.thread.whenAnswered = () => {
      this.#crashesWhenTold = true;
      this.#isPromised = true;
    };
  }

  #prepare(fault: PlannedFault): void {
    if ('atMs' in fault) this.timeline.after(fault.atMs, () => this.#happens(fault));
  }

  #happens(fault: PlannedFault & { atMs: number }): void {
    const { timeline, process, broker, disk } = this;
    const { link } = process;
    switch (fault.kind) {
      case 'cutAt':
        link?.cut();
        return;
      case 'halfOpen':
        link?.swallow(fault.to);
        return;
      case 'latency':
        this.#setLatency(fault.latencyMs);
        timeline.after(fault.durationMs, () => this.#setLatency(this.plan.latencyMs));
        return;
      case 'kick':
        broker.kick(fault.reasonCode);
        return;
      case 'crashAt':
        this.#crash(fault.arrivingSizeBytes);
        return;
      case 'brokerCrash':
        broker.isUp = false;
        broker.crash(fault.keepsSessions);
        timeline.after(fault.downMs, () => {
          broker.isUp = true;
        });
        return;
      case 'stall':
        if (link === undefined) return;
        link.isStalled = true;
        timeline.after(fault.durationMs, () => link.resume());
        return;
      case 'diskFull':
        disk.setFull(true);
        timeline.after(fault.durationMs, () => disk.setFull(false));
        return;
      case 'slowCommits':
        this.#commitDelayMs = fault.delayMs;
        timeline.after(fault.durationMs, () => {
          this.#commitDelayMs = 0;
        });
        return;
      case 'clockJump':
        this.#jumpedFromMs = Math.max(this.#jumpedFromMs, timeline.wallMs);
        timeline.wallAheadMs += fault.byMs;
        return;
      case 'restart':
        this.#restart(fault.isSameProcess);
    }
  }

  #setLatency(latencyMs: number): void {
    this.#latencyMs = latencyMs;
    if (this.process.link !== undefined) this.process.link.latencyMs = latencyMs;
  }

  #traits(): Partial<ModelBroker['traits']> {
    const { refusalShare, poison, ignored, receiveMaxima: _, ...traits } = this.plan.broker;
    const { faults } = this.plan;
    return {
      ...traits,
      codeOf: (publish, attempt) => {
        if (refusalShare === 0 || attempt > 2) return 0;
        const roll = new Random(hashOf(keyIn(Buffer.from(publish.payload))) ^ attempt).next();
        return roll < refusalShare ? (attempt === 1 ? 0x97 : 0x80) : 0;
      },
      closesOn: (publish) =>
        poison.length > 0 && publish.qos > 0 && poison.includes(keyIn(Buffer.from(publish.payload))),
      ignores: (publish) => ignored.length > 0 && ignored.includes(keyIn(Buffer.from(publish.payload))),
      ackFaultOf: (ack) => this.#ackFault(ack),
      connectCodeOf: (connection, version) => {
        if (this.plan.fallsBack === true && version === 5) return connection % 2 === 0 ? 1 : 'close';
        const fault = faults.find((one) => one.kind === 'refuse' && one.connection === connection);
        if (fault?.kind !== 'refuse') return 0;
        if (fault.isSilent) return 'close';
        return version === 5 ? 0x88 : 3;
      },
    };
  }

  #ackFault(ack: number): AckFault | undefined {
    const fault = this.plan.faults.find((one) => one.kind === 'ack' && one.ack === ack);
    if (fault?.kind !== 'ack') return undefined;
    const range = ID_RANGES[2]!;
    const offset = this.stored.nextOffsets.telemetry + UNUSED_AHEAD;
    return { how: fault.how, delayMs: fault.delayMs, unknownId: range.start + (offset % range.size) };
  }
}

const NOTHING = new Uint8Array(0);

const DISK_FAULTS: readonly PlannedFault['kind'][] = ['commitsFail', 'diskFull', 'slowCommits'];

function lastMs(plan: WorldPlan): number {
  let last = 0;
  for (const { atMs } of plan.appends) last = Math.max(last, atMs);
  for (const fault of plan.faults) {
    if (!('atMs' in fault)) continue;
    const durationMs = 'durationMs' in fault ? fault.durationMs : 'downMs' in fault ? fault.downMs : 0;
    last = Math.max(last, fault.atMs + durationMs);
  }
  return last;
}

function failingCommits(plan: WorldPlan): number {
  return plan.faults.reduce((sum, fault) => sum + (fault.kind === 'commitsFail' ? fault.count : 0), 0);
}

function hashOf(text: string): number {
  let hash = 0;
  for (const char of text) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) | 0;
  return hash;
}
