/**
 * One life of the product in a world: a connector as it is, with its cache and its session, between a simulated disk and a
 * simulated network. When it ends, nothing of it acts any more, and what is durable on the disk stays.
 */
import type { Cache } from '../../src/cache/cache.js';
import { CacheFront } from '../../src/cache/cache-front.js';
import type { SaveRequest, SessionProgress } from '../../src/cache/store.js';
import type { ConnectorConfig } from '../../src/config/connector.js';
import type { ConnectorState } from '../../src/connector/connector.js';
import { LiveConnector } from '../../src/connector/live-connector.js';
import type { Attempt } from '../../src/connector/reconnect.js';
import { sessionOptions } from '../../src/connector/settings-of.js';
import type { Clock } from '../../src/core/clock.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import { type Key, keyOf } from './key.js';
import { LoadedBytes } from './loaded-bytes.js';
import type { BrokerSession, ModelBroker } from './model-broker.js';
import type { ModelLink } from './model-link.js';
import type { Random } from './random.js';
import type { SimulatedDisk, SimulatedStore } from './simulated-disk.js';
import { SimulatedThread } from './simulated-thread.js';
import { type DialFate, SimulatedTransport } from './simulated-transport.js';
import type { StoredProgress } from './stored-progress.js';
import type { Timeline } from './timeline.js';
import type { Watcher } from './watcher.js';

export interface Surroundings {
  timeline: Timeline;
  random: Random;
  disk: SimulatedDisk;
  stored: StoredProgress;
  brokerOf: (host: string) => ModelBroker;
  keyRetentionMs: number;
  readAheadBytes: number | undefined;
  watcher: Watcher;
  config: ConnectorConfig;
  problems: string[];
  /** What was asked for before the save became durable. */
  saves: WeakMap<SessionProgress, AskedSave>;
  /** Microtasks may be due: they are done before the next step. */
  promised: () => void;
  dialFate: () => DialFate;
  openLink: () => ModelLink;
  commitDelayMs: () => number;
  /** The process ends in the middle of a transaction. */
  powerCut: () => void;
  trace: (kind: string, bytes: Uint8Array) => void;
}

export interface AskedSave {
  epoch: number;
  newSession: BrokerSession | undefined;
}

/** More than one call per lane and a save would be a queue that grows: a read for each lane may be left of a rewind. */
const WAITING_MAX = 64;

