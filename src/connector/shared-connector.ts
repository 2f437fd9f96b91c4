/**
 * A connector with several connections: messages are shared out by their topics to parts, each a connector of its own
 * with a cache, a session and a socket. Everybody around it sees one connector.
 *
 *     accept -> acceptance -> shared store -+-> part 1: cache -> session -> transport
 *                                           +-> part 2: cache -> session -> transport
 *
 * A part that is out of use since the number of connections was lowered takes nothing new. It is kept while something is
 * in it, and connects when something in it waits, because a quarantined message was retried for example.
 */
import type { ListPage, ListQuery, QuarantineQuery } from '../cache/store.js';
import type { ConnectorConfig } from '../config/connector.js';
import type { Clock } from '../core/clock.js';
import type { Content, ContentType, Source } from '../core/content.js';
import { NorthError } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import type { FileContent, FileOptions, FileReceipt } from '../inputs/file.js';
import { openTransformer } from '../transform/transformer.js';
import { Acceptance } from './acceptance.js';
import type {
  AcceptOptions,
  Connector,
  ConnectorEvents,
  ConnectorState,
  ConnectorStatus,
  Receipt,
} from './connector.js';
import type { Part } from './content-store.js';
import { Listeners } from './listeners.js';
import type { LiveConnector } from './live-connector.js';
import { allSettled, type Parts } from './parts.js';
import { messageDefaults } from './settings-of.js';
import { readSharedPosition } from './shared-file.js';
import { type ListedPart, listShared, removeShared, retryShared } from './shared-list.js';
import { sumOfStates, sumOfStatuses } from './shared-status.js';
import { SharedStore } from './shared-store.js';
import { FIRST_PART } from './sharing.js';
import type { FormerConnections, Sharing } from './sharing-record.js';

type EventPayloads = { [K in keyof ConnectorEvents]: ConnectorEvents[K][0] };

/** Texts that are remembered as told; beyond that, what is told may be repeated. */
const TOLD_MAX = 1000;

export interface SharedConnectorOptions {
  config: ConnectorConfig;
  sharing: Sharing;
  former: readonly FormerConnections[];
  /** The parts that are open, by their numbers, with whether something waits in them. */
  parts: ReadonlyMap<number, { connector: LiveConnector; hasWaiting: boolean }>;
  /** Opens a part that is out of use. */
  openPart: (number: number) => Promise<LiveConnector>;
  /** Why the configured number of connections is not in effect; undefined when it is. */
  heldBack: string | undefined;
  clock: Clock;
  logger: Logger;
  idempotencyRetentionMs: number;
}

export class SharedConnector implements Connector, Parts {
  readonly id: string;
  readonly name: string;
  readonly sharing: Sharing;
  readonly #options: SharedConnectorOptions;
  readonly #parts = new Map<number, LiveConnector>();
  readonly #opening = new Map<number, Promise<Part>>();
  /** Parts out of use that have something to send. */
  readonly #recalled = new Set<number>();
  readonly #listeners: Listeners<EventPayloads>;
  readonly #acceptance: Acceptance;
  /** How often each part has told a text, for those that all of them may tell. */
  readonly #told = new Map<string, Map<number, number>>();
  #isStarted = false;
  #closing: Promise<void> | undefined;
  #sinceMs: number;
  #lastState: { state: string; description: string };

