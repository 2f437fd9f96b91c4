/** Carries out what a plan wants to go wrong. */
import type { LiveConnector } from '../../src/connector/live-connector.js';
import { NorthError } from '../../src/core/error.js';
import type { ModelBroker } from './model-broker.js';
import { ModelLink } from './model-link.js';
import type { PlannedFault } from './plan.js';
import type { Random } from './random.js';
import type { CommitFate } from './simulated-disk.js';
import type { DialFate } from './simulated-transport.js';
import type { World } from './world.js';
import { CONNECT_TIMEOUT_MS } from './world-config.js';

const DISK_FAULTS: readonly PlannedFault['kind'][] = ['commitsFail', 'diskFull', 'slowCommits'];
const REQUEST_REFUSALS = ['CACHE_FULL', 'CACHE_DISK_FULL', 'CACHE_CLOSED', 'SERVICE_STOPPING'];
export const STOP_DEADLINE_MS = 2000;
/** A stop may take its deadline, the farewell and what is left to be stored. */
export const STOP_LONGEST_MS = STOP_DEADLINE_MS + 1000 + 5000 + 1000;
const NOTHING = new Uint8Array(0);

export class WorldFaults {
  readonly links: ModelLink[] = [];
  readonly #world: World;
  readonly #random: Random;
  #commitDelayMs = 0;
  #latencyMs: number;
  #dialCount = 0;
  readonly #happened = new Set<PlannedFault>();
  /** The latest time that the wall clock showed before it jumped. */
  #jumpedFromMs = 0;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.#latencyMs = world.plan.latencyMs;
    for (const fault of world.plan.faults) this.#prepare(fault);
  }

  /** The latest time that the wall clock has shown. */
  get latestWallMs(): number {
    return Math.max(this.#jumpedFromMs, this.#world.timeline.wallMs);
  }

  /** True when the disk may not take everything that it should. */
  get concernDisk(): boolean {
    return this.#world.plan.faults.some(({ kind }) => DISK_FAULTS.includes(kind));
  }

  get slowestCommitMs(): number {
    const slow = this.#world.plan.faults.map((fault) => (fault.kind === 'slowCommits' ? fault.delayMs : 0));
    return 2 * Math.max(0, ...slow);
  }

  get failingCommitsCount(): number {
    return this.#world.plan.faults.reduce((sum, fault) => sum + (fault.kind === 'commitsFail' ? fault.count : 0), 0);
  }

  /** When the last of the planned things happens. */
  get lastMs(): number {
    const { plan } = this.#world;
    let last = 0;
    for (const { atMs } of plan.appends) last = Math.max(last, atMs);
    for (const fault of plan.faults) {
      if (!('atMs' in fault)) continue;
      const durationMs = 'durationMs' in fault ? fault.durationMs : 'downMs' in fault ? fault.downMs : 0;
      last = Math.max(last, fault.atMs + durationMs);
    }
    return last;
  }

  /** How long the next transaction takes. */
  commitDelayMs(): number {
    return this.#random.between(...this.#world.plan.saveDelayMs) + this.#commitDelayMs;
  }

  /** What becomes of the next dial. */
  dialFate(): DialFate {
    const [least, most] = this.#world.plan.dialDelayMs ?? [0, 0];
    const delayMs = this.#random.between(least, most);
    const dial = this.#dialCount++;
    const fault = this.#world.plan.faults.find((one) => one.kind === 'dial' && one.dial === dial);
    if (fault?.kind !== 'dial') return { delayMs, outcome: 'opens' };
    this.happened(fault);
    if (fault.outcome === 'slow') return { delayMs: CONNECT_TIMEOUT_MS - 100, outcome: 'opens' };
    return { delayMs, outcome: fault.outcome };
  }

  openLink(): ModelLink {
    const index = this.links.length;
    const cut = this.#world.plan.faults.find((fault) => fault.kind === 'cut' && fault.connection === index);
    const isCut = cut?.kind === 'cut';
    const link = new ModelLink({
      timeline: this.#world.timeline,
      cutAsPlanned: () => {
        if (cut !== undefined) this.happened(cut);
      },
      random: this.#random,
      latencyMs: this.#latencyMs,
      bufferSizeMax: this.#world.plan.bufferSizeMax,
      pieceSizeMax: this.#world.plan.pieceSizeMax,
      cutToBroker: isCut && cut.to === 'broker' ? cut.afterSizeBytes : undefined,
      cutToClient: isCut && cut.to === 'client' ? cut.afterSizeBytes : undefined,
      clientNoticeMs: isCut ? cut.clientNoticeMs : 0,
      brokerNoticeMs: isCut ? cut.brokerNoticeMs : 0,
    });
    this.links.push(link);
    return link;
  }

  /** What becomes of the transaction with this number. */
  commitFate(index: number): CommitFate {
    const fate: CommitFate = { isFailing: false, crash: undefined };
    for (const fault of this.#world.plan.faults) {
      if (fault.kind === 'crashAtCommit' && fault.commit === index) {
        this.happened(fault);
        if (fault.when === 'told') this.#world.crashWhenTold();
        else fate.crash = fault.when;
      }
      if (fault.kind === 'commitsFail' && index >= fault.from && index < fault.from + fault.count) {
        fate.isFailing = true;
        this.happened(fault);
      }
    }
    this.#world.trace('commit', NOTHING);
    return fate;
  }

  #prepare(fault: PlannedFault): void {
    if ('atMs' in fault) this.#world.timeline.after(fault.atMs, () => this.#happens(fault));
  }

  /** A planned fault has met something that it could happen to. */
  happened(fault: PlannedFault): void {
    this.#happened.add(fault);
  }

  /** How many of the planned faults of these kinds have happened. */
  countHappened(...kinds: PlannedFault['kind'][]): number {
    let count = 0;
    for (const { kind } of this.#happened) if (kinds.includes(kind)) count++;
    return count;
  }

  get allHappened(): readonly PlannedFault[] {
    return [...this.#happened];
  }

  hasHappened(...kinds: PlannedFault['kind'][]): boolean {
    return this.countHappened(...kinds) > 0;
  }

  #happens(fault: PlannedFault & { atMs: number }): void {
    const { timeline, process, disk } = this.#world;
    const { link } = process;
    const needsLink = ['cutAt', 'halfOpen', 'stall', 'kick'].includes(fault.kind);
    const needsProcess = ['crashAt', 'restart', 'reconfigure', 'retry', 'remove', 'limits'].includes(fault.kind);
    if ((!needsLink || (link !== undefined && !link.isCut)) && (!needsProcess || process.isAlive)) this.happened(fault);
    switch (fault.kind) {
      case 'cutAt':
        link?.cut();
        return;
      case 'halfOpen':
        link?.swallow(fault.to);
        return;
      case 'latency':
        this.#setLatency(fault.latencyMs);
        timeline.after(fault.durationMs, () => this.#setLatency(this.#world.plan.latencyMs));
        return;
      case 'kick':
        this.#world.broker.kick(fault.reasonCode);
        this.#world.spare.kick(fault.reasonCode);
        return;
      case 'crashAt':
        this.#world.crash(fault.arrivingSizeBytes);
        return;
      case 'brokerCrash':
        this.#crashBroker(fault.isSpare === true ? this.#world.spare : this.#world.broker, fault);
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
        return;
      case 'reconfigure':
        this.#world.reconfigure(fault);
        this.#restart(false);
        return;
      case 'retry':
        this.#request('A retry', (connector) => connector.retry({ all: true }));
        return;
      case 'remove':
        this.#request('A removal', (connector) => connector.remove({ all: true }));
        return;
      case 'limits':
        this.#setLimits(fault);
    }
  }

  #crashBroker(broker: ModelBroker, { keepsSessions, downMs }: { keepsSessions: boolean; downMs: number }): void {
    broker.isUp = false;
    broker.crash(keepsSessions);
    this.#world.timeline.after(downMs, () => {
      broker.isUp = true;
    });
  }

  /** Somebody asks for something, and is told why not at most in one of the ways that there are. */
  #request(name: string, ask: (connector: LiveConnector) => Promise<unknown>): void {
    const { process, problems } = this.#world;
    if (!process.isAlive) return;
    this.#world.promised();
    ask(process.connector).catch((error: unknown) => {
      const code = error instanceof NorthError ? error.code : String(error);
      if (process.isAlive && !REQUEST_REFUSALS.includes(code)) problems.push(`${name} failed: ${code}`);
    });
  }

  #setLimits({ onFull, quarantineRetentionMs }: Extract<PlannedFault, { kind: 'limits' }>): void {
    const { process, disk } = this.#world;
    const limits = {
      ...disk.limits,
      ...(onFull === undefined ? {} : { onFull }),
      ...(quarantineRetentionMs === undefined ? {} : { quarantineRetentionMs }),
    };
    this.#request('A change of the limits', () => process.cache.setLimits(limits));
  }

  #setLatency(latencyMs: number): void {
    this.#latencyMs = latencyMs;
    if (this.#world.process.link !== undefined) this.#world.process.link.latencyMs = latencyMs;
  }

  /** Stops in order, then starts again. */
  #restart(isSameProcess: boolean): void {
    const { process, timeline } = this.#world;
    if (this.#world.isRestarting || !process.isAlive) return;
    this.#world.isRestarting = true;
    this.#world.promised();
    const startMs = timeline.nowMs;
    const { connector } = process;
    const ended = isSameProcess ? connector.stop(STOP_DEADLINE_MS) : connector.close(STOP_DEADLINE_MS);
    ended.then(
      () => {
        if (!process.isAlive) return;
        const tookMs = timeline.nowMs - startMs;
        if (tookMs > STOP_LONGEST_MS + this.slowestCommitMs) this.#world.problems.push(`A stop took ${tookMs} ms.`);
        this.#world.isRestarting = false;
        this.#checkSaved();
        if (isSameProcess) {
          connector.start();
          return;
        }
        this.#world.end(0);
        timeline.after(this.#random.between(1, 300), () => this.#world.startAnew());
      },
      (error: unknown) => this.#world.problems.push(`A stop failed: ${String(error)}`),
    );
  }

  /** A stop in order has stored everything that it knew, unless the disk would not take it. */
  #checkSaved(): void {
    const [key] = this.#world.watcher.unsettled();
    if (key !== undefined && !this.concernDisk)
      this.#world.problems.push(`${key} was done when it stopped, and that is not stored.`);
  }
}
