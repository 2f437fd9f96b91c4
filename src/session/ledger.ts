/**
 * What becomes of each message: the slots, the cursors, and when which of it is stored.
 *
 * Two kinds of change are stored at different speeds. A PUBREC and a move to quarantine are stored at once, in groups:
 * their consequences may only happen afterwards. A settlement may lag, because losing it costs one repeated PUBLISH at
 * QoS 1 or one repeated PUBREL at QoS 2; it goes along with the next commit, at the latest after `LAZY_SAVE_MS` or when
 * as many settlements wait as two windows hold. That keeps the duplicates after a crash near the in-flight window.
 * One save is under way at a time; what comes meanwhile goes with the next.
 */

import type { Lane } from '../core/lane.js';
import type { MessageOffset, QoS } from '../core/message.js';
import type { QuarantineReason, SessionIdentity, SessionProgress } from '../core/progress.js';
import { LaneCursor } from './lane-cursor.js';
import type { OldestSent } from './liveness.js';
import { OpenExchanges } from './open-exchanges.js';
import { type Cursors, restoreProgress, snapshotProgress } from './progress.js';
import {
  CONDEMNED,
  DEFERRED,
  laneIndexOfId,
  RECEIVED,
  RELEASABLE,
  RELEASED,
  SENT,
  SETTLED,
  Slots,
  WAITING,
} from './slots.js';

export const LAZY_SAVE_MS = 100;

/** After a failed save; trying again at once would only spin while the disk is full. */
const SAVE_RETRY_MS = 1000;

/**
 * How far beyond what was sent the stored bound lies: so many messages go out without a commit for their sake, and so
 * many that were never sent count as sent after a crash. It is as much as goes out during a few saves.
 */
const BOUND_STRIDE_LEAST = 256;
const BOUND_STRIDE_MOST = 4096;
const SAVES_PER_STRIDE = 4;

/** Whoever retries such a message should know. */
const MAY_BE_DELIVERED = 'The broker may have it, so that it may be delivered all the same.';

/** What is stored in one transaction; with an `identity` the session is that one's from now on, and null forgets it. */
export interface SessionSave {
  progress: SessionProgress;
  quarantine: readonly (MessageOffset & QuarantineReason)[];
  identity?: SessionIdentity | null;
}

export interface StoredSession {
  progress: SessionProgress;
  identity: SessionIdentity | undefined;
  nextOffsets: Readonly<Record<Lane, number>>;
}

export class Ledger {
  readonly slots = new Slots();
  readonly cursors: Cursors = [new LaneCursor('command'), new LaneCursor('alert'), new LaneCursor('telemetry')];
  /** Messages that count against the broker's quota. */
  inflight = 0;
  /** Those of them that are sent at QoS 2. */
  inflightQos2 = 0;
  /** Those of them whose PUBREL went out on this connection. */
  releasedCount = 0;
  identity: SessionIdentity | undefined;
  /** Identifiers whose PUBREC is on disk and whose PUBREL is due, in the order of the PUBRECs. */
  releasable: number[] = [];
  /** So many settlements may lag behind before they are stored. */
  lazyCountMax = 256;
  /** Identifiers that wait for their retry. */
  deferred: number[] = [];

  readonly openExchanges = new OpenExchanges();

  readonly #save: (save: SessionSave) => void;
  #sentCount = 0;
  #receivedCount = 0;
  #received: number[] = [];
  #condemned: (MessageOffset & QuarantineReason & { id: number })[] = [];
  #savingReceived: number[] = [];
  #savingCondemned: (MessageOffset & QuarantineReason & { id: number })[] = [];
  #savingProgress: SessionProgress | undefined;
  #savingIdentity: SessionIdentity | null | undefined;
  #savesIdentity = false;
  #retryAtMs = 0;
  #newIdentity: SessionIdentity | null | undefined;
  #isUrgent = false;
  #lazySinceMs: number | undefined;
  #unsavedCount = 0;
  #exactBounds = false;

  constructor(stored: StoredSession, save: (save: SessionSave) => void) {
    this.#save = save;
    this.identity = stored.identity;
    const { cursors, slots, openExchanges } = this;
    this.#receivedCount = restoreProgress(stored.progress, stored.nextOffsets, cursors, slots, openExchanges);
  }

  get isSaving(): boolean {
    return this.#savingProgress !== undefined;
  }

  get hasUnsaved(): boolean {
    return this.isSaving || this.#isUrgent || this.#lazySinceMs !== undefined || this.#newIdentity !== undefined;
  }

