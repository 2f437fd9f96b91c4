/**
 * The contract between the cache and what stores it. One call of `execute` is one transaction: when it returns, all
 * of it is on stable storage; when it throws, nothing of it is.
 *
 * A store is synchronous and has no clock and no thread of its own, so that the same conformance test runs against the
 * SQLite store and the simulated one, and a simulated power cut falls between two calls or inside one.
 *
 *     lane offsets:   0 ... firstUnsettled ................ boundOffset ............ nextOffset
 *                     |  settled,  |  may have been sent;       | never sent             |
 *                     |  archived  |  some of them settled or   |                        |
 *                     |  or gone   |  received (PUBREC)         |                        |
 *
 * - `nextOffset` never goes back, and no offset is given twice.
 * - What is below `firstUnsettled` is settled. Beyond it, `settled` lists the ranges that are, too.
 * - `received` lists, in the order of their PUBRECs, the ranges that the broker has taken but not yet released.
 */
import type { Lane } from '../core/lane.js';
import type { MessageOffset, OffsetRange } from '../core/message.js';
import type { Batch, QuarantineReason, SessionIdentity, SessionProgress } from '../core/progress.js';

export type { Batch, LaneProgress, QuarantineReason, SessionIdentity, SessionProgress } from '../core/progress.js';

/** Content that is stored in quarantine at once, because no message could be made of it. */
export interface QuarantineDraft extends QuarantineReason {
  lane: Lane;
  /** A record of `core/record.ts`; its topic may be empty. */
  record: Uint8Array;
}

export interface AppendedBatch {
  lane: Lane;
  count: number;
  data: Uint8Array;
  /** The session takes it from memory when it is stored, if it follows what the session has; see `AppendedRange`. */
  isKept?: boolean;
}

export interface AppendRequest {
  kind: 'append';
  /** At most one per lane. The bytes are handed over: nobody changes them afterwards. */
  batches: readonly AppendedBatch[];
  quarantined: readonly QuarantineDraft[];
  acceptedAtMs: number;
  /** With a key that is known, nothing is appended and the first receipt is given again. */
  idempotency?: { key: string; contentHash: string; expiresAtMs: number; answer: string };
  /** How far an input has come, stored together with what came from there. */
  position?: { source: string; value: string };
}

/** Settles what is below the progress; moves `quarantine` and counts `dropped` in the same transaction. */
export interface SaveRequest {
  kind: 'save';
  progress: SessionProgress;
  quarantine: readonly (MessageOffset & QuarantineReason)[];
  /** Present when the session belongs to another broker or client id from now on; null forgets it. */
  identity?: SessionIdentity | null;
  atMs: number;
}

export type QuarantineQuery =
  | { ids: readonly number[] }
  /** All whose code is one of these. */
  | { codes: readonly string[] }
  | { all: true };

/**
 * A part of a long request, so that many quarantined messages do not hold up everything else for one transaction: only
 * ids above `afterId` are looked at, and at most `countMax` of them. Without it, all are.
 */
export interface QuarantinePart {
  afterId: number;
  countMax: number;
}

/**
 * Puts quarantined messages back at the end of their lanes, with the id they had. What has no topic, or is damaged, stays
 * where it is.
 */
export interface RetryRequest {
  kind: 'retry';
  which: QuarantineQuery;
  /** A valid topic name that replaces the one of the only message that `which` names. */
  topic?: string;
  atMs: number;
  part?: QuarantinePart;
}

export interface RemoveRequest {
  kind: 'remove';
  which: QuarantineQuery;
  part?: QuarantinePart;
}

/**
 * Removes what its retention time has passed; a duration of 0 keeps for ever. One request removes a bounded number and
 * says whether there is more. When there is nothing to remove, nothing is written.
 */
export interface SweepRequest {
  kind: 'sweep';
  atMs: number;
}

export type StoreRequest = AppendRequest | SaveRequest | RetryRequest | RemoveRequest | SweepRequest;

/** The run of offsets that an append gave to one lane. */
export interface AppendedRange extends OffsetRange {
  lane: Lane;
  /** A batch that was kept follows what was read so far, and counts as read itself from now on. */
  isLent?: true;
}

export interface AppendReply {
  kind: 'appended';
  ranges: readonly AppendedRange[];
  quarantinedIds: readonly number[];
  /** True when the idempotency key was known: `answer` is the one stored then. */
  replayed: boolean;
  answer: string | undefined;
  /** Waiting messages that were dropped to make room (`onFull: drop-oldest`). */
  droppedCount: number;
  /** Keys that were forgotten before their time, because all together would exceed their share; left out for none. */
  forgottenKeysCount?: number;
}

export interface RefusedReply {
  kind: 'refused';
  code: 'CACHE_FULL' | 'IDEMPOTENCY_KEY_REUSED';
  message: string;
}

