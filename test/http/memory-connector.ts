/** A connector that keeps everything in memory: real in all that the HTTP server can see, without a disk or a broker. */
import { createHash } from 'node:crypto';
import type { ListPage, ListQuery, QuarantineQuery, StoredMessage } from '../../src/cache/store.js';
import type {
  AcceptOptions,
  Connector,
  ConnectorEvents,
  ConnectorState,
  ConnectorStatus,
  LaneCounts,
  LatencyHistogram,
  Receipt,
} from '../../src/connector/connector.js';
import type { Content, ContentType, Rejection, Source } from '../../src/core/content.js';
import { NorthError } from '../../src/core/error.js';
import type { Message } from '../../src/core/message.js';
import { BatchBuilder } from '../../src/core/record.js';
import type { FileReceipt } from '../../src/inputs/file.js';

export interface Accepted {
  content: Content;
  options: AcceptOptions;
}

const NO_COUNTS: LaneCounts = {
  accepted: 0,
  published: 0,
  quarantined: 0,
  dropped: 0,
  possibleDuplicates: 0,
  noSubscribers: 0,
};

export class MemoryConnector implements Connector {
  readonly id: string;
  readonly name: string;
  readonly accepted: Accepted[] = [];
  readonly stored: StoredMessage[] = [];
  types: readonly ContentType[] = ['time-values', 'setpoints', 'csv', 'json', 'messages'];
  failedBy: NorthError | undefined;
  /** Thrown by everything that is asked of it, when set. */
  failure: unknown;
  /** Awaited before anything is stored, when set. */
  gate: Promise<void> | undefined;
  state: ConnectorState = 'online';
  description = 'online with broker.example.com, at least once';
  counts = { command: { ...NO_COUNTS }, alert: { ...NO_COUNTS }, telemetry: { ...NO_COUNTS } };
  ackLatency: LatencyHistogram | undefined;
  lastError: ConnectorStatus['lastError'];
  oldestAcceptedAtMs: number | undefined;
  lastAcknowledgedAtMs: number | undefined;
  sinceMs = 0;
  warnings: string[] = [];
  listCalls = 0;
  readonly #listeners = new Map<string, Set<(event: never) => void>>();
  readonly #keys = new Map<string, { contentHash: string; receipt: Receipt }>();

  constructor(id: string, name = id) {
    this.id = id;
    this.name = name;
  }

  takes(type: ContentType, _source: Source): boolean {
    return this.types.includes(type);
  }

  async accept(content: Content, options: AcceptOptions): Promise<Receipt> {
    await this.#pass();
    const key = options.idempotencyKey;
    const contentHash = createHash('sha256').update(JSON.stringify(content)).digest('hex');
    const known = key === undefined ? undefined : this.#keys.get(key);
    if (known !== undefined && known.contentHash !== contentHash) {
      throw new NorthError('IDEMPOTENCY_KEY_REUSED', `The key "${key}" came with other content before.`);
    }
    if (known !== undefined) return known.receipt;
    const { count, rejected } = examine(content);
    if (count === 0) {
      const cause = { rejections: rejected };
      throw new NorthError('CONTENT_EMPTY', 'Nothing in the content was valid.', { cause });
    }
    this.accepted.push({ content, options });
    this.counts.telemetry.accepted += count;
    const receipt = { receipt: `${this.id}-${this.accepted.length}`, accepted: count, quarantined: 0, rejected };
    if (key !== undefined) this.#keys.set(key, { contentHash, receipt });
    return receipt;
  }

  acceptFile(): Promise<FileReceipt> {
    return Promise.reject(new NorthError('INTERNAL', 'The HTTP server hands in no files.'));
  }

  position(): Promise<string | undefined> {
    return Promise.resolve(undefined);
  }

  async status(): Promise<ConnectorStatus> {
    await this.#pass();
    const waiting = this.stored.filter(({ state }) => state === 'waiting').length;
    return {
      id: this.id,
      name: this.name,
      enabled: true,
      state: this.state,
      description: this.description,
      sinceMs: this.sinceMs,
      broker: 'broker.example.com:8883',
      grant: undefined,
      lastError: this.lastError,
      warnings: this.warnings,
      counts: this.counts,
      reconnects: 3,
      inflight: 2,
      window: 20,
      lastAcknowledgedAtMs: this.lastAcknowledgedAtMs,
      ...(this.ackLatency === undefined ? {} : { ackLatency: this.ackLatency }),
      cache: {
        cacheId: '9f2c41d7',
        nextOffsets: { command: 0, alert: 0, telemetry: waiting },
        waitingCounts: { command: 0, alert: 0, telemetry: waiting },
        waitingSizeBytes: waiting * 100,
        oldestAcceptedAtMs: this.oldestAcceptedAtMs,
        quarantinedCount: this.stored.filter(({ state }) => state === 'quarantined').length,
        archivedCount: this.stored.filter(({ state }) => state === 'archived').length,
        archiveEvictedCount: 0,
        sizeBytes: 4096,
        findings: [],
      },
    };
  }

