/**
 * The publish session: what outlives a connection on our side, as a pure machine.
 *
 * Bytes, ticks and offers come in through the methods; what is to happen goes out through the port. There is no socket,
 * no timer and no clock inside: every method is given the time, and `port.wakeAt` asks for the next `tick`.
 *
 *     offline -> handshaking -> recovering -> online -> draining -> closing -> offline
 *
 * What survives a crash at any instruction is what the ledger has stored; see `ledger.ts` for what that is, `slots.ts`
 * for the life of a message and DESIGN's rules on the wire for the order of things after a reconnect.
 */
import type { IConnackPacket, Packet } from 'mqtt-packet';
import { NorthError } from '../core/error.js';
import { type ErrorCode, isErrorCode } from '../core/error-codes.js';
import { type Lane, laneIndex } from '../core/lane.js';
import type { Batch } from '../core/progress.js';
import { encodeDisconnect, PINGREQ } from '../wire/control-packets.js';
import { type AcknowledgementType, PacketReader } from '../wire/packet-reader.js';
import { answerToUnasked } from '../wire/unasked-delivery.js';
import { Acknowledgements } from './acknowledgement.js';
import { disconnectError } from './connect-error.js';
import { Experience } from './experience.js';
import { Handshake, type HandshakeOptions } from './handshake.js';
import type { LatencyHistogram } from './latency.js';
import { Ledger, type StoredSession } from './ledger.js';
import { Liveness, type OldestSent } from './liveness.js';
import { PausedTopics } from './paused-topics.js';
import type { SessionPort } from './port.js';
import { RateLimit } from './rate-limit.js';
import { type Allowed, type ConnectionTerms, Sender, type SenderCounts } from './sender.js';
import { assertWay, type SessionState } from './state.js';

export type { SessionEvent, SessionPort } from './port.js';

export interface SessionOptions extends HandshakeOptions {
  /** Longest time for an acknowledgement, and for the socket to take bytes. */
  ackTimeoutMs: number;
  messagesPerSecond: number;
  bytesPerSecond: number;
  /** 0: messages do not age. */
  maxAgeMs: number;
}

export class Session {
  /** Wall-clock time of the last acknowledgement, or undefined when there was none. */
  lastAcknowledgedAtMs: number | undefined;
  readonly #options: SessionOptions;
  readonly #port: SessionPort;
  readonly #ledger: Ledger;
  readonly #sender: Sender;
  readonly #experience: Experience;
  readonly #acknowledgements: Acknowledgements;
  readonly #liveness: Liveness;
  readonly #pausedTopics = new PausedTopics();
  readonly #handshake: Handshake;
  #state: SessionState = 'offline';
  #protocolVersion: 4 | 5 = 5;
  #reader: PacketReader | undefined;
  #terms: ConnectionTerms | undefined;
  #error: NorthError | undefined;
  #broker = '';
  #redialsAtOnce = false;
  #nowMs = 0;
  #wallMs = 0;

