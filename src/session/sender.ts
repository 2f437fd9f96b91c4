/**
 * Sends what may be sent now: PUBRELs first, then the lanes from the highest to the lowest.
 *
 * `pump` looks at the whole state and stops at the first of: nothing left, window full, socket full, rate used up, bound
 * reached. It is called after everything that could have changed one of these, and doing so once too often is harmless.
 */

import type { Lane } from '../core/lane.js';
import type { QuarantineReason } from '../core/progress.js';
import { qosAt, recordSizeAt, topicAt } from '../core/record.js';
import type { PublishEncoder } from '../wire/publish-encoder.js';
import type { LaneCursor } from './lane-cursor.js';
import type { Ledger } from './ledger.js';
import { Output } from './output.js';
import type { PausedTopics } from './paused-topics.js';
import type { RateLimit } from './rate-limit.js';
import { Releases } from './releases.js';
import { type Candidate, Resend } from './resend.js';
import { WAITING } from './slots.js';
import type { Window } from './window.js';

/** One turn writes at most so much, so that acknowledgements and other connectors get their share of the thread. */
const TURN_SIZE_MAX_BYTES = 1024 * 1024;

/** Sets aside the message that was just stepped over. */
type Refuse = (id: number, cursor: LaneCursor, reason: QuarantineReason) => void;

export interface SenderPort {
  write(bytes: Uint8Array): boolean;
  read(lane: Lane, fromOffset: number, sizeBytesMax: number): void;
}

/** What is the same for all messages of one connection. */
export interface ConnectionTerms {
  protocolVersion: 4 | 5;
  encoder: PublishEncoder;
  window: Window;
  /** Undefined: no limit was announced. */
  packetSizeMaxBytes: number | undefined;
  /** So many messages the broker takes at QoS 2. */
  qos2WindowMax: number;
  /** So many messages of QoS 2 the broker may hold of a former process; 0: none, or too few to matter. */
  heldMax: number;
  /** The window while it is not known what the broker holds of a former process. */
  unsureWindowMax: number;
}

export type Allowed = 'nothing' | 'PUBRELs' | 're-sends' | 'all';

export interface SenderCounts {
  published: number;
  dropped: number;
  possibleDuplicates: number;
  noSubscribers: number;
}

export class Sender {
  readonly counts: readonly [SenderCounts, SenderCounts, SenderCounts] = [newCounts(), newCounts(), newCounts()];
  /** The window is cut down to this while a message is sought that makes the broker close; undefined: it is not. */
  narrowedTo: number | undefined;
  /** When sending can go on after a limited rate, or undefined. */
  resumeAtMs: number | undefined;
  /**
   * Messages were completed and nothing was sent in this turn: one message may go out although the window has become
   * smaller than what is in flight. It carries our TCP acknowledgement. Without it, a broker that leaves Nagle's algorithm
   * on, as Mosquitto does, holds back its further acknowledgements until our kernel acknowledges by itself, 40 ms later.
   */
  mayRefill = false;
  /** Messages that were dropped because they had expired, and not reported yet. */
  expiredCount = 0;
  /** When a message went out at QoS 0, which nobody acknowledges. */
  lastUnacknowledgedMs = Number.NEGATIVE_INFINITY;
  /** True when the turn ended because it had written enough. */
  isTurnFull = false;
  readonly output: Output;
  readonly releases: Releases;
  readonly #ledger: Ledger;
  readonly #port: SenderPort;
  readonly #rateLimit: RateLimit;
  readonly #maxAgeMs: number;
  readonly #readAheadBytes: number;
  readonly #refuse: Refuse;
  readonly #pausedTopics: PausedTopics;
  readonly resend: Resend;
  #turnSize = 0;

  constructor(options: {
    ledger: Ledger;
    port: SenderPort;
    rateLimit: RateLimit;
    maxAgeMs: number;
    readAheadBytes: number;
    refuse: Refuse;
    pausedTopics: PausedTopics;
  }) {
    this.#ledger = options.ledger;
    this.resend = new Resend(options.ledger);
    this.#port = options.port;
    this.output = new Output((bytes) => options.port.write(bytes));
    this.#rateLimit = options.rateLimit;
    this.#maxAgeMs = options.maxAgeMs;
    this.#readAheadBytes = options.readAheadBytes;
    this.releases = new Releases(options.ledger, this.output);
    this.#refuse = options.refuse;
    this.#pausedTopics = options.pausedTopics;
  }

