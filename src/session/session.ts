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
import type { NorthError } from '../core/error.js';
import { type ErrorCode, isErrorCode } from '../core/error-codes.js';
import { type Lane, laneIndex } from '../core/lane.js';
import type { Batch } from '../core/progress.js';
import { encodeDisconnect } from '../wire/control-packets.js';
import type { Acknowledgements } from './acknowledgement.js';
import { endOf } from './connect-error.js';
import type { Experience } from './experience.js';
import { Feed } from './feed.js';
import { Handshake, type HandshakeOutcome } from './handshake.js';
import { Inbound } from './inbound.js';
import type { LatencyHistogram } from './latency.js';
import type { Ledger, StoredSession } from './ledger.js';
import type { Liveness } from './liveness.js';
import { type SessionOptions, sessionParts } from './parts.js';
import type { PausedTopics } from './paused-topics.js';
import type { SessionPort } from './port.js';
import type { Sender, SenderCounts } from './sender.js';
import { assertWay, type SessionState } from './state.js';
import { Turn } from './turn.js';

export type { SessionOptions } from './parts.js';
export type { SessionEvent, SessionPort } from './port.js';

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
  readonly #pausedTopics: PausedTopics;
  readonly #handshake: Handshake;
  readonly #inbound: Inbound;
  readonly #turn: Turn;
  readonly #feed: Feed;
  #state: SessionState = 'offline';
  #protocolVersion: 4 | 5 = 5;
  #error: NorthError | undefined;
  #broker = '';
  #redialsAtOnce = false;
  #isConnectDue = false;
  #nowMs = 0;
  #wallMs = 0;

  constructor(options: SessionOptions, stored: StoredSession, port: SessionPort) {
    this.#options = options;
    this.#port = port;
    const parts = sessionParts(options, stored, port);
    this.#ledger = parts.ledger;
    this.#pausedTopics = parts.pausedTopics;
    this.#sender = parts.sender;
    this.#acknowledgements = parts.acknowledgements;
    this.#liveness = parts.liveness;
    this.#experience = parts.experience;
    this.#handshake = new Handshake(options);
    this.#inbound = new Inbound(parts, this.#handshake, {
      accepted: (outcome, protocolVersion) => this.#accepted(outcome, protocolVersion),
      redial: () => this.#redial(),
      fail: (error) => this.#fail(error),
    });
    this.#turn = new Turn(parts);
    this.#feed = new Feed(parts.ledger.cursors, options.readAheadBytes);
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
    return this.#inbound.terms === undefined ? 0 : this.#sender.windowOf(this.#inbound.terms);
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
    this.#liveness.begin(nowMs);
    this.#sender.output.isWritable = true;
    this.#inbound.begin(protocolVersion);
    this.#isConnectDue = true;
    this.#sendConnect();
  }

  #sendConnect(): void {
    const { identity, presentIdentity } = this.#ledger.saving;
    if (!this.#isConnectDue || this.#handshake.mustWait(this.#broker, identity)) return;
    this.#isConnectDue = false;
    this.#port.write(this.#handshake.begin(this.#broker, this.#protocolVersion, presentIdentity));
  }

  received(bytes: Buffer, nowMs: number, wallMs: number): void {
    if (this.#state === 'offline' || this.#state === 'closing') return;
    this.#setTime(nowMs, wallMs);
    this.#liveness.heard(nowMs);
    this.#acknowledgements.beginTurn();
    const inflightBefore = this.#ledger.inflight;
    this.#inbound.read(bytes, nowMs);
    const { turnCount, turnLatencySumMs, turnEndedCount, turnEndedSumMs } = this.#acknowledgements;
    if (turnEndedCount > 0) this.#inbound.terms?.window.acknowledged(turnEndedCount, turnEndedSumMs, nowMs);
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
    const wasUp = this.#inbound.terms !== undefined;
    const reason = this.#error ?? endOf(error, wasUp);
    // A connection that we ended ourselves was looked at then.
    if (wasUp && this.#state !== 'closing') this.#learnFromDeath(reason);
    const isOnPurpose = this.#state === 'closing' && this.#error === undefined;
    this.#enter('offline');
    this.#inbound.end();
    this.#isConnectDue = false;
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
    if (!this.#feed.supply(lane, fromOffset, batches)) return;
    this.#setTime(nowMs, wallMs);
    this.#proceed();
  }

  /** A read failed; it is asked for again with the next `tick`. */
  readFailed(lane: Lane, fromOffset: number): void {
    this.#feed.readFailed(lane, fromOffset);
  }

  /** True when the session takes what is accepted next from memory. */
  isUpTo(lane: Lane): boolean {
    return this.#isPublishing && this.#feed.isUpTo(lane);
  }

  /** Messages up to `end` (exclusive) are accepted and on stable storage; `batches` are those that are in memory still. */
  offered(lane: Lane, end: number, batches: readonly Batch[], nowMs: number, wallMs: number): void {
    this.#feed.offered(lane, end);
    if (!this.#isPublishing) return;
    this.#feed.load(lane, batches);
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
    if (this.#state === 'handshaking') this.#sendConnect();
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
    if (state === 'closing') this.#inbound.stop();
    this.#port.report({ kind: 'state', state });
  }

  /** Does everything that is possible now. */
  #proceed(): void {
    if (this.#state === 'closing' || this.#state === 'offline' || this.#inbound.terms === undefined) {
      this.#ledger.saveDue(this.#nowMs);
      this.#wake();
      return;
    }
    const overdue = this.#turn.overdue(this.#nowMs);
    if (overdue !== undefined) {
      // Nothing is ever sent again on the same connection [MQTT-4.4.0-1].
      this.#fail(overdue);
      return;
    }
    this.#turn.go(this.#state, this.#inbound.terms, this.#nowMs, this.#wallMs);
    const { expiredCount } = this.#sender;
    this.#sender.expiredCount = 0;
    if (expiredCount > 0) this.#port.report({ kind: 'expired', count: expiredCount });
    if (this.#state === 'recovering' && this.#turn.isRecovered) this.#enter('online');
    if (this.#ledger.inflight === 0) {
      if (this.#state === 'draining') this.#sayGoodbye();
      // What stands in the way goes with the broker's session; nothing is in doubt that would be repeated.
      else if (this.#state === 'online' && this.#ledger.openExchanges.isWithheld) {
        this.#startClean();
        this.#redial();
      }
    }
    this.#wake();
  }

  #wake(): void {
    const isConnected = this.#inbound.terms !== undefined && this.#state !== 'closing';
    this.#port.wakeAt(this.#turn.wakeMs(isConnected, this.#nowMs));
  }

  #accepted(outcome: Extract<HandshakeOutcome, { kind: 'accepted' }>, protocolVersion: 4 | 5): void {
    const { grant, terms, identity, isSessionLost } = outcome;
    const keepaliveSeconds = grant.serverKeepaliveSeconds ?? this.#options.keepaliveSeconds;
    this.#turn.begin({ terms, identity, keepaliveSeconds, isSessionKept: grant.sessionPresent }, this.#nowMs);
    this.#enter('recovering');
    const { isInDoubt } = this.#ledger;
    this.#port.report({ kind: 'granted', grant, protocolVersion, isSessionLost, isInDoubt });
  }

  #redial(): void {
    this.#redialsAtOnce = true;
    this.#sayGoodbye();
  }

  #learnFromDeath(reason: NorthError): void {
    this.#experience.died(reason, this.#nowMs);
    if (this.#experience.needsNewSession) this.#startClean();
  }

  /** The broker's session is given up. */
  #startClean(): void {
    this.#handshake.startClean();
    this.#ledger.saving.changeIdentity(null);
  }

  #fail(error: NorthError): void {
    if (this.#state === 'offline' || this.#state === 'closing') return;
    this.#error = error;
    if (this.#inbound.terms !== undefined && error.code !== 'CLIENT_ID_TAKEN') this.#learnFromDeath(error);
    this.#enter('closing');
    this.#port.close(false);
  }

  #sayGoodbye(): void {
    this.#enter('closing');
    if (!this.#isConnectDue) this.#sender.output.write(encodeDisconnect(this.#protocolVersion), this.#nowMs);
    this.#port.close(true);
  }
}
