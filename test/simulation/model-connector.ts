/**
 * What stands around a session in the product, in virtual time: it dials, waits, dials again, hands saves and reads to the
 * cache, stops in order, and dies in the middle of anything.
 */
import type { Lane } from '../../src/core/lane.js';
import type { SessionSave } from '../../src/session/ledger.js';
import { Session, type SessionEvent, type SessionOptions } from '../../src/session/session.js';
import { type Key, keyOf } from './key.js';
import type { BrokerSession, ModelBroker } from './model-broker.js';
import type { ModelCache } from './model-cache.js';
import type { ModelLink } from './model-link.js';
import type { Random } from './random.js';
import type { Timeline } from './timeline.js';
import type { Watcher } from './watcher.js';

const CONNECT_TIMEOUT_MS = 3000;
const STOP_DEADLINE_MS = 2000;
const POLL_MS = 10;

export interface ConnectorParts {
  timeline: Timeline;
  random: Random;
  cache: ModelCache;
  broker: ModelBroker;
  watcher: Watcher;
  options: SessionOptions;
  protocolVersion: 4 | 5;
  /** Opens the connection with this number, counted from 0 over all lives. */
  openLink: (index: number) => ModelLink;
  /** What becomes of the save with this number, counted from 0 over all lives. */
  saveFate: (index: number) => SaveFate;
  problems: string[];
}

export interface SaveFate {
  delayMs: number;
  /** Between the commit and the moment when the session is told. */
  replyDelayMs: number;
  isFailing: boolean;
  crash: 'before' | 'after' | 'told' | undefined;
}

export class ModelConnector {
  session: Session;
  link: ModelLink | undefined;
  crashCount = 0;
  connectionCount = 0;
  saveCount = 0;
  /** When the session asked to be woken, or undefined. */
  wakeMs: number | undefined;
  readonly events: SessionEvent[] = [];
  readonly counts = { published: 0, dropped: 0, possibleDuplicates: 0, noSubscribers: 0 };
  readonly #parts: ConnectorParts;
  #life = 0;
  #isStopped = false;
  #isDead = false;
  #isSaving = false;
  #cancelTick: (() => void) | undefined;
  #newSession: BrokerSession | undefined;

  constructor(parts: ConnectorParts) {
    this.#parts = parts;
    this.session = this.#open();
    this.#dial(0);
  }

  /** False between a crash and the next life. */
  get isAlive(): boolean {
    return !this.#isDead;
  }

  offered(lane: Lane, end: number): void {
    const life = this.#life;
    const { timeline } = this.#parts;
    timeline.after(0, () => {
      if (life === this.#life && !this.#isDead) this.session.offered(lane, end, timeline.nowMs, timeline.wallMs);
    });
  }

  /** The process ends here and now; of what it has written, so many bytes still arrive at most. */
  crash(arrivingSizeBytes: number): void {
    const { timeline, random } = this.#parts;
    if (this.#isDead) return;
    this.crashCount++;
    this.#forget();
    this.#isDead = true;
    this.link?.abort('client', arrivingSizeBytes);
    this.link = undefined;
    timeline.after(random.between(1, 300), () => {
      this.#isDead = false;
      this.session = this.#open();
      this.#dial(0);
    });
  }

  /** Stops in order, then starts again. */
  restart(isSameProcess: boolean): void {
    if (this.#isStopped || this.#isDead) return;
    this.#isStopped = true;
    const { timeline } = this.#parts;
    const life = this.#life;
    const { session } = this;
    const deadlineMs = timeline.nowMs + STOP_DEADLINE_MS;
    session.drain(timeline.nowMs, timeline.wallMs);
    const whenOffline = (): void => {
      if (life !== this.#life) return;
      if (session.state !== 'offline') {
        if (timeline.nowMs >= deadlineMs) session.close(timeline.nowMs, timeline.wallMs);
        timeline.after(POLL_MS, whenOffline);
        return;
      }
      session.settleAccounts(timeline.nowMs);
      whenSaved();
    };
    const whenSaved = (): void => {
      if (life !== this.#life) return;
      if (session.hasUnsaved && timeline.nowMs < deadlineMs + STOP_DEADLINE_MS) {
        timeline.after(POLL_MS, whenSaved);
        return;
      }
      this.#isStopped = false;
      if (!isSameProcess) {
        this.#forget();
        this.session = this.#open();
      }
      this.#dial(0);
    };
    whenOffline();
  }

  /** What the session has counted in this life is kept, and none of its callbacks comes any more. */
  #forget(): void {
    for (const lane of ['command', 'alert', 'telemetry'] as const) {
      const counts = this.session.countsOf(lane);
      for (const name of Object.keys(this.counts) as (keyof typeof this.counts)[]) this.counts[name] += counts[name];
    }
    this.#life++;
    this.#isStopped = false;
    this.#isSaving = false;
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.wakeMs = undefined;
  }

  #open(): Session {
    const { cache, watcher, timeline, options } = this.#parts;
    const life = this.#life;
    const isAlive = (): boolean => life === this.#life;
    cache.restart();
    watcher.restarted();
    return new Session(options, cache.stored(), {
      write: (bytes) => {
        watcher.wrote(bytes);
        return this.link?.write('client', bytes) ?? false;
      },
      close: (graceful) => this.#close(graceful),
      wakeAt: (timeMs) => {
        this.wakeMs = timeMs;
        this.#cancelTick?.();
        this.#cancelTick = undefined;
        if (timeMs === undefined) return;
        this.#cancelTick = timeline.after(timeMs - timeline.nowMs, () => {
          this.wakeMs = undefined;
          this.session.tick(timeline.nowMs, timeline.wallMs);
        });
      },
      read: (lane, fromOffset, sizeBytesMax) => {
        timeline.after(this.#parts.random.between(0, 3), () => {
          if (!isAlive()) return;
          const batches = cache.read(lane, fromOffset, sizeBytesMax);
          this.session.supply(lane, fromOffset, batches, timeline.nowMs, timeline.wallMs);
        });
      },
      save: (save) => this.#save(save, isAlive),
      report: (event) => this.events.push(event),
    });
  }