export interface RetriedReply {
  kind: 'retried';
  ranges: readonly AppendedRange[];
  /** Messages that were moved. */
  count: number;
  /** Where the next part begins; undefined when nothing is left to look at. */
  nextAfterId?: number | undefined;
}

export interface RemovedReply {
  kind: 'removed';
  count: number;
  nextAfterId?: number | undefined;
}

export interface SweptReply {
  kind: 'swept';
  archivedCount: number;
  quarantinedCount: number;
  /** True when there is more to remove at once. */
  isUnfinished: boolean;
}

export type StoreReply = AppendReply | RefusedReply | RetriedReply | { kind: 'saved' } | RemovedReply | SweptReply;

/** Where messages stand, for people: the console, the API, `mqtt-north cache`. */
export type MessageState = 'waiting' | 'quarantined' | 'archived';

export interface StoredMessage {
  state: MessageState;
  /** For quarantined messages the number to name it by; undefined otherwise. */
  id: number | undefined;
  lane: Lane;
  offset: number | undefined;
  messageId: string;
  acceptedAtMs: number;
  /** When it was quarantined or published; undefined while it waits. */
  atMs: number | undefined;
  code: string | undefined;
  reason: string | undefined;
  /** For a damaged message the bytes that are left of it, which may be no record. */
  record: Uint8Array;
  /** Messages that it stands for: more than one where the borders between damaged ones are gone; otherwise 1. */
  count: number;
}

export interface ListQuery {
  state: MessageState;
  lane?: Lane;
  /** Exact topic, or a part of it between `*`. */
  topic?: string;
  /** The `cursor` of the former page. */
  after?: string;
  limit: number;
}

/**
 * A page is bounded by what it looks at, too: with a topic that few messages have, it may hold fewer than `limit`, or
 * none, and still have a cursor to go on from.
 */
export interface ListPage {
  messages: readonly StoredMessage[];
  /** Undefined on the last page. */
  cursor: string | undefined;
}

export interface StoreStatus {
  cacheId: string;
  nextOffsets: Readonly<Record<Lane, number>>;
  /** Waiting messages per lane, as a difference of cursors. */
  waitingCounts: Readonly<Record<Lane, number>>;
  waitingSizeBytes: number;
  /** When the oldest waiting message was accepted. */
  oldestAcceptedAtMs: number | undefined;
  quarantinedCount: number;
  archivedCount: number;
  /** Archived messages that gave way before their time because the cache was full, since the store was opened. */
  archiveEvictedCount: number;
  /** Bytes that the cache uses on disk, free pages not counted. */
  sizeBytes: number;
  /** Damage that was found, oldest first, and what was done about it; kept over a restart. */
  findings: readonly CacheFinding[];
  /** Left out by a store that is no file. */
  durability?: Durability;
}

/**
 * How a connection to the database commits, as SQLite says of that very connection: these are properties of a connection,
 * not of the file, so that nobody but its owner can tell.
 */
export interface Durability {
  /** `wal`: a commit is one sync, and a crash leaves the last commit. */
  journalMode: string;
  /** `full`: a commit returns only when it is on the disk. */
  synchronous: string;
}

export interface CacheFinding {
  atMs: number;
  code: 'CACHE_DAMAGED' | 'MESSAGE_UNREADABLE';
  message: string;
}

export interface Store {
  /** Executes all requests in one transaction and gives one reply each, in order. */
  execute(requests: readonly StoreRequest[]): StoreReply[];
  /**
   * Waiting batches of a lane, ascending, from the one that holds `fromOffset` or, where messages were dropped, the next
   * one after it. Stops before `sizeBytesMax` is exceeded, but gives at least one batch when there is one. What was
   * read is lent: `drop-oldest` no longer takes it.
   */
  read(lane: Lane, fromOffset: number, sizeBytesMax: number): Batch[];
  progress(): SessionProgress;
  identity(): SessionIdentity | undefined;
  /** The value stored last for this input, or undefined. */
  position(source: string): string | undefined;
  list(query: ListQuery): ListPage;
  status(): StoreStatus;
  /** Takes effect at once. What is stored is not touched: it only ages or gives way by the new rules. */
  setLimits(limits: StoreLimits): void;
  close(): void;
}

export interface StoreLimits {
  /** What the files may take on disk, a reserve for saves and the write-ahead log included. */
  maxSizeBytes: number;
  /**
   * What happens when an append has no room. Archived messages give way first, in any case, the longest settled first.
   * Then `reject` refuses the append; `drop-oldest` drops telemetry that was never read, and refuses only when that is
   * not enough. Commands and alerts are never dropped.
   */
  onFull: 'reject' | 'drop-oldest';
  /** 0 keeps for ever. */
  quarantineRetentionMs: number;
  archiveEnabled: boolean;
  archiveRetentionMs: number;
}