  /** When the lagging settlements are due to be stored, or undefined when there are none. */
  get lazySaveDueMs(): number | undefined {
    if (this.isSaving) return undefined;
    if (this.#retryAtMs > 0) return this.#retryAtMs;
    return this.#lazySinceMs === undefined ? undefined : this.#lazySinceMs + LAZY_SAVE_MS;
  }

  /** True while it is not on disk whose session this is; nothing may be published before. */
  get isIdentityDue(): boolean {
    return this.#newIdentity !== undefined || this.#savesIdentity;
  }

  /** Whose session the slots speak of, stored or not yet. */
  get presentIdentity(): SessionIdentity | undefined {
    if (this.#newIdentity !== undefined) return this.#newIdentity ?? undefined;
    return (this.#savesIdentity ? this.#savingIdentity : this.identity) ?? undefined;
  }

  cursorOf(packetId: number): LaneCursor {
    return this.cursors[laneIndexOfId(packetId)];
  }

  /** Prepares for a new connection: what is in flight waits again, and each lane begins at its head. */
  resume(sessionKept: boolean): void {
    this.inflight = 0;
    this.inflightQos2 = 0;
    this.releasedCount = 0;
    this.deferred = [];
    const releasable: number[] = [];
    for (const cursor of this.cursors) {
      const limit = Math.max(cursor.next, cursor.sentHigh);
      let id = cursor.headId;
      for (let offset = cursor.head; offset < limit; offset++, id = cursor.idAfter(id)) {
        const state = this.slots.state[id]!;
        if (state === SENT) this.slots.state[id] = WAITING;
        else if (state === DEFERRED || (state === WAITING && this.slots.isEnded[id] === 1)) {
          // What the broker has refused is no re-send: it keeps its pause and comes after those that the broker may hold.
          this.slots.state[id] = DEFERRED;
          this.deferred.push(id);
        } else if (state === RELEASABLE || state === RELEASED || state === RECEIVED) {
          if (!sessionKept) this.slots.state[id] = WAITING;
          else {
            this.inflight++;
            this.inflightQos2++;
            if (state !== RECEIVED) releasable.push(id);
            if (state === RELEASED) this.slots.state[id] = RELEASABLE;
          }
        }
      }
      if (!sessionKept) {
        cursor.sessionHigh = cursor.head;
        cursor.doubtHigh = cursor.sentHigh;
      }
      cursor.resendHigh = cursor.sessionHigh;
      cursor.rewindTo(cursor.head);
    }
    this.#exactBounds = false;
    releasable.sort((a, b) => this.slots.receivedOrder[a]! - this.slots.receivedOrder[b]!);
    this.releasable = releasable;
    this.openExchanges.resume(sessionKept);
    if (!sessionKept) {
      this.#received = [];
      // A save that is still under way speaks of the former session.
      this.#savingReceived = [];
    }
  }

  /** The broker's session is a new one. This is stored before anything is published in it. */
  changeIdentity(identity: SessionIdentity | null): void {
    this.#newIdentity = identity;
    this.#isUrgent = true;
  }

  sent(cursor: LaneCursor, id: number, qos: QoS, isRepeated: boolean, nowMs: number): void {
    const { slots } = this;
    slots.state[id] = SENT;
    slots.qos[id] = qos;
    slots.timeMs[id] = nowMs;
    slots.startedMs[id] = nowMs;
    slots.sentOrder[id] = ++this.#sentCount;
    slots.isEnded[id] = 0;
    slots.isRepeated[id] = isRepeated ? 1 : 0;
    this.inflight++;
    if (qos === 2) this.inflightQos2++;
    if (cursor.next >= cursor.sentHigh) cursor.sentHigh = cursor.next + 1;
    if (cursor.next >= cursor.sessionHigh) cursor.sessionHigh = cursor.next + 1;
  }

  #leave(id: number): void {
    this.inflight--;
    if (this.slots.qos[id] === 2) this.inflightQos2--;
    if (this.slots.state[id] === RELEASED) this.releasedCount--;
  }

  /** The exchange of an identifier in flight is over and its message is done. */
  settle(id: number, nowMs: number): void {
    this.#leave(id);
    this.settleUnsent(id, nowMs);
  }

  /** A message is done that was not in flight: it went out at QoS 0, or it expired. */
  settleUnsent(id: number, nowMs: number): void {
    this.slots.state[id] = SETTLED;
    this.#lazySinceMs ??= nowMs;
    if (++this.#unsavedCount >= this.lazyCountMax) this.#isUrgent = true;
    const cursor = this.cursorOf(id);
    // What was sent at QoS 0 or dropped may lie beyond the last that was sent; after a rewind the snapshot must see it.
    if (cursor.next > cursor.sentHigh) cursor.sentHigh = cursor.next;
    if (id === cursor.headId) cursor.advanceHead(this.slots);
  }

  /** A lane has gone over what was dropped from the cache: that it waits no more is stored like a settlement. */
  noteProgress(nowMs: number): void {
    this.#lazySinceMs ??= nowMs;
  }

  /** A PUBREC has come: it is stored before its PUBREL goes out [MQTT-4.3.3-6]. */
  receive(id: number): void {
    this.slots.state[id] = RECEIVED;
    this.slots.receivedOrder[id] = this.#receivedCount++;
    this.#received.push(id);
    this.#isUrgent = true;
  }

  /**
   * True when the broker may hold this message from a former connection although it was not re-sent on this one: some
   * answer a message late that they had queued, as soon as there is a connection.
   */
  mayBeHeld(id: number): boolean {
    const cursor = this.cursorOf(id);
    const offset = cursor.offsetOf(id);
    return offset !== undefined && offset < cursor.resendHigh && this.slots.isEnded[id] === 0;
  }

  /** True when something was sent in a session that the broker has lost, and is not done. */
  get isInDoubt(): boolean {
    return this.cursors.some(({ head, doubtHigh }) => head < doubtHigh);
  }

  released(id: number, nowMs: number): void {
    this.slots.state[id] = RELEASED;
    this.slots.timeMs[id] = nowMs;
    this.releasedCount++;
  }

  /** Refused for a passing reason: it is sent again, as a new PUBLISH, when the time has come. */
  defer(id: number, dueMs: number): void {
    this.#leave(id);
    this.slots.state[id] = DEFERRED;
    this.slots.isEnded[id] = 1;
    this.slots.expirySeconds[id] = 0;
    this.slots.timeMs[id] = dueMs;
    this.deferred.push(id);
  }

  /** Makes deferred messages wait again whose time has come, and gives the time of the next one. */
  recall(nowMs: number): number | undefined {
    let nextMs: number | undefined;
    if (this.deferred.length === 0) return undefined;
    const rest: number[] = [];
    for (const id of this.deferred) {
      if (this.slots.state[id] !== DEFERRED) continue;
      const dueMs = this.slots.timeMs[id]!;
      if (dueMs > nowMs) {
        rest.push(id);
        nextMs = nextMs === undefined ? dueMs : Math.min(nextMs, dueMs);
        continue;
      }
      this.slots.state[id] = WAITING;
      const cursor = this.cursorOf(id);
      const offset = cursor.offsetOf(id);
      if (offset !== undefined && offset < cursor.next) cursor.rewindTo(offset);
    }
    this.deferred = rest;
    return nextMs;
  }

  /**
   * To quarantine with the reason, in the next commit; the message counts as settled from then on.
   *
   * @param isHeld its QoS 2 exchange was not ended by the broker, which may hold it and perhaps deliver it.
   */
  condemn(id: number, offset: number, reason: QuarantineReason, wasInFlight: boolean, isHeld: boolean): void {
    if (wasInFlight) this.#leave(id);
    const cursor = this.cursorOf(id);
    const { lane } = cursor;
    if (isHeld) this.openExchanges.add(id, lane, offset);
    this.slots.state[id] = CONDEMNED;
    // A message that was never sent may lie beyond the last that was; the snapshot must see it.
    if (offset >= cursor.sentHigh) cursor.sentHigh = offset + 1;
    const text = isHeld ? `${reason.reason} ${MAY_BE_DELIVERED}` : reason.reason;
    this.#condemned.push({ lane, offset, id, code: reason.code, reason: text });
    this.#isUrgent = true;
  }

  /** Offsets from here on must not be sent before another save: the bound, or the next life of a packet identifier. */
  sendLimit(cursor: LaneCursor): number {
    return Math.min(cursor.durableBound, cursor.durableHead + cursor.idSize);
  }

  /** Asks for a save that raises the bounds. */
  raiseBounds(): void {
    this.#isUrgent = true;
  }

  /**
   * Asks for a save when it would let the lane go on. It would not when the identifier of the next message still belongs
   * to one that is in flight or waits for its retry; asking again and again would only keep the disk busy.
   */
  extend(cursor: LaneCursor): void {
    if (cursor.next >= cursor.durableBound || cursor.head > cursor.durableHead) this.#isUrgent = true;
  }

  /** The bounds are stored as they are until the next connection: nothing is sent before. */
  useExactBounds(): void {
    this.#exactBounds = true;
    this.#isUrgent = true;
  }

  /** Stores what is due. */
  saveDue(nowMs: number): void {
    if (this.isSaving || nowMs < this.#retryAtMs) return;
    if (this.openExchanges.isSaveDue) this.noteProgress(nowMs);
    const lazyIsDue = this.#lazySinceMs !== undefined && nowMs >= this.#lazySinceMs + LAZY_SAVE_MS;
    if (!this.#isUrgent && !lazyIsDue) return;
    const progress = snapshotProgress(this.cursors, this.slots, this.openExchanges, (cursor) =>
      this.#exactBounds ? cursor.sentHigh : Math.max(cursor.durableBound, this.#boundAhead(cursor)),
    );
    // A bound that is lowered holds from now on, whether the save succeeds or not.
    for (const cursor of this.cursors) {
      cursor.durableBound = Math.min(cursor.durableBound, progress.lanes[cursor.lane].boundOffset);
    }
    this.#savingProgress = progress;
    this.openExchanges.saving();
    this.#savingReceived = this.#received;
    this.#savingCondemned = this.#condemned;
    this.#received = [];
    this.#condemned = [];
    this.#isUrgent = false;
    this.#lazySinceMs = undefined;
    this.#unsavedCount = 0;
    const save: SessionSave = {
      progress,
      quarantine: this.#savingCondemned.map(({ lane, offset, code, reason }) => ({ lane, offset, code, reason })),
    };
    this.#savesIdentity = this.#newIdentity !== undefined;
    if (this.#newIdentity !== undefined) save.identity = this.#newIdentity;
    this.#savingIdentity = this.#newIdentity;
    this.#newIdentity = undefined;
    this.#save(save);
  }

  /** The bound is raised only when half of the stride is used up, so that most saves leave it as it is. */
  #boundAhead(cursor: LaneCursor): number {
    const sent = Math.max(cursor.next, cursor.sentHigh);
    const passedSinceSave = SAVES_PER_STRIDE * (sent - cursor.sentAtSave);
    const stride = Math.max(BOUND_STRIDE_LEAST, Math.min(BOUND_STRIDE_MOST, passedSinceSave));
    cursor.sentAtSave = sent;
    return cursor.durableBound >= sent + stride / 2 ? cursor.durableBound : sent + stride;
  }

  /** The save is on stable storage, or it failed and everything in it is due again. */
  saved(succeeded: boolean, nowMs: number): readonly (MessageOffset & QuarantineReason)[] {
    const progress = this.#savingProgress;
    if (progress === undefined) throw new Error('A save was confirmed that was not under way.');
    this.#savingProgress = undefined;
    this.#savesIdentity = false;
    if (!succeeded) {
      this.#received = [...this.#savingReceived, ...this.#received];
      this.#condemned = [...this.#savingCondemned, ...this.#condemned];
      if (this.#newIdentity === undefined) this.#newIdentity = this.#savingIdentity;
      this.#isUrgent = true;
      this.#retryAtMs = nowMs + SAVE_RETRY_MS;
      return [];
    }
    this.#retryAtMs = 0;
    this.openExchanges.saved();
    if (this.#savingIdentity !== undefined) this.identity = this.#savingIdentity ?? undefined;
    for (const cursor of this.cursors) {
      cursor.durableHead = progress.lanes[cursor.lane].firstUnsettled;
      cursor.durableBound = progress.lanes[cursor.lane].boundOffset;
    }
    for (const id of this.#savingReceived) {
      if (this.slots.state[id] !== RECEIVED) continue;
      this.slots.state[id] = RELEASABLE;
      this.releasable.push(id);
    }
    for (const { id } of this.#savingCondemned) {
      this.slots.state[id] = SETTLED;
      this.cursorOf(id).advanceHead(this.slots);
    }
    const quarantined = this.#savingCondemned;
    this.#savingReceived = [];
    this.#savingCondemned = [];
    return quarantined;
  }

  /**
   * The message in flight that has waited longest, over all lanes; undefined when none is.
   *
   * @param answeredOrder place in the order of sending of the last message that was answered on this connection.
   */
  oldestSent(answeredOrder: number | undefined): OldestSent | undefined {
    if (this.inflight === 0) return undefined;
    let oldest: OldestSent | undefined;
    const { slots } = this;
    for (const cursor of this.cursors) {
      // After a rewind, messages are in flight beyond `next`.
      const limit = Math.max(cursor.next, cursor.sentHigh);
      let id = cursor.headId;
      for (let offset = cursor.head; offset < limit; offset++, id = cursor.idAfter(id)) {
        const state = slots.state[id]!;
        if (state !== SENT && state !== RELEASED) continue;
        const sentMs = slots.timeMs[id]!;
        if (oldest === undefined || sentMs < oldest.sentMs) {
          const isPassedOver = state === SENT && answeredOrder !== undefined && answeredOrder > slots.sentOrder[id]!;
          oldest = { sentMs, isPassedOver };
        }
        break;
      }
    }
    return oldest;
  }
}