  async list(query: ListQuery): Promise<ListPage> {
    await this.#pass();
    this.listCalls++;
    const start = query.after === undefined ? 0 : Number(query.after);
    const fitting = this.stored.filter((message) => message.state === query.state);
    const messages = fitting.slice(start, start + query.limit);
    const end = start + messages.length;
    return { messages, cursor: end < fitting.length ? String(end) : undefined };
  }

  async retry(which: QuarantineQuery): Promise<number> {
    await this.#pass();
    const chosen = this.#choose(which);
    for (const message of chosen) message.state = 'waiting';
    return chosen.length;
  }

  async remove(which: QuarantineQuery): Promise<number> {
    await this.#pass();
    const chosen = new Set(this.#choose(which));
    this.stored.splice(0, this.stored.length, ...this.stored.filter((message) => !chosen.has(message)));
    return chosen.size;
  }

  on<K extends keyof ConnectorEvents>(event: K, listener: (event: ConnectorEvents[K][0]) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  emit<K extends keyof ConnectorEvents>(event: K, data: ConnectorEvents[K][0]): void {
    // The map keeps listeners of all events; `on` has put only fitting ones under this name.
    for (const listener of this.#listeners.get(event) ?? []) (listener as (event: unknown) => void)(data);
  }

  start(): void {
    this.state = 'online';
  }

  stop(): Promise<void> {
    this.state = 'stopped';
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.stop();
  }

  /** Puts a message into the cache as if it had been accepted before. */
  hold(state: StoredMessage['state'], message: Partial<Message> = {}): void {
    const builder = new BatchBuilder();
    const topic = message.topic ?? 'plant/boiler/temperature';
    const payload = message.payload ?? Buffer.from('{"value":23.5}');
    builder.push({ qos: 1, retain: false, lane: 'telemetry', expirySeconds: 0, ...message, topic, payload });
    const offset = this.stored.length;
    this.stored.push({
      state,
      id: state === 'quarantined' ? offset + 1 : undefined,
      lane: message.lane ?? 'telemetry',
      offset,
      messageId: `9f2c41d7-t-${offset}`,
      acceptedAtMs: 1_768_471_200_000 + offset,
      atMs: state === 'waiting' ? undefined : 1_768_471_260_000,
      code: state === 'quarantined' ? 'PUBLISH_REFUSED' : undefined,
      reason: state === 'quarantined' ? 'Topic name invalid' : undefined,
      record: builder.finish(),
      count: 1,
    });
  }

  #choose(which: QuarantineQuery): StoredMessage[] {
    const held = this.stored.filter(({ state }) => state === 'quarantined');
    if ('all' in which) return held;
    if ('codes' in which) return held.filter(({ code }) => code !== undefined && which.codes.includes(code));
    const chosen = held.filter(({ id }) => id !== undefined && which.ids.includes(id));
    if (chosen.length < which.ids.length) throw new NorthError('MESSAGE_UNKNOWN', 'One of the messages is not there.');
    return chosen;
  }

  async #pass(): Promise<void> {
    if (this.gate !== undefined) await this.gate;
    if (this.failure !== undefined) throw this.failure;
  }
}

/** Elements are valid when they are objects; of a CSV every line but the first counts. */
function examine(content: Content): { count: number; rejected: Rejection[] } {
  if (content.type === 'json') return { count: 1, rejected: [] };
  if (content.type === 'csv') {
    const text = Buffer.from(content.body as Uint8Array).toString('utf8');
    return { count: text.split('\n').filter((line) => line !== '').length - 1, rejected: [] };
  }
  const rejected = content.elements.flatMap((element, index): Rejection[] =>
    typeof element === 'object' && element !== null
      ? []
      : [{ index, code: 'ELEMENT_INVALID', message: 'The element is no object.' }],
  );
  return { count: content.elements.length - rejected.length, rejected };
}
