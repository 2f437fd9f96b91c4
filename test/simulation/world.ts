/**
 * A whole world in virtual time: a session, the cache it is stored in, a link that fails and a broker with habits. It runs
 * a plan to its end, then lets everything settle without faults, and gives what was found.
 */
import type { Message } from '../../src/core/message.js';
import type { SessionOptions } from '../../src/session/session.js';
import { type Key, keyIn, keyOf, payloadOf } from './key.js';
import { ModelBroker, ORDINARY_BROKER } from './model-broker.js';
import { ModelCache } from './model-cache.js';
import { ModelConnector, type SaveFate } from './model-connector.js';
import { ModelLink } from './model-link.js';
import type { PlannedAppend, PlannedFault, WorldPlan } from './plan.js';
import { Random } from './random.js';
import { Timeline } from './timeline.js';
import { Watcher } from './watcher.js';

/** Longer than the longest pause before a refused message is tried again. */
const SETTLING_MS = 20 * 60_000;
const STEPS_MAX = 2_000_000;

export interface Accepted {
  key: Key;
  message: Message;
  acceptedAtMs: number;
}

export class World {
  readonly plan: WorldPlan;
  readonly timeline = new Timeline();
  readonly cache: ModelCache;
  readonly broker: ModelBroker;
  readonly watcher: Watcher;
  readonly connector: ModelConnector;
  readonly accepted = new Map<Key, Accepted>();
  readonly problems: string[] = [];
  readonly links: ModelLink[] = [];
  readonly #random: Random;
  #slowSaveMs = 0;
  /** The latest time that the wall clock showed before it jumped. */
  #jumpedFromMs = 0;