  constructor(options: SharedConnectorOptions) {
    const { config, parts, clock, logger, idempotencyRetentionMs } = options;
    this.id = config.id;
    this.name = config.name;
    this.sharing = options.sharing;
    this.#options = options;
    this.#listeners = new Listeners(logger);
    this.#acceptance = new Acceptance({
      id: this.id,
      transformers: config.transformers.map(openTransformer),
      defaults: messageDefaults(config.settings),
      store: new SharedStore({ parts: this, clock, idempotencyRetentionMs }),
      clock,
    });
    for (const [number, { connector, hasWaiting }] of parts) {
      this.#adopt(number, connector);
      if (hasWaiting && !this.#isActive(number)) this.#recalled.add(number);
    }
    this.#sinceMs = clock.wallMs();
    this.#lastState = this.#state();
  }

  get failedBy(): NorthError | undefined {
    return this.#active().find(({ failedBy }) => failedBy !== undefined)?.failedBy;
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

  part(number: number): Part | Promise<Part> {
    const part = this.#parts.get(number);
    if (part === undefined) return this.#reopen(number);
    return this.#isActive(number) ? part : this.#recalling(number, part);
  }

  formerConnections(nowMs: number): readonly number[] {
    const { former, idempotencyRetentionMs } = this.#options;
    return former
      .filter(({ untilMs }) => nowMs < untilMs + idempotencyRetentionMs)
      .map(({ connections }) => connections);
  }

  position(source: string): Promise<string | undefined> {
    return readSharedPosition(this, source);
  }

  list(query: ListQuery): Promise<ListPage> {
    return listShared(this.#listed(), query);
  }

  retry(which: QuarantineQuery, topic?: string): Promise<number> {
    return retryShared(this.#listed(), which, topic);
  }

  remove(which: QuarantineQuery): Promise<number> {
    return removeShared(this.#listed(), which);
  }

  on<K extends keyof ConnectorEvents>(event: K, listener: (event: ConnectorEvents[K][0]) => void): () => void {
    return this.#listeners.on(event, listener);
  }

  start(): void {
    if (this.#closing !== undefined || !this.#options.config.enabled) return;
    const { heldBack, logger } = this.#options;
    if (heldBack !== undefined && !this.#isStarted) {
      logger.warn({ connector: this.id, code: 'CONNECTIONS_HELD' }, heldBack);
      this.#listeners.emit('warning', { id: this.id, code: 'CONNECTIONS_HELD', message: heldBack });
    }
    this.#isStarted = true;
    for (const [number, part] of this.#parts) {
      if (this.#isActive(number) || this.#recalled.has(number)) part.start();
    }
  }

  async stop(deadlineMs: number): Promise<void> {
    this.#isStarted = false;
    await allSettled([...this.#parts.values()].map((part) => part.stop(deadlineMs)));
  }

  close(deadlineMs: number): Promise<void> {
    this.#closing ??= this.#shutDown(deadlineMs);
    return this.#closing;
  }

  async #shutDown(deadlineMs: number): Promise<void> {
    this.#isStarted = false;
    // One that is being opened at the moment is closed, too.
    await Promise.allSettled([...this.#opening.values()]);
    await allSettled([...this.#parts.values()].map((part) => part.close(deadlineMs)));
  }

  async status(): Promise<ConnectorStatus> {
    const { heldBack } = this.#options;
    const statuses = await Promise.all(
      [...this.#parts].map(async ([number, part]) => {
        const status = await part.status();
        return { number, state: status.state, description: status.description, status };
      }),
    );
    const active = statuses.filter(({ number }) => this.#isActive(number));
    const others = statuses.filter(({ number }) => !this.#isActive(number));
    return sumOfStatuses(active, others, this.#sinceMs, heldBack === undefined ? [] : [heldBack]);
  }

  #isActive(number: number): boolean {
    return number <= this.sharing.connections;
  }

  /** Those that messages are shared out to, in the order of their numbers. */
  #active(): LiveConnector[] {
    return [...this.#parts].filter(([number]) => this.#isActive(number)).map(([, part]) => part);
  }

  #state(): { state: ConnectorState; description: string } {
    const states = this.#active().map(({ state, description }, index) => {
      return { number: FIRST_PART + index, state, description };
    });
    return sumOfStates(states);
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new NorthError('SERVICE_STOPPING', `The connector ${this.id} is stopping.`);
  }

  #assertTaking(): void {
    this.#assertOpen();
    if (!this.#options.config.enabled) {
      throw new NorthError('CONNECTOR_DISABLED', `The connector ${this.id} is disabled.`);
    }
  }

  #listed(): ListedPart[] {
    return [...this.#parts].map(([number, part]) => ({
      number,
      list: (query) => part.list(query),
      retry: async (which, topic) => {
        const count = await part.retry(which, topic);
        if (count > 0) this.#recall(number, part);
        return count;
      },
      remove: (which) => part.remove(which),
    }));
  }

  #adopt(number: number, part: LiveConnector): void {
    this.#parts.set(number, part);
    part.on('state', () => this.#stateChanged());
    part.on('quarantined', (entry) => this.#listeners.emit('quarantined', entry));
    part.on('warning', (warning) => {
      if (this.#isNews(number, `${warning.code} ${warning.message}`)) this.#listeners.emit('warning', warning);
    });
    part.on('failure', (failure) => {
      const { code, message } = failure.error;
      if (this.#isNews(number, `${code} ${message}`)) this.#listeners.emit('failure', failure);
    });
  }

  #stateChanged(): void {
    const { state, description } = this.#state();
    const last = this.#lastState;
    if (state === last.state && description === last.description) return;
    if (state !== last.state) this.#sinceMs = this.#options.clock.wallMs();
    this.#lastState = { state, description };
    this.#listeners.emit('state', { id: this.id, state, description });
  }

  /** What each of the parts tells once is told once, and again when one of them tells it again. */
  #isNews(number: number, text: string): boolean {
    if (this.#told.size >= TOLD_MAX) this.#told.clear();
    const counts = this.#told.get(text) ?? new Map<number, number>();
    this.#told.set(text, counts);
    const toldCount = Math.max(0, ...counts.values());
    const count = (counts.get(number) ?? 0) + 1;
    counts.set(number, count);
    return count > toldCount;
  }

  #reopen(number: number): Promise<Part> {
    let opening = this.#opening.get(number);
    if (opening === undefined) {
      opening = this.#openOutOfUse(number).finally(() => this.#opening.delete(number));
      this.#opening.set(number, opening);
    }
    return opening;
  }

  async #openOutOfUse(number: number): Promise<Part> {
    this.#assertOpen();
    const part = await this.#options.openPart(number);
    this.#adopt(number, part);
    return this.#recalling(number, part);
  }

  /** A part out of use that sends what it gets all the same. */
  #recalling(number: number, part: LiveConnector): Part {
    return {
      position: (source) => part.position(source),
      append: async (request) => {
        const reply = await part.append(request);
        if (request.batches.length > 0) this.#recall(number, part);
        return reply;
      },
    };
  }

  #recall(number: number, part: LiveConnector): void {
    if (this.#isActive(number)) return;
    this.#recalled.add(number);
    if (this.#isStarted) part.start();
  }
}
