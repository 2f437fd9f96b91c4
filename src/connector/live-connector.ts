/**
 * A connector at work: transformers in front of a cache, a session behind it, and what people want to know of both.
 *
 *     accept -> acceptance -> cache -> session -> transport
 *                               ^         |
 *                               +-- save -+
 */
import type { Cache } from '../cache/cache.js';
import type { AppendReply, ListPage, ListQuery, QuarantineQuery, StoreStatus } from '../cache/store.js';
import type { ConnectorConfig } from '../config/connector.js';
import type { Clock } from '../core/clock.js';
import type { Content, ContentType, Source } from '../core/content.js';
import { NorthError } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import type { FileContent, FileOptions, FileReceipt } from '../inputs/file.js';
import type { SessionEvent } from '../session/session.js';
import { openTransformer } from '../transform/transformer.js';
import { openTransport, type Transport, type TransportEvents } from '../transport/transport.js';
import { Acceptance } from './acceptance.js';
import { Assurance } from './assurance.js';
import { ConnectionLog } from './connection-log.js';
import type {
  AcceptOptions,
  Connector,
  ConnectorEvents,
  ConnectorState,
  ConnectorStatus,
  Grant,
  Receipt,
} from './connector.js';
import { type AppendDraft, SingleStore } from './content-store.js';
import { Counters } from './counters.js';
import { describeState } from './description.js';
import { Digest } from './digest.js';
import { completeGrant } from './grant.js';
import { histogramOf } from './latency-histogram.js';
import { Link } from './link.js';
import type { ConnectionGrant, LinkState } from './link-state.js';
import { Listeners } from './listeners.js';
import { type Attempt, Reconnect } from './reconnect.js';
import { clientIdOf, messageDefaults, reconnectOptions, sessionOptions, transportOptions } from './settings-of.js';
import { Upkeep } from './upkeep.js';
import { searchText, Warnings } from './warnings.js';

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
  /** See `SessionOptions`; the usual size when left out. */
  readAheadBytes?: number;
  /** Opens the connection to a broker; a socket when left out. */
  openTransport?: (attempt: Attempt, events: TransportEvents) => Transport;
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
  readonly #upkeep: Upkeep;
  readonly #assurance: Assurance;
  #grant: Grant | undefined;
  #sinceMs: number;
  #lastError: ConnectorStatus['lastError'];
  #reconnects = -1;
  readonly #connectionLog: ConnectionLog;
  /** Another client uses our client id; until a connection has lasted. */
  #takenText: string | undefined;
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
      this.#connectionLog.warned(code, message);
      this.#listeners.emit('warning', { id: this.id, code, message });
    });
    this.#connectionLog = new ConnectionLog(this.id, clock, logger, () => this.#connectionSettled());
    this.#quarantineLog = new Digest(clock, (code, count, example) =>
      logger.warn({ connector: this.id, code, count }, `${count} quarantined. ${example}`),
    );
    this.#dropLog = new Digest(clock, (code, count, example) =>
      logger.warn({ connector: this.id, code, count }, `${count} dropped. ${example}`),
    );
    this.#assurance = new Assurance(settings, () => this.#link.session.isQos2Proven);
    this.#upkeep = new Upkeep(this.id, clock, logger, (error) => this.#upkeepChanged(error));
    this.#counters = new Counters(this.#quarantineLog, this.#dropLog);
    this.#acceptance = new Acceptance({
      id: this.id,
      transformers: config.transformers.map(openTransformer),
      defaults: messageDefaults(settings),
      store: new SingleStore({ part: this, clock, idempotencyRetentionMs: options.idempotencyRetentionMs }),
      clock,
    });
    this.#reconnect = new Reconnect(reconnectOptions(settings), options.random);
    this.#link = new Link({
      session: sessionOptions(config, cache.cacheId, options.readAheadBytes),
      stored: { progress: cache.progress, identity: cache.identity, nextOffsets: options.opened.nextOffsets },
      cache,
      reconnect: this.#reconnect,
      connectTimeoutMs: settings.connectTimeout,
      openTransport:
        options.openTransport ??
        ((attempt, events) =>
          openTransport({ ...transportOptions(settings, attempt.broker, settings.connectTimeout), clock }, events)),
      clock,
      events: {
        state: (state) => this.#stateChanged(state),
        granted: (granted) => this.#granted(granted),
        ended: (error, wasUp, nextAtMs) => this.#ended(error, wasUp, nextAtMs),
        session: (event) => this.#sessionReported(event),
        upkeep: (undertaking, error) => {
          if (error === undefined) this.#upkeep.worked(undertaking);
          // A cache that has failed as a whole is told of as such.
          else if (this.#failure === undefined) this.#upkeep.failed(undertaking, error);
        },
      },
    });
    cache.onAppended = (lane, _from, to, batches) => this.#link.offered(lane, to, batches);
    cache.isKeptFor = (lane) => this.#link.session.isUpTo(lane);
    cache.onFailed = (error) => this.#cacheFailed(error);
    this.#lastCacheStatus = options.opened;
  }

  get state(): ConnectorState {
    return this.#failure === undefined ? this.#link.state.name : 'failed';
  }

  /** The state in words. */
  get description(): string {
    const { state } = this.#link;
    if (this.#failure !== undefined) return `failed: ${this.#failure.message}`;
    if (!this.#config.enabled) return 'disabled';
    const description = describeState(state, {
      guarantee: this.#assurance.guarantee,
      failures: this.#reconnect.failures,
      nextInMs: state.name === 'waiting' ? state.nextAtMs - this.#clock.monotonicMs() : undefined,
    });
    const refusal = this.#assurance.refusal === undefined ? undefined : 'the broker takes no message of QoS 2';
    return [description, refusal, this.#upkeep.text].filter((text) => text !== undefined).join('; ');
  }

  get failedBy(): NorthError | undefined {
    return this.#config.enabled ? this.#failure : undefined;
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

  /** Stores and counts what was made of content. */
  async append(request: AppendDraft): Promise<AppendReply> {
    const reply = await this.#cache.append(request);
    if (!reply.replayed) this.#counters.appended(request, reply);
    if (reply.forgottenKeysCount !== undefined) this.#warnings.keysForgotten();
    return reply;
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
    // What is shown of it from now on. A cache that cannot tell is closed all the same.
    await this.#cacheStatus().catch(() => undefined);
    await this.#cache.close();
    this.#quarantineLog.flush();
    this.#dropLog.flush();
    this.#upkeep.flush();
  }

  async status(): Promise<ConnectorStatus> {
    const { session, state } = this.#link;
    const cache = await this.#cacheStatus();
    const { refusal } = this.#assurance;
    return {
      id: this.id,
      name: this.name,
      enabled: this.#config.enabled,
      state: this.state,
      description: this.description,
      sinceMs: this.#sinceMs,
      broker: 'broker' in state ? state.broker : undefined,
      grant: this.#grant,
      // What lasts weighs more than why the last connection ended.
      lastError: this.#failure === undefined ? (this.#upkeep.lastError ?? refusal ?? this.#lastError) : this.#lastError,
      warnings: this.#warnings.current(session.narrowedTo, [
        this.#takenText,
        refusal === undefined ? undefined : `${refusal.message} ${refusal.remedy}`,
        ...this.#upkeep.warnings,
      ]),
      counts: this.#counters.read(session),
      reconnects: Math.max(0, this.#reconnects),
      inflight: session.inflight,
      window: session.window,
      lastAcknowledgedAtMs: session.lastAcknowledgedAtMs,
      cache,
      ackLatency: histogramOf(session.latency),
    };
  }

  /** Of a cache that is closed or has failed, as it was at last. */
  async #cacheStatus(): Promise<StoreStatus> {
    if (this.#failure !== undefined) return this.#lastCacheStatus;
    try {
      this.#lastCacheStatus = await this.#cache.status();
    } catch (error) {
      if (!(error instanceof NorthError && error.code === 'CACHE_CLOSED')) throw error;
    }
    return this.#lastCacheStatus;
  }

  #assertTaking(): void {
    if (this.#closing !== undefined) throw new NorthError('SERVICE_STOPPING', `The connector ${this.id} is stopping.`);
    if (!this.#config.enabled) throw new NorthError('CONNECTOR_DISABLED', `The connector ${this.id} is disabled.`);
  }

  #upkeepChanged(error: NorthError | undefined): void {
    if (error !== undefined) this.#listeners.emit('failure', { id: this.id, error });
    this.#tellState();
  }

  #stateChanged(state: LinkState): void {
    this.#sinceMs = this.#clock.wallMs();
    if (state.name !== 'online' && state.name !== 'recovering' && state.name !== 'draining') {
      this.#grant = undefined;
      this.#connectionLog.disconnected();
    }
    this.#tellState();
  }

  #tellState(): void {
    this.#listeners.emit('state', { id: this.id, state: this.state, description: this.description });
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
    const clientId = clientIdOf(settings, this.#cache.cacheId);
    this.#grant = completeGrant(grant, attempt, settings, clientId, settings.persistent);
    this.#assurance.granted(this.#grant, granted);
    // Each of our connections throws the other client out, who comes back: being connected says nothing yet then.
    if (this.#takenText === undefined) this.#lastError = undefined;
    this.#warnings.reviewConnection(granted, this.#grant, this.#clock.wallMs());
    this.#connectionLog.connected(
      {
        broker: attempt.broker.display,
        protocolVersion,
        sessionPresent: grant.sessionPresent,
        receiveMaximum: grant.receiveMaximum,
        maximumQos: grant.maximumQos,
      },
      `connected to ${attempt.broker.display}: ${this.#assurance.guarantee}`,
    );
  }

  #ended(error: NorthError, wasUp: boolean, nextAtMs: number): void {
    this.#lastError = { ...error.toJSON(), atMs: this.#clock.wallMs() };
    if (error.code === 'CLIENT_ID_TAKEN') this.#takenText = `${error.message} ${error.remedy}`;
    this.#connectionLog.ended(error, wasUp, Math.max(0, Math.round(nextAtMs - this.#clock.monotonicMs())));
    this.#listeners.emit('failure', { id: this.id, error });
  }

  #connectionSettled(): void {
    if (this.#takenText === undefined) return;
    this.#takenText = undefined;
    this.#lastError = undefined;
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
        if (!this.#assurance.downgraded()) return;
        this.#warnings.raise('DELIVERY_DOWNGRADED', 'The broker acknowledges QoS 2 as QoS 1: at least once.');
        return;
      case 'qos2Refused': {
        const error = this.#assurance.qos2Refused(this.#clock.wallMs());
        if (error === undefined) return;
        this.#warnings.tell(error.code, `${error.message} ${error.remedy}`);
        this.#listeners.emit('failure', { id: this.id, error });
        return;
      }
      case 'narrowed':
        this.#warnings.tell('PUBLISH_POISONOUS', searchText(event.window));
        return;
    }
  }
}