export class SimulatedProcess {
  isAlive = true;
  state: ConnectorState = 'stopped';
  readonly connector: LiveConnector;
  readonly cache: CacheFront;
  readonly thread: SimulatedThread;
  /** What waited when it started, and what it has accepted since, per lane. */
  readonly waitingAtStart: Record<Lane, number>;
  readonly accepted: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };
  /** What was put back from quarantine since. */
  readonly retried: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };
  readonly loaded: LoadedBytes;
  /** Connections that stood. */
  onlineCount = 0;
  readonly #surroundings: Surroundings;
  readonly #startMs: number;
  readonly #store: SimulatedStore;
  #transport: SimulatedTransport | undefined;
  #newSession: BrokerSession | undefined;
  /** The one that was dialled last. */
  #broker: ModelBroker | undefined;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
    const { timeline, random, disk, stored, watcher, config, problems, commitDelayMs, powerCut, promised } =
      surroundings;
    // The monotonic clock of a process begins with it.
    this.#startMs = timeline.nowMs - random.between(0, 1000);
    watcher.restarted();
    this.waitingAtStart = {
      command: stored.waitingCount('command'),
      alert: stored.waitingCount('alert'),
      telemetry: stored.waitingCount('telemetry'),
    };
    const store = disk.open();
    this.#store = store;
    problems.push(...disk.audit(store));
    const clock: Clock = {
      wallMs: () => timeline.wallMs,
      monotonicMs: () => timeline.nowMs - this.#startMs,
      // As a timer of Node.js does it: in whole milliseconds, and at least one. Somebody may have been promised its end.
      schedule: (delayMs, callback) =>
        this.#schedule(Math.max(1, Math.trunc(delayMs)), () => {
          promised();
          callback();
        }),
    };
    this.thread = new SimulatedThread({
      store,
      schedule: (delayMs, action) => void this.#schedule(delayMs, action),
      readDelayMs: () => random.between(0, 3),
      commitDelayMs,
      replyDelayMs: () => random.between(0, 2),
      powerCut,
      answering: promised,
      answered: () => surroundings.trace('answered', NOTHING),
    });
    const opening = { cacheId: store.cacheId, progress: store.progress(), identity: store.identity() };
    const front = new CacheFront(opening, this.thread, clock);
    this.thread.serve(front);
    this.cache = front;
    this.#watchSaves(front);
    this.loaded = new LoadedBytes(sessionOptions(config, store.cacheId, surroundings.readAheadBytes).readAheadBytes);
    this.connector = new LiveConnector({
      config,
      cache: front,
      opened: store.status(),
      clock,
      logger: SILENT_LOGGER,
      random: () => random.next(),
      idempotencyRetentionMs: surroundings.keyRetentionMs,
      ...(surroundings.readAheadBytes === undefined ? {} : { readAheadBytes: surroundings.readAheadBytes }),
      openTransport: (attempt, events) => {
        this.#transport = new SimulatedTransport(
          {
            timeline,
            connectTimeoutMs: config.settings.connectTimeout,
            fate: surroundings.dialFate(),
            open: () => this.#open(attempt),
            wrote: (bytes) => {
              surroundings.trace('wrote', bytes);
              watcher.wrote(bytes);
            },
            reached: (link, bytes) => this.#reached(link, bytes),
            ended: () => {
              watcher.disconnected();
              promised();
            },
            arrivingSizeBytes: () => random.pick([0, 100, 1_000_000]),
            isAlive: () => this.isAlive,
          },
          events,
        );
        return this.#transport;
      },
    });
    const tell = front.onAppended;
    front.onAppended = (lane, from, to, batches) => {
      watcher.priority.offered(lane, to);
      tell?.(lane, from, to, batches);
    };
    this.connector.on('state', ({ state }) => {
      // It is told again when the description changes.
      if (state === 'recovering' && this.state !== 'recovering') this.onlineCount++;
      this.state = state;
    });
    this.connector.start();
  }

  get link(): ModelLink | undefined {
    return this.#transport?.link;
  }

  /** The process is gone from one moment to the next; of what it has written, so many bytes still arrive at most. */
  end(arrivingSizeBytes: number): void {
    this.isAlive = false;
    this.link?.abort('client', arrivingSizeBytes);
    this.review();
  }

  /** What it has kept in memory is bounded. */
  review(): void {
    const { problems } = this.#surroundings;
    if (this.thread.waitingMax > WAITING_MAX) {
      problems.push(`${this.thread.waitingMax} calls were waiting for the cache at once.`);
    }
    problems.push(...this.loaded.problems);
  }

  /** What is stored, as the thread of the cache sees it. */
  get store(): SimulatedStore {
    return this.#store;
  }

  #schedule(delayMs: number, callback: () => void): () => void {
    return this.#surroundings.timeline.after(delayMs, () => {
      if (this.isAlive) callback();
    });
  }

  #open({ broker: { host }, protocolVersion }: Attempt): ModelLink | undefined {
    const { brokerOf, watcher, openLink } = this.#surroundings;
    const broker = brokerOf(host);
    if (!broker.isUp) return undefined;
    const link = openLink();
    const grant = broker.traits.grantOf(broker.reception.connectionCount);
    this.#broker = broker;
    broker.accept(link);
    watcher.connected(protocolVersion, host, grant);
    return link;
  }

  #reached(link: ModelLink, bytes: Uint8Array): void {
    const { watcher, trace } = this.#surroundings;
    trace('reached', bytes);
    const { epoch } = watcher;
    watcher.reached(bytes);
    if (watcher.epoch !== epoch) this.#newSession = this.#broker?.sessionOf(link);
  }

  /** Writes down which session of the broker a save belongs to, and what the session is told of it. */
  #watchSaves(cache: Cache): void {
    const { watcher, saves, problems } = this.#surroundings;
    const save = cache.save.bind(cache);
    let isSaving = false;
    cache.save = (request, done) => {
      if (isSaving) problems.push('Two saves are under way at once.');
      isSaving = true;
      const { epoch } = watcher;
      saves.set(request.progress, {
        epoch,
        newSession: request.identity === undefined ? undefined : this.#newSession,
      });
      save(request, (error) => {
        isSaving = false;
        if (!this.isAlive) return;
        if (error === undefined) watcher.told();
        if (error === undefined && epoch === watcher.epoch) watcher.confirmed(receivedKeys(request));
        done(error);
      });
    };
  }
}

const NOTHING = new Uint8Array(0);

function receivedKeys(save: Omit<SaveRequest, 'kind'>): Set<Key> {
  const keys = new Set<Key>();
  for (const { lane, from, to } of save.progress.received) {
    for (let offset = from; offset < to; offset++) keys.add(keyOf(lane, offset));
  }
  return keys;
}

/** The sum over all lanes. */
export function total(counts: Readonly<Record<Lane, number>>): number {
  return LANES.reduce((sum, lane) => sum + counts[lane], 0);
}
