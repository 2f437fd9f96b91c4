/** What becomes of each message: the slots, the cursors, and which of it is stored. */
import type { Lane } from '../core/lane.js';
import type { MessageOffset, QoS } from '../core/message.js';
import type { QuarantineReason, SessionIdentity, SessionProgress } from '../core/progress.js';
import { LaneCursor } from './lane-cursor.js';
import type { Answered, OldestSent } from './liveness.js';
import { OpenExchanges } from './open-exchanges.js';
import { type Cursors, restoreProgress, snapshotProgress } from './progress.js';
import { Saving, type SessionSave } from './saving.js';
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

/**
 * How far beyond what was sent the stored bound lies: so many messages go out without a commit for their sake, and so
 * many that were never sent count as sent after a crash. It is as much as goes out during a few saves.
 */
const BOUND_STRIDE_LEAST = 256;
const BOUND_STRIDE_MOST = 4096;
const SAVES_PER_STRIDE = 4;

/** Whoever retries such a message should know. */
const MAY_BE_DELIVERED = 'The broker may have it, so that it may be delivered all the same.';

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
  /** Identifiers whose PUBREC is on disk and whose PUBREL is due, in the order of the PUBRECs. */
  releasable: number[] = [];
  /** Identifiers that wait for their retry. */
  deferred: number[] = [];

  readonly openExchanges = new OpenExchanges();

  readonly saving: Saving;
  #sentCount = 0;
  #receivedCount = 0;
  #exactBounds = false;

  constructor(stored: StoredSession, save: (save: SessionSave) => void) {
    this.saving = new Saving(stored.identity, save);
    const { cursors, slots, openExchanges } = this;
    this.#receivedCount = restoreProgress(stored.progress, stored.nextOffsets, cursors, slots, openExchanges);
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
        if (!sessionKept) {
          this.slots.isHeld[id] = 0;
          this.slots.isLowered[id] = 0;
        }
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
    // A save that is still under way speaks of the former session.
    if (!sessionKept) this.saving.forgetReceived();
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
    if (qos === 2) {
      this.inflightQos2++;
      slots.isHeld[id] = 1;
    } else if (slots.isHeld[id] === 1) slots.isLowered[id] = 1;
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

  /**
   * A message is about to be done because the broker has taken it at a lower QoS than 2. When it was sent at QoS 2 before,
   * the broker may hold it all the same: it must not deliver it, and the identifier is not free.
   */
  leaveLowered(id: number): void {
    const cursor = this.cursorOf(id);
    const offset = cursor.offsetOf(id);
    if (this.slots.isHeld[id] === 0 || offset === undefined) return;
    this.openExchanges.add(id, cursor.lane, offset);
    this.openExchanges.isWithheld = true;
  }

  /** A message is done that was not in flight: it went out at QoS 0, or it expired. */
  settleUnsent(id: number, nowMs: number): void {
    this.slots.state[id] = SETTLED;
    this.saving.settled(nowMs);
    const cursor = this.cursorOf(id);
    // What was sent at QoS 0 or dropped may lie beyond the last that was sent; after a rewind the snapshot must see it.
    if (cursor.next > cursor.sentHigh) cursor.sentHigh = cursor.next;
    if (id === cursor.headId) cursor.advanceHead(this.slots);
  }

  /** A PUBREC has come: it is stored before its PUBREL goes out [MQTT-4.3.3-6]. */
  receive(id: number): void {
    this.slots.state[id] = RECEIVED;
    this.slots.receivedOrder[id] = this.#receivedCount++;
    this.saving.received(id);
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

  /** Messages of which a PUBLISH or a PUBREL was sent on this connection and is not answered. */
  get unansweredCount(): number {
    let count = this.releasedCount;
    for (const cursor of this.cursors) {
      let id = cursor.headId;
      for (let offset = cursor.head; offset < cursor.sentHigh; offset++, id = cursor.idAfter(id)) {
        if (this.slots.state[id] === SENT) count++;
      }
    }
    return count;
  }

  /** True while PUBRECs wait to be stored, or their PUBRELs to be sent: it is we who are slow then, and not the broker. */
  get isReceiving(): boolean {
    return this.releasable.length > 0 || this.saving.hasReceived;
  }

  /** True when something was sent in a session that the broker has lost, and is not done. */
  get isInDoubt(): boolean {
    return this.cursors.some(({ head, doubtHigh }) => head < doubtHigh);
  }

  released(id: number, nowMs: number): void {
    this.slots.state[id] = RELEASED;
    this.slots.timeMs[id] = nowMs;
    this.slots.sentOrder[id] = ++this.#sentCount;
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
   * To quarantine with the reason, in the next commit; the message counts as settled from then on. When the broker may hold
   * it, and perhaps deliver it, its exchange is left open.
   */
  condemn(id: number, offset: number, reason: QuarantineReason, wasInFlight: boolean): void {
    const isHeld = this.slots.isHeld[id] === 1;
    if (wasInFlight) this.#leave(id);
    const cursor = this.cursorOf(id);
    const { lane } = cursor;
    if (isHeld) this.openExchanges.add(id, lane, offset);
    this.slots.state[id] = CONDEMNED;
    // A message that was never sent may lie beyond the last that was; the snapshot must see it.
    if (offset >= cursor.sentHigh) cursor.sentHigh = offset + 1;
    const text = isHeld ? `${reason.reason} ${MAY_BE_DELIVERED}` : reason.reason;
    this.saving.condemned({ id, lane, offset, code: reason.code, reason: text });
  }

  /** Offsets from here on must not be sent before another save: the bound, or the next life of a packet identifier. */
  sendLimit(cursor: LaneCursor): number {
    return Math.min(cursor.durableBound, cursor.durableHead + cursor.idSize);
  }

  /**
   * Asks for a save when it would let the lane go on. It would not when the identifier of the next message still belongs
   * to one that is in flight or waits for its retry; asking again and again would only keep the disk busy.
   */
  extend(cursor: LaneCursor): void {
    if (cursor.next >= cursor.durableBound || cursor.head > cursor.durableHead) this.saving.urge();
  }

  /** The bounds are stored as they are until the next connection: nothing is sent before. */
  useExactBounds(): void {
    this.#exactBounds = true;
    this.saving.urge();
  }

  /** Stores what is due. */
  saveDue(nowMs: number): void {
    if (this.openExchanges.isSaveDue) this.saving.changed(nowMs);
    if (!this.saving.isDue(nowMs)) return;
    const progress = snapshotProgress(this.cursors, this.slots, this.openExchanges, (cursor) =>
      this.#exactBounds ? cursor.sentHigh : Math.max(cursor.durableBound, this.#boundAhead(cursor)),
    );
    // A bound that is lowered holds from now on, whether the save succeeds or not.
    for (const cursor of this.cursors) {
      cursor.durableBound = Math.min(cursor.durableBound, progress.lanes[cursor.lane].boundOffset);
    }
    this.openExchanges.saving();
    this.saving.begin(progress);
  }

  /** The bound is raised only when half of the stride is used up, so that most saves leave it as it is. */
  #boundAhead(cursor: LaneCursor): number {
    const sent = Math.max(cursor.next, cursor.sentHigh);
    const passedSinceSave = SAVES_PER_STRIDE * (sent - cursor.sentAtSave);
    const stride = Math.max(BOUND_STRIDE_LEAST, Math.min(BOUND_STRIDE_MOST, passedSinceSave));
    cursor.sentAtSave = sent;
    return cursor.durableBound >= sent + stride / 2 ? cursor.durableBound : sent + stride;
  }

  /** The save is on stable storage, or it failed and everything in it is due again. Gives what is in quarantine now. */
  saved(succeeded: boolean, nowMs: number): readonly (MessageOffset & QuarantineReason)[] {
    const changes = this.saving.finished(succeeded, nowMs);
    if (changes === undefined) return [];
    this.openExchanges.saved();
    for (const cursor of this.cursors) {
      const { firstUnsettled, boundOffset } = changes.progress.lanes[cursor.lane];
      cursor.durableHead = firstUnsettled;
      cursor.durableBound = boundOffset;
    }
    for (const id of changes.received) {
      if (this.slots.state[id] !== RECEIVED) continue;
      this.slots.state[id] = RELEASABLE;
      this.releasable.push(id);
    }
    for (const { id } of changes.condemned) {
      this.slots.state[id] = SETTLED;
      this.cursorOf(id).advanceHead(this.slots);
    }
    return changes.condemned;
  }

  /**
   * The first message in flight of each lane, which has waited longest in it. It is passed over by those of its own QoS, or by
   * others while nothing of its QoS is answered any more.
   */
  oldestSent({ publishOrders, atMs }: Readonly<Answered>): OldestSent[] {
    const oldest: OldestSent[] = [];
    if (this.inflight === 0) return oldest;
    const { slots } = this;
    for (const cursor of this.cursors) {
      // After a rewind, messages are in flight beyond `next`.
      const limit = Math.max(cursor.next, cursor.sentHigh);
      let id = cursor.headId;
      for (let offset = cursor.head; offset < limit; offset++, id = cursor.idAfter(id)) {
        const state = slots.state[id]!;
        if (state !== SENT && state !== RELEASED) continue;
        const sentMs = slots.timeMs[id]!;
        const qos = slots.qos[id] as QoS;
        const order = slots.sentOrder[id]!;
        let passedOverMs: number | undefined;
        if (state === SENT && publishOrders[qos] > order) passedOverMs = sentMs;
        else if (publishOrders[qos === 1 ? 2 : 1] > order && !(qos === 2 && this.isReceiving)) {
          passedOverMs = Math.max(sentMs, atMs[qos]);
        }
        oldest.push({ sentMs, passedOverMs });
        break;
      }
    }
    return oldest;
  }
}