  /** A new connection: nothing of the former one holds. */
  begin(terms: ConnectionTerms, isSessionKept: boolean, nowMs: number): void {
    this.resend.begin(terms.heldMax, terms.window.limit, isSessionKept);
    this.isTurnFull = false;
    this.resumeAtMs = undefined;
    this.output.writtenAtMs = nowMs;
    this.#pausedTopics.begin();
  }

  /** How many messages may be in flight now. */
  windowOf(terms: ConnectionTerms): number {
    return this.narrowedTo === undefined ? terms.window.size : Math.min(this.narrowedTo, terms.window.size);
  }

  /** @param allowed what may go out: nothing, PUBRELs, what was sent before, or everything. */
  pump(terms: ConnectionTerms, nowMs: number, wallMs: number, allowed: Allowed): void {
    this.#turnSize = 0;
    this.isTurnFull = false;
    this.resumeAtMs = undefined;
    if (this.output.isWritable && allowed !== 'nothing') {
      this.releases.send(nowMs, this.narrowedTo ?? Number.POSITIVE_INFINITY);
    }
    if (allowed === 're-sends' || allowed === 'all') {
      if (this.#rateLimit.isLimited) this.#rateLimit.fill(nowMs);
      if (this.resend.isUnderWay && this.#sendAgain(terms, nowMs, wallMs)) this.resend.completed();
      if (!this.resend.isUnderWay) this.resend.review();
      if (!this.resend.isUnderWay && allowed === 'all') {
        for (const cursor of this.#ledger.cursors) {
          if (!this.#publishLane(cursor, cursor.end, terms, nowMs, wallMs)) break;
        }
      }
    }
    this.output.flush(nowMs);
  }

  /**
   * Sends again what may have been sent, lane by lane, and gives true when that is done. New messages wait for it, also
   * those of higher lanes: the broker may hold what we have not sent again yet, and counts it against its quota.
   */
  #sendAgain(terms: ConnectionTerms, nowMs: number, wallMs: number): boolean {
    while (this.resend.candidate !== undefined) {
      if (!this.#sendCandidate(this.resend.candidate, terms, nowMs, wallMs)) return false;
    }
    for (const cursor of this.#ledger.cursors) {
      if (!this.resend.isCautiousIn(cursor)) continue;
      if (!this.#publishLane(cursor, cursor.resendEnd, terms, nowMs, wallMs)) return false;
      if (this.resend.isCautiousIn(cursor) && cursor.next < cursor.resendEnd) return false;
      this.resend.passed(cursor);
    }
    for (const cursor of this.#ledger.cursors) {
      if (!this.#publishLane(cursor, cursor.resendEnd, terms, nowMs, wallMs)) return false;
      if (cursor.next < cursor.resendEnd) return false;
    }
    return true;
  }

  /** Gives false as long as it waits for something. */
  #sendCandidate(candidate: Candidate, terms: ConnectionTerms, nowMs: number, wallMs: number): boolean {
    const { cursor } = candidate;
    if (this.#ledger.inflight > 0) return false;
    if (candidate.isSent) {
      this.resend.endSearch();
      cursor.rewindTo(cursor.head);
      return true;
    }
    while (cursor.next < cursor.resendEnd && cursor.gapTo <= cursor.next) {
      if (this.#ledger.slots.state[cursor.nextId] !== WAITING) {
        cursor.skip();
        continue;
      }
      const { batch } = cursor;
      this.#readAhead(cursor);
      if (batch === undefined) return false;
      if (!candidate.isOfAnyQos && terms.encoder.qosOf(batch.data, cursor.recordAt) !== 2) cursor.skip();
      else if (candidate.passCount > 0) {
        candidate.passCount--;
        cursor.skip();
      } else {
        if (!this.output.isWritable) return false;
        this.#publish(cursor, batch.data, batch.acceptedAtMs, terms, nowMs, wallMs);
        // What goes out at QoS 0, or has expired, is no candidate.
        candidate.isSent = this.#ledger.inflight > 0;
        if (candidate.isSent) return false;
      }
    }
    cursor.rewindTo(cursor.head);
    this.resend.missCandidate();
    return true;
  }

  /** Gives false when lower lanes must not go on: the socket or the turn is full, or the rate is used up. */
  #publishLane(cursor: LaneCursor, end: number, terms: ConnectionTerms, nowMs: number, wallMs: number): boolean {
    const ledger = this.#ledger;
    const window = this.resend.isAlone ? 1 : this.#windowNow(terms, cursor);
    const isCautious = this.resend.isCautiousIn(cursor);
    // A few places stay free for higher lanes, so that an alert never waits for telemetry to be acknowledged. What is sent
    // again was in flight together before and finds room together again.
    const freeCount = this.resend.isUnderWay ? 0 : cursor.index;
    const limit = window >= 4 ? window - freeCount : window;
    const qos2Max = terms.qos2WindowMax;
    const qos2Limit = qos2Max >= 5 ? qos2Max - freeCount : qos2Max;
    for (;;) {
      if (cursor.gapTo > cursor.next && cursor.jumpGap(ledger.slots)) ledger.saving.changed(nowMs);
      if (cursor.next >= end) return true;
      if (cursor.next >= ledger.sendLimit(cursor)) {
        ledger.extend(cursor);
        return true;
      }
      if (ledger.slots.state[cursor.nextId] !== WAITING) {
        cursor.skip();
        continue;
      }
      if (cursor.gapTo > cursor.next) {
        // Something before the gap is not done yet. It may take long, so that the gap is gone over one by one.
        const id = cursor.nextId;
        cursor.skip();
        ledger.settleUnsent(id, nowMs);
        continue;
      }
      if (ledger.openExchanges.count > 0 && this.#isBlocked(cursor.nextId, nowMs)) return true;
      const batch = cursor.batch;
      this.#readAhead(cursor);
      if (batch === undefined) return true;
      const heldCount = ledger.openExchanges.heldCount;
      if (ledger.inflight + heldCount >= limit && !this.#refills(terms)) {
        if (this.narrowedTo === undefined) terms.window.full();
        return true;
      }
      if (this.resend.isUnderWay || ledger.inflightQos2 + heldCount >= qos2Limit) {
        const qos = terms.encoder.qosOf(batch.data, cursor.recordAt);
        if (qos === 2 && ledger.inflightQos2 + heldCount >= qos2Limit) return true;
        if (this.resend.holdsBack(cursor, qos)) return true;
        if (isCautious && !this.resend.isCautiousIn(cursor)) return true;
      }
      if (!this.output.isWritable) return false;
      if (this.#turnSize >= TURN_SIZE_MAX_BYTES) {
        this.isTurnFull = true;
        return false;
      }
      if (this.#rateLimit.isLimited) {
        const waitMs = this.#rateLimit.waitMs();
        if (waitMs > 0) {
          this.resumeAtMs = nowMs + waitMs;
          return false;
        }
      }
      this.#publish(cursor, batch.data, batch.acceptedAtMs, terms, nowMs, wallMs);
    }
  }

  #isBlocked(id: number, nowMs: number): boolean {
    const untilMs = this.#ledger.openExchanges.blockedUntilMs(id, nowMs);
    if (untilMs === undefined) return false;
    if (untilMs !== Number.POSITIVE_INFINITY) this.resumeAtMs = Math.min(untilMs, this.resumeAtMs ?? untilMs);
    return true;
  }

  #windowNow(terms: ConnectionTerms, cursor: LaneCursor): number {
    const isUrgent = cursor.index < 2 && this.narrowedTo === undefined;
    const window = isUrgent ? terms.window.urgentSize : this.windowOf(terms);
    return this.resend.isUnsure && this.resend.isUnderWay ? Math.min(window, terms.unsureWindowMax) : window;
  }

  #refills(terms: ConnectionTerms): boolean {
    if (!this.mayRefill || this.narrowedTo !== undefined || this.resend.isAlone) return false;
    this.mayRefill = false;
    return this.#ledger.inflight + this.#ledger.openExchanges.heldCount < terms.window.limit;
  }

  #publish(
    cursor: LaneCursor,
    data: Uint8Array,
    acceptedAtMs: number,
    terms: ConnectionTerms,
    nowMs: number,
    wallMs: number,
  ): void {
    const ledger = this.#ledger;
    const id = cursor.nextId;
    const offset = cursor.next;
    const at = cursor.recordAt;
    const size = recordSizeAt(data, at);
    const counts = this.counts[cursor.index];
    const isEnded = ledger.slots.isEnded[id] === 1;
    const isDuplicate = offset < cursor.resendHigh && !isEnded;
    // A new process does not know at which QoS the former one has sent it.
    const isAnyQos = isDuplicate && ledger.slots.qos[id] === 0;
    if (isAnyQos && (size === undefined || qosAt(data, at) === 2)) ledger.slots.isHeld[id] = 1;
    if (size === undefined) {
      cursor.skip();
      this.#refuse(id, cursor, { code: 'MESSAGE_UNREADABLE', reason: `The record of offset ${offset} is damaged.` });
      return;
    }
    const qos = terms.encoder.qosOf(data, at);
    const isNew = offset >= cursor.sentHigh;
    let expirySeconds = readU32(data, at + 12);
    if (expirySeconds > 0 || this.#maxAgeMs > 0) {
      const ageMs = Math.max(0, wallMs - acceptedAtMs);
      // What may have been sent must be sent again, however old it is [MQTT-4.3.3-7].
      if (isNew && expirySeconds > 0 && ageMs >= expirySeconds * 1000) {
        cursor.skip();
        counts.dropped++;
        this.expiredCount++;
        ledger.settleUnsent(id, nowMs);
        return;
      }
      if (isNew && this.#maxAgeMs > 0 && ageMs >= this.#maxAgeMs) {
        cursor.skip();
        const reason = `It waited for ${Math.round(ageMs / 1000)} s; caching.maxAge allows ${this.#maxAgeMs / 1000} s.`;
        this.#refuse(id, cursor, { code: 'MESSAGE_EXPIRED', reason });
        return;
      }
      if (expirySeconds > 0) {
        const left = ledger.slots.expirySeconds[id]!;
        expirySeconds = left > 0 ? left : Math.max(1, expirySeconds - Math.floor(ageMs / 1000));
      }
    }
    if (this.#pausedTopics.isWatching) {
      const topic = topicAt(data, at);
      const pause = this.#pausedTopics.pauseOf(topic, nowMs);
      if (pause !== undefined) {
        cursor.skip();
        this.#refuse(id, cursor, pause);
        return;
      }
      this.#pausedTopics.sent(id, topic);
    }
    this.output.reserve(terms.encoder.sizeMax(size), nowMs);
    const from = this.output.size;
    const to = terms.encoder.encode(
      this.output.buffer,
      from,
      data,
      at,
      size,
      id,
      isDuplicate,
      expirySeconds,
      cursor.index,
      offset,
    );
    if (terms.packetSizeMaxBytes !== undefined && to - from > terms.packetSizeMaxBytes) {
      const reason = `The packet has ${to - from} bytes; the broker takes ${terms.packetSizeMaxBytes}.`;
      cursor.skip();
      this.#refuse(id, cursor, { code: 'PUBLISH_TOO_LARGE', reason });
      return;
    }
    this.output.size = to;
    this.#turnSize += to - from;
    this.mayRefill = false;
    if (this.#rateLimit.isLimited) this.#rateLimit.take(to - from);
    if (qos === 0) {
      cursor.skip();
      counts.published++;
      this.lastUnacknowledgedMs = nowMs;
      ledger.leaveLowered(id);
      ledger.settleUnsent(id, nowMs);
      return;
    }
    if (offset < cursor.doubtHigh && offset >= cursor.resendHigh && !isEnded) counts.possibleDuplicates++;
    ledger.slots.expirySeconds[id] = expirySeconds;
    ledger.sent(cursor, id, qos, isDuplicate, nowMs);
    this.resend.sent(cursor, qos);
    cursor.skip();
  }

  #readAhead(cursor: LaneCursor): void {
    if (cursor.readFrom !== undefined || cursor.loadedSizeBytes >= this.#readAheadBytes / 2) return;
    const from = cursor.loadedEnd;
    if (from >= cursor.end) return;
    cursor.readFrom = from;
    cursor.readEnd = cursor.end;
    this.#port.read(cursor.lane, from, this.#readAheadBytes);
  }
}

function newCounts(): SenderCounts {
  return { published: 0, dropped: 0, possibleDuplicates: 0, noSubscribers: 0 };
}

function readU32(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 0x1000000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
}
