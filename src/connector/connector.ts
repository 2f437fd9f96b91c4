/** A configured destination: settings, transformers, cache and session, as everything around it sees them. */
import type { ListPage, ListQuery, QuarantineQuery, StoreStatus } from '../cache/store.js';
import type { Content, ContentType, Rejection, Source } from '../core/content.js';
import type { NorthError } from '../core/error.js';
import type { Lane } from '../core/lane.js';
import type { FileContent, FileOptions, FileReceipt } from '../inputs/file.js';

/** What a technician sees of the connection, in the order of a life. */
export const CONNECTOR_STATES = [
  'stopped',
  'dialing',
  'handshaking',
  'recovering',
  'online',
  'waiting',
  'draining',
  'failed',
] as const;
export type ConnectorState = (typeof CONNECTOR_STATES)[number];

export interface AcceptOptions {
  source: Source;
  /** The same key gives the same receipt and is published once. */
  idempotencyKey?: string;
  /** Stored together with the content; see `Cache`. */
  position?: { source: string; value: string };
}

/** Given only when everything that it counts is on stable storage. */
export interface Receipt {
  receipt: string;
  /** Elements that are stored, those that went to quarantine included. */
  accepted: number;
  /** Of the accepted, those that went to quarantine, because they have no mapping for example. */
  quarantined: number;
  rejected: readonly Rejection[];
  /** Elements that the configuration says to drop (`ignore`); left out when there are none. */
  ignored?: number;
}

/** What the broker granted in its CONNACK, with the defaults of the specification filled in. */
export interface Grant {
  broker: string;
  protocolVersion: 4 | 5;
  sessionPresent: boolean;
  clientId: string;
  maximumQos: 0 | 1 | 2;
  receiveMaximum: number;
  maximumPacketSizeBytes: number | undefined;
  retainAvailable: boolean;
  topicAliasMaximum: number;
  keepaliveSeconds: number;
  sessionExpirySeconds: number | undefined;
}

export interface ConnectorStatus {
  id: string;
  name: string;
  enabled: boolean;
  state: ConnectorState;
  /** In words: "online with broker.example.com, at least once"; "reconnecting, third attempt, refused: …". */
  description: string;
  sinceMs: number;
  broker: string | undefined;
  grant: Grant | undefined;
  lastError: { code: string; message: string; remedy: string; atMs: number } | undefined;
  warnings: readonly string[];
  counts: Readonly<Record<Lane, LaneCounts>>;
  reconnects: number;
  /** Messages on the wire whose acknowledgement is awaited. */
  inflight: number;
  window: number;
  /** When the broker last acknowledged anything; undefined when it never did. */
  lastAcknowledgedAtMs: number | undefined;
  cache: StoreStatus;
  /** Times from a message's first byte on the wire to its acknowledgement, since the process started. */
  ackLatency?: LatencyHistogram;
  /** With several connections, each of them; everything else is about all of them together. */
  connections?: readonly ConnectionStatus[];
}

export interface ConnectionStatus {
  state: ConnectorState;
  description: string;
  waitingCount: number;
}

/** The status of a connector whose cache is not open: what is in there is not known. */
export type FailedStatus = Omit<ConnectorStatus, 'cache'> & { cache: undefined };

/** A histogram as it was at one moment. */
export interface LatencyHistogram {
  /** Upper bounds, ascending, in seconds; what is slower than the last is only in `count`. */
  bucketsSeconds: readonly number[];
  /** How many fell into each bucket alone (not cumulated), in the order of `bucketsSeconds`. */
  counts: readonly number[];
  sumSeconds: number;
  count: number;
}

/** Since the process started; a message is counted once per event. */
export interface LaneCounts {
  accepted: number;
  published: number;
  quarantined: number;
  dropped: number;
  possibleDuplicates: number;
  noSubscribers: number;
}

export interface ConnectorEvents {
  state: [status: { id: string; state: ConnectorState; description: string }];
  quarantined: [entry: { id: string; lane: Lane; code: string; reason: string }];
  warning: [warning: { id: string; code: string; message: string }];
  failure: [failure: { id: string; error: NorthError }];
}

export interface Connector {
  readonly id: string;
  readonly name: string;
  /** Why it can take nothing; undefined while it can, or is disabled. */
  readonly failedBy: NorthError | undefined;
  /** Content types that some transformer of this connector takes from this source. */
  takes(type: ContentType, source: Source): boolean;
  /**
   * Transforms and stores. Resolves on stable storage; rejects with a NorthError and nothing stored otherwise:
   * TRANSFORMER_MISSING, CONTENT_MALFORMED, CONTENT_EMPTY (nothing was valid; `rejections` on the error's cause),
   * CONNECTOR_DISABLED, SERVICE_STOPPING and those of `Cache.append`.
   *
   * With several connections each stores its share: when one refuses, others may have stored theirs. Repeated with the
   * same key, the content is completed; without one, what was stored is stored again.
   */
  accept(content: Content, options: AcceptOptions): Promise<Receipt>;
  /**
   * Takes a whole file in parts and resolves when the last one is on stable storage.
   *
   * Each part is stored in one transaction with `encodeFileProgress` as the position of `positionSource`. When the
   * stored position has the same `fileKey`, that many rows are skipped, and a complete file resolves at once without
   * being read: handing in the same file again neither loses nor repeats a row. The last part, or an append without
   * messages after it, stores `complete: true`. A file without any rows is complete with zero counts; one of whose rows
   * none was valid rejects with CONTENT_EMPTY. Otherwise it rejects as `accept` does, with the parts before kept:
   * after a cause that passes (retry class `later`), calling again goes on from there.
   */
  acceptFile(content: FileContent, options: FileOptions): Promise<FileReceipt>;
  position(source: string): Promise<string | undefined>;
  status(): Promise<ConnectorStatus | FailedStatus>;
  list(query: ListQuery): Promise<ListPage>;
  /** Gives how many were moved. `topic` replaces the topic, only together with exactly one id. */
  retry(which: QuarantineQuery, topic?: string): Promise<number>;
  remove(which: QuarantineQuery): Promise<number>;
  on<K extends keyof ConnectorEvents>(event: K, listener: (event: ConnectorEvents[K][0]) => void): () => void;
  /** Connects and keeps connected. Idempotent. */
  start(): void;
  /** Finishes what is in flight within the deadline, saves and disconnects; content is still accepted. Idempotent. */
  stop(deadlineMs: number): Promise<void>;
  /** `stop`, then closes the cache. */
  close(deadlineMs: number): Promise<void>;
}