  constructor(plan: WorldPlan) {
    this.plan = plan;
    this.#random = new Random(plan.seed ^ 0x5eed);
    this.cache = new ModelCache(plan.firstOffset, (lane, offset) => this.#isJustified(keyOf(lane, offset)));
    this.broker = new ModelBroker({ ...ORDINARY_BROKER, ...this.#traits() }, this.timeline, this.#random);
    this.watcher = new Watcher(
      this.cache,
      plan.isPersistent,
      (key) => (this.accepted.get(key)?.message.expirySeconds ?? 0) > 0,
    );
    this.watcher.overruns = this.broker.overruns;
    if (plan.protocolVersion === 5) this.watcher.receiveMaximum = plan.broker.receiveMaximum ?? 65_535;
    for (const append of plan.appends) this.timeline.after(append.atMs, () => this.#append(append));
    for (const fault of plan.faults) this.#prepare(fault);
    this.connector = new ModelConnector({
      timeline: this.timeline,
      random: this.#random,
      cache: this.cache,
      broker: this.broker,
      watcher: this.watcher,
      options: this.#sessionOptions(),
      protocolVersion: plan.protocolVersion,
      openLink: (index) => this.#openLink(index),
      saveFate: (index) => this.#saveFate(index),
      problems: this.problems,
    });
  }

  /** Runs to the end and gives what is wrong; nothing when all is well. */
  run(): string[] {
    let steps = 0;
    const untilMs = lastMs(this.plan);
    while (this.#isWell() && this.timeline.step(untilMs)) if (++steps > STEPS_MAX) return [...this.#found(), 'No end.'];
    const deadlineMs = this.timeline.nowMs + SETTLING_MS;
    while (this.#isWell() && !this.#isIdle() && this.timeline.nowMs < deadlineMs) {
      if (!this.timeline.step(deadlineMs)) break;
      if (++steps > STEPS_MAX) return [...this.#found(), 'No end.'];
    }
    if (this.#isWell() && !this.#isIdle()) this.problems.push(`It does not end idle: ${this.describe()}`);
    if (this.#isWell()) this.#stayIdle();
    return this.#found();
  }

  describe(): string {
    const { session } = this.connector;
    const lanes = (['command', 'alert', 'telemetry'] as const)
      .map((lane) => `${lane} ${JSON.stringify(session.cursorOf(lane))} of ${this.cache.nextOffsets[lane]}`)
      .join(', ');
    return `${session.state}, ${session.inflight} in flight, unsaved ${session.hasUnsaved}, ${lanes}`;
  }

  #found(): string[] {
    return [...this.problems, ...this.watcher.problems, ...this.broker.problems];
  }

  #isWell(): boolean {
    return this.problems.length === 0 && this.watcher.problems.length === 0 && this.broker.problems.length === 0;
  }

  #isIdle(): boolean {
    const { session, isAlive, link } = this.connector;
    if (
      !isAlive ||
      link === undefined ||
      link.isCut ||
      session.state !== 'online' ||
      session.hasUnsaved ||
      session.inflight > 0
    )
      return false;
    return (['command', 'alert', 'telemetry'] as const).every(
      (lane) => session.cursorOf(lane).head === this.cache.nextOffsets[lane],
    );
  }

  /** What is idle stays so: nothing is written but pings, and nothing is stored. */
  #stayIdle(): void {
    const { cache, watcher, plan, connector } = this;
    const { commitCount } = cache;
    const { publishCount, pingCount } = watcher;
    const { connectionCount } = connector;
    connector.link?.heal();
    this.timeline.pass(plan.keepaliveSeconds * 3000);
    if (!this.#isIdle()) this.problems.push(`It does not stay idle: ${this.describe()}`);
    if (cache.commitCount !== commitCount) this.problems.push('It stores while it is idle.');
    if (watcher.publishCount !== publishCount) this.problems.push('It publishes while it is idle.');
    if (connector.connectionCount !== connectionCount) this.problems.push('It reconnects while it is idle.');
    const pings = watcher.pingCount - pingCount;
    if (pings < 2 || pings > 6) this.problems.push(`${pings} pings were sent in three keep-alive intervals.`);
  }

  #append(append: PlannedAppend): void {
    const { timeline } = this;
    let offset = this.cache.nextOffsets[append.lane];
    const messages = append.messages.map(({ qos, sizeBytes, expirySeconds, retain }): Message => {
      const key = keyOf(append.lane, offset++);
      const payload = payloadOf(key, sizeBytes);
      const message: Message = {
        topic: `plant/${append.lane}`,
        payload,
        qos,
        retain,
        lane: append.lane,
        expirySeconds,
      };
      this.accepted.set(key, { key, message, acceptedAtMs: timeline.wallMs });
      return message;
    });
    const { to } = this.cache.append(append.lane, messages, timeline.wallMs);
    this.connector.offered(append.lane, to);
  }

  get #latestWallMs(): number {
    return Math.max(this.#jumpedFromMs, this.timeline.wallMs);
  }

  #isJustified(key: Key): boolean {
    const accepted = this.accepted.get(key);
    if (accepted === undefined) return false;
    const { message, acceptedAtMs } = accepted;
    if ((this.broker.deliveredCount.get(key) ?? 0) > 0) return true;
    const { expirySeconds } = message;
    if (expirySeconds > 0 && this.#latestWallMs >= acceptedAtMs + expirySeconds * 1000) return true;
    if (message.qos === 0 || this.broker.traits.maximumQos === 0) return this.watcher.sent.has(key);
    return this.isExcused(key);
  }

  /**
   * The one loss that MQTT cannot prevent: the broker lost its session, and the CONNACK that said so was lost, too, or we
   * with it. The next one says that there is a session, and its PUBCOMP means nothing.
   */
  isExcused(key: Key): boolean {
    const { message } = this.accepted.get(key) ?? {};
    return this.broker.maskedLossCount > 0 && message?.qos === 2 && this.broker.traits.deliversAt === 'pubrel';
  }

  #openLink(index: number): ModelLink {
    const cut = this.plan.faults.find((fault) => fault.kind === 'cut' && fault.connection === index);
    const isCut = cut?.kind === 'cut';
    const link = new ModelLink({
      timeline: this.timeline,
      random: this.#random,
      latencyMs: this.plan.latencyMs,
      bufferSizeMax: this.plan.bufferSizeMax,
      cutToBroker: isCut && cut.to === 'broker' ? cut.afterSizeBytes : undefined,
      cutToClient: isCut && cut.to === 'client' ? cut.afterSizeBytes : undefined,
      clientNoticeMs: isCut ? cut.clientNoticeMs : 0,
      brokerNoticeMs: isCut ? cut.brokerNoticeMs : 0,
    });
    this.links.push(link);
    return link;
  }

  #saveFate(index: number): SaveFate {
    const [least, most] = this.plan.saveDelayMs;
    const fate: SaveFate = {
      delayMs: this.#random.between(least, most) + this.#slowSaveMs,
      replyDelayMs: this.#random.between(0, 2),
      isFailing: false,
      crash: undefined,
    };
    for (const fault of this.plan.faults) {
      if (fault.kind === 'crashAtSave' && fault.save === index) fate.crash = fault.when;
      if (fault.kind === 'savesFail' && index >= fault.from && index < fault.from + fault.count) fate.isFailing = true;
    }
    return fate;
  }

  #prepare(fault: PlannedFault): void {
    if (!('atMs' in fault)) return;
    const { timeline } = this;
    timeline.after(fault.atMs, () => {
      switch (fault.kind) {
        case 'cutAt':
          this.connector.link?.cut();
          break;
        case 'crashAt':
          this.connector.crash(fault.arrivingSizeBytes);
          break;
        case 'brokerCrash':
          this.broker.isUp = false;
          this.broker.crash(fault.keepsSessions);
          timeline.after(fault.downMs, () => {
            this.broker.isUp = true;
          });
          break;
        case 'stall': {
          const { link } = this.connector;
          if (link === undefined) break;
          link.isStalled = true;
          timeline.after(fault.durationMs, () => link.resume());
          break;
        }
        case 'slowSaves':
          this.#slowSaveMs = fault.delayMs;
          timeline.after(fault.durationMs, () => {
            this.#slowSaveMs = 0;
          });
          break;
        case 'clockJump':
          this.#jumpedFromMs = Math.max(this.#jumpedFromMs, timeline.wallMs);
          timeline.wallAheadMs += fault.byMs;
          break;
        case 'dropOldest':
          this.cache.dropOldest();
          break;
        case 'restart':
          this.connector.restart(fault.isSameProcess);
          break;
      }
    });
  }

  #traits(): Partial<ModelBroker['traits']> {
    const { refusalShare, poison, ignored, ...traits } = this.plan.broker;
    return {
      ...traits,
      codeOf: (publish, attempt) => {
        if (refusalShare === 0 || attempt > 2) return 0;
        const roll = new Random(hashOf(keyIn(Buffer.from(publish.payload))) ^ attempt).next();
        return roll < refusalShare ? (attempt === 1 ? 0x97 : 0x80) : 0;
      },
      closesOn: (publish) => publish.qos > 0 && poison.includes(keyIn(Buffer.from(publish.payload))),
      ignores: (publish) => ignored.length > 0 && ignored.includes(keyIn(Buffer.from(publish.payload))),
    };
  }

  #sessionOptions(): SessionOptions {
    const { plan } = this;
    return {
      cacheId: '0badcafe',
      clientId: 'world',
      persistent: plan.isPersistent,
      sessionExpirySeconds: 86_400,
      keepaliveSeconds: plan.keepaliveSeconds,
      username: undefined,
      password: undefined,
      will: undefined,
      ackTimeoutMs: 5000,
      inflightMax: plan.inflightMax,
      messagesPerSecond: plan.messagesPerSecond,
      bytesPerSecond: 0,
      maxAgeMs: 0,
      messageIdProperty: plan.messageIdProperty,
    };
  }
}

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

function hashOf(text: string): number {
  let hash = 0;
  for (const char of text) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) | 0;
  return hash;
}
