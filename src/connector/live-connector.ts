/**
 * A connector at work: transformers in front of a cache, a session behind it, and what people want to know of both.
 *
 *     accept -> acceptance -> cache -> session -> transport
 *                               ^         |
 *                               +-- save -+
 */
import type { Cache } from '../cache/cache.js';
import type { ListPage, ListQuery, QuarantineQuery, StoreStatus } from '../cache/store.js';
import type { ConnectorConfig } from '../config/connector.js';
import type { Clock } from '../core/clock.js';
import type { Content, ContentType, Source } from '../core/content.js';
import { NorthError } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import type { FileContent, FileOptions, FileReceipt } from '../inputs/file.js';
import { LATENCY_BUCKETS_MS } from '../session/latency.js';
import type { SessionEvent } from '../session/session.js';
import { openTransformer } from '../transform/transformer.js';
import { openTransport } from '../transport/transport.js';
import { Acceptance } from './acceptance.js';
import type {
  AcceptOptions,
  Connector,
  ConnectorEvents,
  ConnectorState,
  ConnectorStatus,
  Grant,
  LatencyHistogram,
  Receipt,
} from './connector.js';
import { Counters } from './counters.js';
import { describeState, guaranteeText } from './description.js';
import { Digest } from './digest.js';
import { completeGrant } from './grant.js';
import { Link } from './link.js';
import type { ConnectionGrant, LinkState } from './link-state.js';
import { Listeners } from './listeners.js';
import { Reconnect } from './reconnect.js';
import { clientIdOf, messageDefaults, reconnectOptions, sessionOptions, transportOptions } from './settings-of.js';
import { searchText, Warnings } from './warnings.js';

/** Different causes of failed attempts that are logged during one outage. */
const LOGGED_ENDS_MAX = 64;

type EventPayloads = { [K in keyof ConnectorEvents]: ConnectorEvents[K][0] };

export interface LiveConnectorOptions {
  config: ConnectorConfig;
  cache: Cache;
  /** The cache's status when it was opened. */
  opened: StoreStatus;
  clock: Clock;
  logger: Logger;
  random: () => number;
  idempotencyRetentionMs: number;
}

export class LiveConnector implements Connector {
  readonly id: string;
  readonly name: string;
  readonly #config: ConnectorConfig;
  readonly #cache: Cache;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #listeners: Listeners<EventPayloads>;
  readonly #counters: Counters;
  readonly #quarantineLog: Digest;
  readonly #dropLog: Digest;
  readonly #acceptance: Acceptance;
  readonly #reconnect: Reconnect;
  readonly #link: Link;
  readonly #warnings: Warnings;
  #grant: Grant | undefined;
  #guarantee: string | undefined;
  #isDowngraded = false;
  #sinceMs: number;
  #lastError: ConnectorStatus['lastError'];
  #reconnects = -1;
  readonly #loggedEnds = new Set<string>();
  #closing: Promise<void> | undefined;
  /** The cache can do nothing any more. */
  #failure: NorthError | undefined;
  #lastCacheStatus: StoreStatus;