  #dial(delayMs: number): void {
    const { timeline, broker, watcher } = this.#parts;
    const life = this.#life;
    timeline.after(delayMs, () => {
      if (life !== this.#life || this.link !== undefined || this.#isStopped) return;
      if (!broker.isUp) {
        this.#dial(this.#parts.random.between(20, 200));
        return;
      }
      const link = this.#parts.openLink(this.connectionCount++);
      this.link = link;
      broker.accept(link);
      watcher.connected(this.#parts.protocolVersion);
      link.join('client', {
        received: (bytes) => {
          if (link !== this.link) return;
          const { epoch } = watcher;
          watcher.reached(bytes);
          if (watcher.epoch !== epoch) this.#newSession = broker.sessionOf(link);
          this.session.received(bytes, timeline.nowMs, timeline.wallMs);
        },
        drained: () => {
          if (link === this.link) this.session.drained(timeline.nowMs, timeline.wallMs);
        },
        closed: () => this.#closed(link),
      });
      this.session.connected('broker:1883', this.#parts.protocolVersion, timeline.nowMs);
      timeline.after(CONNECT_TIMEOUT_MS, () => {
        if (link !== this.link || this.session.state !== 'handshaking') return;
        link.abort('client', 0);
        this.#closed(link);
      });
    });
  }

  #close(graceful: boolean): void {
    const { link } = this;
    if (link === undefined) return;
    if (graceful) {
      link.end('client');
      return;
    }
    link.abort('client', this.#parts.random.pick([0, 100, 1_000_000]));
    this.#parts.timeline.after(0, () => this.#closed(link));
  }

  #closed(link: ModelLink): void {
    if (link !== this.link) return;
    const { timeline, watcher, random } = this.#parts;
    this.link = undefined;
    watcher.disconnected();
    this.session.disconnected(undefined, timeline.nowMs, timeline.wallMs);
    this.#dial(random.between(20, 300));
  }

  #save(save: SessionSave, isAlive: () => boolean): void {
    const { timeline, cache, watcher, problems } = this.#parts;
    if (this.#isSaving) problems.push('Two saves are under way at once.');
    this.#isSaving = true;
    const fate = this.#parts.saveFate(this.saveCount++);
    const { epoch } = watcher;
    const newSession = save.identity === undefined ? undefined : this.#newSession;
    const crash = (): void => {
      if (isAlive()) this.crash(this.#parts.random.pick([0, 200, 1_000_000]));
    };
    if (fate.crash === 'before') timeline.after(fate.delayMs, crash);
    timeline.after(fate.delayMs, () => {
      if (!isAlive()) return;
      if (fate.isFailing) {
        this.#isSaving = false;
        this.session.saved(false, timeline.nowMs, timeline.wallMs);
        return;
      }
      problems.push(...cache.commit(save, epoch));
      watcher.committed(save.identity !== undefined);
      if (newSession !== undefined) newSession.isKnownToClient = true;
      const received = receivedKeys(save);
      if (fate.crash === 'after') {
        crash();
        return;
      }
      timeline.after(fate.replyDelayMs, () => {
        if (!isAlive()) return;
        this.#isSaving = false;
        if (epoch === watcher.epoch) watcher.confirmed(received);
        this.session.saved(true, timeline.nowMs, timeline.wallMs);
        if (fate.crash === 'told') crash();
      });
    });
  }
}

function receivedKeys(save: SessionSave): Set<Key> {
  const keys = new Set<Key>();
  for (const { lane, from, to } of save.progress.received) {
    for (let offset = from; offset < to; offset++) keys.add(keyOf(lane, offset));
  }
  return keys;
}