  constructor(options: SessionOptions, stored: StoredSession, port: SessionPort) {
    this.#options = options;
    this.#port = port;
    this.#ledger = new Ledger(stored, (save) => port.save(save));
    this.#sender = new Sender({
      ledger: this.#ledger,
      port,
      rateLimit: new RateLimit(options.messagesPerSecond, options.bytesPerSecond),
      maxAgeMs: options.maxAgeMs,
      refuse: (id, cursor, qos, reason) => {
        const isHeld = qos === 2 && this.#ledger.mayBeHeld(id);
        this.#ledger.condemn(id, cursor.next - 1, reason, false, isHeld);
      },
      pausedTopics: this.#pausedTopics,
    });
    this.#acknowledgements = new Acknowledgements(this.#ledger, this.#sender, this.#pausedTopics, {
      downgraded: () => port.report({ kind: 'downgraded' }),
      topicPaused: (topic, reason) => port.report({ kind: 'topicPaused', topic, reason }),
    });
    this.#liveness = new Liveness(options.ackTimeoutMs);
    this.#handshake = new Handshake(options);
    this.#experience = new Experience({
      ledger: this.#ledger,
      resend: this.#sender.resend,
      liveness: this.#liveness,
      acknowledgements: this.#acknowledgements,
      ackTimeoutMs: options.ackTimeoutMs,
      narrowed: (window) => port.report({ kind: 'narrowed', window }),
      qos2Refused: () => port.report({ kind: 'qos2Refused' }),
    });
  }

  get latency(): Readonly<LatencyHistogram> {
    return this.#acknowledgements.latency;
  }

  get state(): SessionState {
    return this.#state;
  }

  get inflight(): number {
    return this.#ledger.inflight;
  }

  /** Nothing that was sent can be why the broker closes: all is acknowledged, or it has answered since. */
  get isIdle(): boolean {
    return this.#ledger.inflight === 0 && this.isHeard;
  }

  /** The broker was heard after the last message of QoS 0, which nobody acknowledges. */
  get isHeard(): boolean {
    return this.#liveness.heardMs > this.#sender.lastUnacknowledgedMs;
  }

  /** The broker has taken a message of QoS 2 as such; MQTT 3.1.1 has no other way to tell. */
  get isQos2Proven(): boolean {
    return this.#acknowledgements.isQos2Proven;
  }

  get window(): number {
    return this.#terms === undefined ? 0 : this.#sender.windowOf(this.#terms);
  }

  /** The window while a message is sought that makes the broker close the connection; undefined: none is. */
  get narrowedTo(): number | undefined {
    return this.#experience.suspicion.narrowedTo;
  }

  get hasUnsaved(): boolean {
    return this.#ledger.saving.isUnfinished;
  }

  countsOf(lane: Lane): Readonly<SenderCounts> {
    return this.#sender.counts[laneIndex(lane)];
  }

  /** Waiting messages of a lane, settled ones beyond the first unsettled not counted out. */
  cursorOf(lane: Lane): { head: number; next: number; end: number } {
    const { head, next, end } = this.#ledger.cursors[laneIndex(lane)];
    return { head, next, end };
  }

  /** The transport is open: sends CONNECT. `broker` names the one whose memory the session is in. */
  connected(broker: string, protocolVersion: 4 | 5, nowMs: number): void {
    this.#enter('handshaking');
    this.#protocolVersion = protocolVersion;
    if (broker !== this.#broker) this.#acknowledgements.isQos2Proven = false;
    this.#broker = broker;
    this.#error = undefined;
    this.#experience.begin(protocolVersion);
    this.#terms = undefined;
    this.#liveness.begin(nowMs);
    this.#sender.output.isWritable = true;
    this.#reader = new PacketReader(protocolVersion, {
      acknowledged: (type, id, code, text) => this.#acknowledged(type, id, code, text),
      packet: (packet) => this.#packet(packet),
      malformed: (problem) =>
        this.#fail(
          this.#state === 'handshaking'
            ? new NorthError('BROKER_NOT_MQTT', `What answers does not speak MQTT: ${problem}.`)
            : new NorthError('BROKER_PROTOCOL', `The broker sent what is not MQTT: ${problem}.`),
        ),
    });
    this.#port.write(this.#handshake.begin(broker, protocolVersion, this.#ledger.saving.presentIdentity));
  }

  received(bytes: Buffer, nowMs: number, wallMs: number): void {
    if (this.#state === 'offline' || this.#state === 'closing') return;
    this.#setTime(nowMs, wallMs);
    this.#liveness.heard(nowMs);
    this.#acknowledgements.beginTurn();
    const inflightBefore = this.#ledger.inflight;
    this.#reader?.read(bytes);
    const { turnCount, turnLatencySumMs, turnEndedCount, turnEndedSumMs } = this.#acknowledgements;
    if (turnEndedCount > 0) this.#terms?.window.acknowledged(turnEndedCount, turnEndedSumMs, nowMs);
    if (turnCount > 0) {
      this.lastAcknowledgedAtMs = wallMs;
      this.#liveness.acknowledged(turnLatencySumMs / turnCount, nowMs);
      this.#experience.passed(nowMs);
    }
    // Only when the window held messages back: one more goes out in place of those that are complete.
    this.#sender.mayRefill = this.#ledger.inflight < inflightBefore;
    this.#proceed();
    this.#sender.mayRefill = false;
  }

  drained(nowMs: number, wallMs: number): void {
    this.#setTime(nowMs, wallMs);
    this.#sender.output.isWritable = true;
    this.#liveness.setWritable(true, nowMs);
    this.#proceed();
  }

  /** The transport has ended. `error` is undefined when the peer closed it in order. */
  disconnected(error: NorthError | undefined, nowMs: number, wallMs: number): void {
    if (this.#state === 'offline') return;
    this.#setTime(nowMs, wallMs);
    const wasUp = this.#terms !== undefined;
    const reason = this.#error ?? endOf(error, wasUp);
    // A connection that we ended ourselves was looked at then.
    if (wasUp && this.#state !== 'closing') this.#learnFromDeath(reason);
    const isOnPurpose = this.#state === 'closing' && this.#error === undefined;
    this.#enter('offline');
    this.#terms = undefined;
    this.#reader = undefined;
    this.#port.wakeAt(undefined);
    // Nothing is sent before the next connection. With exact bounds, what is accepted meanwhile counts as never sent
    // after a crash, too: it may still expire, and it is not taken for a possible duplicate.
    if (wasUp) this.#ledger.useExactBounds();
    this.#ledger.saveDue(nowMs);
    this.#wake();
    const redialsAtOnce = isOnPurpose && this.#redialsAtOnce;
    this.#redialsAtOnce = false;
    this.#port.report({ kind: 'ended', error: isOnPurpose ? undefined : reason, redialsAtOnce });
  }

  /** Batches that were asked for by `port.read`. */
  supply(lane: Lane, fromOffset: number, batches: readonly Batch[], nowMs: number, wallMs: number): void {
    const cursor = this.#ledger.cursors[laneIndex(lane)];
    if (cursor.isAnswerLate()) return;
    if (cursor.readFrom !== fromOffset) return;
    cursor.readFrom = undefined;
    this.#setTime(nowMs, wallMs);
    if (batches.length === 0) cursor.loadNothing(cursor.readEnd);
    else cursor.load(batches);
    this.#proceed();
  }

  /** A read failed; it is asked for again with the next `tick`. */
  readFailed(lane: Lane, fromOffset: number): void {
    const cursor = this.#ledger.cursors[laneIndex(lane)];
    if (cursor.isAnswerLate()) return;
    if (cursor.readFrom === fromOffset) cursor.readFrom = undefined;
  }

  /** True when the session has everything of a lane in memory and takes what is accepted next from there, too. */
  isUpTo(lane: Lane): boolean {
    return this.#isPublishing && this.#ledger.cursors[laneIndex(lane)].isLoadedToEnd;
  }

  /**
   * Messages up to `end` (exclusive) are accepted and on stable storage. Those of `batches` that follow what is loaded are
   * not read.
   */
  offered(lane: Lane, end: number, batches: readonly Batch[], nowMs: number, wallMs: number): void {
    const cursor = this.#ledger.cursors[laneIndex(lane)];
    cursor.end = Math.max(cursor.end, end);
    if (!this.#isPublishing) return;
    cursor.loadOffered(batches);
    this.#setTime(nowMs, wallMs);
    this.#proceed();
  }

  /** The save that was asked for is on stable storage, or has failed and will be asked for again. */
  saved(succeeded: boolean, nowMs: number, wallMs: number): void {
    this.#setTime(nowMs, wallMs);
    for (const entry of this.#ledger.saved(succeeded, nowMs)) {
      const code: ErrorCode = isErrorCode(entry.code) ? entry.code : 'PUBLISH_REFUSED';
      this.#port.report({ kind: 'quarantined', lane: entry.lane, offset: entry.offset, code, reason: entry.reason });
    }
    this.#experience.review(nowMs);
    this.#proceed();
  }

  tick(nowMs: number, wallMs: number): void {
    this.#setTime(nowMs, wallMs);
    this.#proceed();
  }

  /** Messages on topics that the broker refused are sent again at once, and not only after a pause. */
  resumeTopics(): void {
    this.#pausedTopics.resume();
  }

  /** Sends nothing new and disconnects when all that is in flight is acknowledged and stored. */
  drain(nowMs: number, wallMs: number): void {
    if (this.#state === 'handshaking') {
      this.close(nowMs, wallMs);
      return;
    }
    if (!this.#isPublishing) return;
    this.#setTime(nowMs, wallMs);
    this.#enter('draining');
    this.#proceed();
  }

  /** Ends the connection now; what is in flight is sent again on the next one. */
  close(nowMs: number, wallMs: number): void {
    if (this.#state === 'offline' || this.#state === 'closing') return;
    this.#setTime(nowMs, wallMs);
    this.#sayGoodbye();
  }

  /** Stores what lags behind, with exact bounds: called when nothing more will be sent in this life. */
  settleAccounts(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#ledger.useExactBounds();
    this.#ledger.saveDue(nowMs);
    // After a save that failed, it is not due yet.
    this.#wake();
  }

  get #isPublishing(): boolean {
    return this.#state === 'online' || this.#state === 'recovering';
  }

  #setTime(nowMs: number, wallMs: number): void {
    this.#nowMs = nowMs;
    this.#wallMs = wallMs;
  }

  #enter(state: SessionState): void {
    if (state === this.#state) return;
    assertWay(this.#state, state);
    this.#state = state;
    this.#port.report({ kind: 'state', state });
  }

  /** Does everything that is possible now. */
  #proceed(): void {
    if (this.#state === 'closing') return;
    if (this.#state === 'offline' || this.#terms === undefined) {
      this.#ledger.saveDue(this.#nowMs);
      this.#wake();
      return;
    }
    const overdue = this.#liveness.overdue(this.#nowMs, this.#oldestSent());
    if (overdue !== undefined) {
      // Nothing is ever sent again on the same connection [MQTT-4.4.0-1].
      this.#fail(overdue);
      return;
    }
    const wasResending = this.#sender.resend.isUnderWay;
    let deferredDueMs = wasResending ? undefined : this.#ledger.recall(this.#nowMs);
    this.#ledger.saving.lazyCountMax = Math.max(256, this.#terms.window.size * 2);
    this.#sender.narrowedTo = this.#experience.suspicion.narrowedTo;
    if (this.#ledger.saving.isIdentityDue) this.#ledger.saveDue(this.#nowMs);
    else {
      this.#sender.pump(this.#terms, this.#nowMs, this.#wallMs, this.#allowed);
      if (this.#sender.expiredCount > 0) this.#port.report({ kind: 'expired', count: this.#sender.expiredCount });
      this.#ledger.saveDue(this.#nowMs);
      if (wasResending && !this.#sender.resend.isUnderWay && this.#ledger.deferred.length > 0)
        deferredDueMs = this.#nowMs;
      if (this.#state === 'recovering' && this.#isRecovered()) this.#enter('online');
    }
    if (this.#sender.output.isWritable && this.#liveness.isPingDue(this.#nowMs, this.#sender.output.writtenAtMs)) {
      this.#liveness.pingSent(this.#nowMs);
      this.#sender.output.write(PINGREQ, this.#nowMs);
    }
    this.#liveness.setWritable(this.#sender.output.isWritable, this.#nowMs);
    if (this.#state === 'draining' && this.#ledger.inflight === 0) this.#sayGoodbye();
    if (this.#ledger.openExchanges.isWithheld && this.#state === 'online' && this.#ledger.inflight === 0) {
      this.#renewSession();
      return;
    }
    this.#wake(deferredDueMs);
  }

  get #allowed(): Allowed {
    if (this.#nowMs < this.#experience.quietUntilMs) return 'nothing';
    if (this.#state === 'draining') return 'PUBRELs';
    return this.#ledger.openExchanges.isWithheld ? 're-sends' : 'all';
  }

  /** What is in flight is done, and what stands in the way goes with the broker's session. */
  #renewSession(): void {
    this.#handshake.startClean();
    this.#redialsAtOnce = true;
    this.#sayGoodbye();
  }

  #oldestSent(): OldestSent | undefined {
    return this.#ledger.oldestSent(this.#acknowledgements.answeredOrder);
  }

  #isRecovered(): boolean {
    if (this.#ledger.releasable.length > 0) return false;
    for (const cursor of this.#ledger.cursors) {
      if (cursor.next < Math.min(cursor.end, Math.max(cursor.resendHigh, cursor.doubtHigh))) return false;
    }
    return true;
  }

  #wake(otherMs?: number): void {
    let next = otherMs;
    const consider = (timeMs: number | undefined): void => {
      if (timeMs !== undefined && (next === undefined || timeMs < next)) next = timeMs;
    };
    consider(this.#ledger.saving.dueMs);
    if (this.#terms !== undefined && this.#state !== 'closing') {
      consider(this.#sender.resumeAtMs);
      if (this.#nowMs < this.#experience.quietUntilMs) consider(this.#experience.quietUntilMs);
      if (this.#sender.isTurnFull) consider(this.#nowMs);
      consider(this.#liveness.nextMs(this.#sender.output.writtenAtMs, this.#oldestSent()));
    }
    this.#port.wakeAt(next === Number.POSITIVE_INFINITY ? undefined : next);
  }

  #packet(packet: Packet): void {
    if (this.#state === 'closing') return;
    if (packet.cmd === 'connack') {
      this.#connack(packet);
      return;
    }
    if (this.#state === 'handshaking') {
      this.#fail(new NorthError('BROKER_PROTOCOL', `The broker sent ${packet.cmd} before CONNACK.`));
      return;
    }
    if (packet.cmd === 'pingresp') this.#liveness.pingAnswered();
    else if (packet.cmd === 'disconnect') {
      this.#experience.told(packet.reasonCode ?? 0);
      this.#fail(disconnectError(packet.reasonCode ?? 0, packet.properties?.reasonString));
    } else if (packet.cmd === 'auth') {
      this.#fail(new NorthError('BROKER_PROTOCOL', 'The broker sent AUTH, for which we did not ask.'));
    } else this.#refuseDelivery(packet);
  }

  #refuseDelivery(packet: Packet): void {
    const answer = answerToUnasked(packet, this.#protocolVersion);
    if (answer === 'malformed') {
      this.#fail(new NorthError('BROKER_PROTOCOL', `The broker sent ${packet.cmd} without a packet identifier.`));
    } else if (answer !== undefined && this.#sender.output.isWritable) this.#sender.output.write(answer, this.#nowMs);
  }

  #connack(packet: IConnackPacket): void {
    if (this.#state !== 'handshaking') {
      this.#fail(new NorthError('BROKER_PROTOCOL', 'The broker sent a second CONNACK.'));
      return;
    }
    const outcome = this.#handshake.judge(packet);
    if (outcome.kind === 'refused') {
      this.#fail(outcome.error);
      return;
    }
    if (outcome.kind === 'redial') {
      this.#redialsAtOnce = true;
      this.#sayGoodbye();
      return;
    }
    const { grant, terms, identity, isSessionLost } = outcome;
    this.#liveness.setKeepalive((grant.serverKeepaliveSeconds ?? this.#options.keepaliveSeconds) * 1000);
    this.#terms = terms;
    this.#acknowledgements.begin(this.#nowMs);
    this.#experience.granted(terms.window, this.#nowMs);
    this.#sender.begin(terms, this.#nowMs);
    this.#ledger.resume(grant.sessionPresent);
    // Nothing may be published in a new session before it is on disk that the old one is gone: after a crash its PUBRECs
    // would otherwise be taken for those of the new one.
    if (!grant.sessionPresent && (identity !== null || this.#ledger.saving.identity !== undefined)) {
      this.#ledger.saving.changeIdentity(identity);
    }
    this.#ledger.saving.urge();
    this.#enter('recovering');
    // A session may be new to us in other ways, too: it is another broker, or the old one was given up.
    const isInDoubt = isSessionLost || this.#ledger.isInDoubt;
    this.#port.report({
      kind: 'granted',
      grant,
      protocolVersion: this.#protocolVersion,
      isSessionLost: isInDoubt,
    });
  }

  #acknowledged(type: AcknowledgementType, id: number, reasonCode: number, text: string | undefined): void {
    if (this.#state === 'closing') return;
    if (this.#terms === undefined) {
      if (this.#state === 'handshaking') {
        this.#fail(new NorthError('BROKER_PROTOCOL', 'The broker sent an acknowledgement before CONNACK.'));
      }
      return;
    }
    const error = this.#acknowledgements.take(type, id, reasonCode, text, this.#terms, this.#nowMs);
    if (error !== undefined) this.#fail(error);
  }

  #learnFromDeath(reason: NorthError): void {
    this.#experience.died(reason, this.#nowMs);
    if (this.#sender.resend.needsNewSession) this.#handshake.startClean();
  }

  #fail(error: NorthError): void {
    if (this.#state === 'offline' || this.#state === 'closing') return;
    this.#error = error;
    if (this.#terms !== undefined && error.code !== 'CLIENT_ID_TAKEN') this.#learnFromDeath(error);
    this.#enter('closing');
    this.#port.close(false);
  }

  #sayGoodbye(): void {
    this.#enter('closing');
    this.#sender.output.write(encodeDisconnect(this.#protocolVersion), this.#nowMs);
    this.#port.close(true);
  }
}

/** What to call an end without a reason: before the broker has accepted us it is a refusal, afterwards a loss. */
function endOf(error: NorthError | undefined, wasUp: boolean): NorthError {
  if (error !== undefined && error.code !== 'BROKER_CLOSED') return error;
  if (wasUp) return new NorthError('CONNECTION_LOST', 'The broker closed the connection.');
  return error ?? new NorthError('BROKER_CLOSED', 'The broker closed the connection without a reason.');
}