  constructor(options: LiveConnectorOptions) {
    const { config, cache, clock, logger } = options;
    const { settings } = config;
    this.id = config.id;
    this.name = config.name;
    this.#config = config;
    this.#cache = cache;
    this.#clock = clock;
    this.#logger = logger;
    this.#listeners = new Listeners(logger);
    this.#sinceMs = clock.wallMs();
    this.#warnings = new Warnings(config, (code, message) => {
      logger.warn({ connector: this.id, code }, message);
      this.#listeners.emit('warning', { id: this.id, code, message });
    });
    this.#quarantineLog = new Digest(clock, (code, count, example) =>
      logger.warn({ connector: this.id, code, count }, `${count} quarantined. ${example}`),
    );
    this.#dropLog = new Digest(clock, (code, count, example) =>
      logger.warn({ connector: this.id, code, count }, `${count} dropped. ${example}`),
    );
    this.#counters = new Counters(this.#quarantineLog, this.#dropLog);
    this.#acceptance = new Acceptance({
      id: this.id,
      transformers: config.transformers.map(openTransformer),
      defaults: messageDefaults(settings),
      cache,
      clock,
      counters: this.#counters,
      idempotencyRetentionMs: options.idempotencyRetentionMs,
    });
    this.#reconnect = new Reconnect(reconnectOptions(settings), options.random);
    this.#link = new Link({
      session: sessionOptions(config, cache.cacheId),
      stored: { progress: cache.progress, identity: cache.identity, nextOffsets: options.opened.nextOffsets },
      cache,
      reconnect: this.#reconnect,
      connectTimeoutMs: settings.connectTimeout,
      openTransport: (attempt, events) =>
        openTransport({ ...transportOptions(settings, attempt.broker, settings.connectTimeout), clock }, events),
      clock,
      events: {
        state: (state) => this.#stateChanged(state),
        granted: (granted) => this.#granted(granted),
        ended: (error, wasUp, nextAtMs) => this.#ended(error, wasUp, nextAtMs),
        session: (event) => this.#sessionReported(event),
      },
    });
    cache.onAppended = (lane, _from, to) => this.#link.offered(lane, to);
    cache.onFailed = (error) => this.#cacheFailed(error);
    this.#lastCacheStatus = options.opened;
  }

  takes(type: ContentType, source: Source): boolean {
    return this.#acceptance.takes(type, source);
  }

  async accept(content: Content, options: AcceptOptions): Promise<Receipt> {
    this.#assertTaking();
    return this.#acceptance.accept(content, options);
  }

  async acceptFile(content: FileContent, options: FileOptions): Promise<FileReceipt> {
    this.#assertTaking();
    return this.#acceptance.acceptFile(content, options);
  }

  position(source: string): Promise<string | undefined> {
    return this.#cache.position(source);
  }

  list(query: ListQuery): Promise<ListPage> {
    return this.#cache.list(query);
  }

  async retry(which: QuarantineQuery, topic?: string): Promise<number> {
    // Who retries has mended the cause, and means now and not after the pause of a topic that was refused.
    this.#link.session.resumeTopics();
    return (await this.#cache.retry(which, topic === undefined ? {} : { topic })).count;
  }

  remove(which: QuarantineQuery): Promise<number> {
    return this.#cache.remove(which);
  }

  on<K extends keyof ConnectorEvents>(event: K, listener: (event: ConnectorEvents[K][0]) => void): () => void {
    return this.#listeners.on(event, listener);
  }

  start(): void {
    if (this.#closing !== undefined || this.#failure !== undefined || !this.#config.enabled) return;
    this.#warnings.reviewSettings(this.#clock.wallMs());
    this.#link.start();
  }

  async stop(deadlineMs: number): Promise<void> {
    await this.#link.stop(deadlineMs);
  }

  close(deadlineMs: number): Promise<void> {
    this.#closing ??= this.#shutDown(deadlineMs);
    return this.#closing;
  }

  async #shutDown(deadlineMs: number): Promise<void> {
    await this.#link.stop(deadlineMs);
    await this.#cache.close();
    this.#quarantineLog.flush();
    this.#dropLog.flush();
  }

  async status(): Promise<ConnectorStatus> {
    const { session, state } = this.#link;
    if (this.#failure === undefined) this.#lastCacheStatus = await this.#cache.status();
    const cache = this.#lastCacheStatus;
    return {
      id: this.id,
      name: this.name,
      enabled: this.#config.enabled,
      state: this.#failure === undefined ? state.name : 'failed',
      description: this.#describe(state),
      sinceMs: this.#sinceMs,
      broker: 'broker' in state ? state.broker : undefined,
      grant: this.#grant,
      lastError: this.#lastError,
      warnings: this.#warnings.current(session.narrowedTo),
      counts: this.#counters.read(session),
      reconnects: Math.max(0, this.#reconnects),
      inflight: session.inflight,
      window: session.window,
      lastAcknowledgedAtMs: session.lastAcknowledgedAtMs,
      cache,
      ackLatency: this.#ackLatency(),
    };
  }

  #assertTaking(): void {
    if (this.#closing !== undefined) throw new NorthError('SERVICE_STOPPING', `The connector ${this.id} is stopping.`);
    if (!this.#config.enabled) throw new NorthError('CONNECTOR_DISABLED', `The connector ${this.id} is disabled.`);
  }

  #describe(state: LinkState): string {
    if (this.#failure !== undefined) return `failed: ${this.#failure.message}`;
    if (!this.#config.enabled) return 'disabled';
    return describeState(state, {
      guarantee: this.#guarantee,
      failures: this.#reconnect.failures,
      nextInMs: state.name === 'waiting' ? state.nextAtMs - this.#clock.monotonicMs() : undefined,
    });
  }

  #stateChanged(state: LinkState): void {
    this.#sinceMs = this.#clock.wallMs();
    if (state.name !== 'online' && state.name !== 'recovering' && state.name !== 'draining') this.#grant = undefined;
    const name: ConnectorState = this.#failure === undefined ? state.name : 'failed';
    this.#listeners.emit('state', { id: this.id, state: name, description: this.#describe(state) });
  }

  /** Without its cache the connector can neither take nor settle anything: it says so and leaves the broker. */
  #cacheFailed(error: NorthError): void {
    this.#failure = error;
    this.#lastError = { ...error.toJSON(), atMs: this.#clock.wallMs() };
    this.#logger.error({ connector: this.id, code: error.code }, `${error.message} ${error.remedy}`);
    this.#listeners.emit('failure', { id: this.id, error });
    this.#stateChanged(this.#link.state);
    void this.#link.stop(0);
  }

  #granted(granted: ConnectionGrant): void {
    const { settings } = this.#config;
    const { grant, attempt, protocolVersion } = granted;
    this.#reconnects++;
    this.#isDowngraded = false;
    const clientId = clientIdOf(settings, this.#cache.cacheId);
    this.#grant = completeGrant(grant, attempt, settings, clientId, settings.persistent);
    this.#guarantee = guaranteeText(settings.qos, settings.persistent, this.#grant, false);
    this.#lastError = undefined;
    this.#loggedEnds.clear();
    this.#warnings.reviewConnection(granted, this.#grant, this.#clock.wallMs());
    this.#logger.info(
      {
        connector: this.id,
        broker: attempt.broker.display,
        protocolVersion,
        sessionPresent: grant.sessionPresent,
        receiveMaximum: grant.receiveMaximum,
        maximumQos: grant.maximumQos,
      },
      `connected to ${attempt.broker.display}: ${this.#guarantee}`,
    );
  }

  #ended(error: NorthError, wasUp: boolean, nextAtMs: number): void {
    this.#lastError = { ...error.toJSON(), atMs: this.#clock.wallMs() };
    const inMs = Math.max(0, Math.round(nextAtMs - this.#clock.monotonicMs()));
    // One line per cause, not per attempt: an outage of a week must not fill the disk with its log. Several brokers
    // have their causes in turn; a text that is never twice the same cannot make more lines than the limit.
    const line = `${error.code} ${error.message}`;
    if (!this.#loggedEnds.has(line) && this.#loggedEnds.size < LOGGED_ENDS_MAX) {
      this.#loggedEnds.add(line);
      const text = `${wasUp ? 'lost the connection' : 'could not connect'}: ${error.message} ${error.remedy}`;
      this.#logger.warn({ connector: this.id, code: error.code, nextInMs: inMs }, text);
    } else this.#logger.debug({ connector: this.id, code: error.code, nextInMs: inMs }, 'still not connected');
    this.#listeners.emit('failure', { id: this.id, error });
  }

  #sessionReported(event: Exclude<SessionEvent, { kind: 'state' | 'granted' | 'ended' }>): void {
    switch (event.kind) {
      case 'quarantined':
        this.#counters.quarantined(event.lane);
        this.#quarantineLog.note(event.code, event.reason);
        this.#listeners.emit('quarantined', {
          id: this.id,
          lane: event.lane,
          code: event.code,
          reason: event.reason,
        });
        return;
      case 'topicPaused':
        this.#warnings.raise(
          'PUBLISH_NOT_AUTHORIZED',
          `The broker refuses messages to "${event.topic}". ${event.reason}`,
        );
        return;
      case 'expired':
        this.#dropLog.note('MESSAGE_EXPIRED', 'Older than their expiry before they could be sent.', event.count);
        return;
      case 'downgraded':
        if (this.#isDowngraded || this.#grant === undefined) return;
        this.#isDowngraded = true;
        this.#guarantee = guaranteeText(this.#config.settings.qos, this.#config.settings.persistent, this.#grant, true);
        this.#warnings.raise('DELIVERY_DOWNGRADED', 'The broker acknowledges QoS 2 as QoS 1: at least once.');
        return;
      case 'narrowed':
        this.#warnings.tell('PUBLISH_POISONOUS', searchText(event.window));
        return;
    }
  }

  #ackLatency(): LatencyHistogram {
    const { counts, sumMs, count } = this.#link.session.latency;
    return {
      bucketsSeconds: LATENCY_BUCKETS_MS.map((ms) => ms / 1000),
      counts: counts.slice(0, LATENCY_BUCKETS_MS.length),
      sumSeconds: sumMs / 1000,
      count,
    };
  }
}
