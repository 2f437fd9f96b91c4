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
import mqttPacket, { type IConnackPacket, type Packet } from 'mqtt-packet';
import { NorthError } from '../core/error.js';
import { type ErrorCode, isErrorCode } from '../core/error-codes.js';
import { type Lane, laneIndex } from '../core/lane.js';
import type { Batch, QuarantineReason } from '../core/progress.js';
import { encodeDisconnect, PINGREQ } from '../wire/control-packets.js';
import { type AcknowledgementType, PacketReader } from '../wire/packet-reader.js';
import { Acknowledgements } from './acknowledgement.js';
import { disconnectError } from './connect-error.js';
import { Handshake, type HandshakeOptions } from './handshake.js';
import type { LaneCursor } from './lane-cursor.js';
import type { LatencyHistogram } from './latency.js';
import { Ledger, type StoredSession } from './ledger.js';
import { Liveness, type OldestSent } from './liveness.js';
import type { SessionPort } from './port.js';
import { RateLimit } from './rate-limit.js';
import { type ConnectionTerms, Sender, type SenderCounts } from './sender.js';
import { assertWay, type SessionState } from './state.js';
import { Suspicion } from './suspicion.js';

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
  readonly #suspicion: Suspicion;
  readonly #acknowledgements: Acknowledgements;
  readonly #liveness: Liveness;
  readonly #handshake: Handshake;
  #state: SessionState = 'offline';
  #protocolVersion: 4 | 5 = 5;
  #reader: PacketReader | undefined;
  #terms: ConnectionTerms | undefined;
  #error: NorthError | undefined;
  #redialsAtOnce = false;
  #nowMs = 0;
  #wallMs = 0;
  /** The broker has said that we sent more than its Receive Maximum. */
  #isOverrun = false;
  /** The broker has ended the connection with a reason that is about none of the messages. */
  #isExplained = false;
  #grantedMs = 0;
  /** Connections that died under more than an ordinary number of messages. */
  #deathsUnderMany = 0;
  /** What a broker that announces nothing was seen to bear; and when that was. */
  #learned = { windowMax: Number.POSITIVE_INFINITY, atMs: 0 };

  constructor(options: SessionOptions, stored: StoredSession, port: SessionPort) {
    this.#options = options;
    this.#port = port;
    this.#ledger = new Ledger(stored, (save) => port.save(save));
    this.#suspicion = new Suspicion(this.#ledger);
    this.#sender = new Sender({
      ledger: this.#ledger,
      port,
      rateLimit: new RateLimit(options.messagesPerSecond, options.bytesPerSecond),
      maxAgeMs: options.maxAgeMs,
      refuse: (id, cursor, reason) => this.#condemnUnsent(id, cursor, reason),
      pauseOf: (topic) => this.#acknowledgements.pauseOf(topic, this.#nowMs),
    });
    this.#acknowledgements = new Acknowledgements(this.#ledger, this.#sender, {
      downgraded: () => port.report({ kind: 'downgraded' }),
      topicPaused: (topic, reason) => port.report({ kind: 'topicPaused', topic, reason }),
    });
    this.#liveness = new Liveness(options.ackTimeoutMs);
    this.#handshake = new Handshake(options);
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
    return this.#ledger.inflight === 0 && this.#liveness.heardMs > this.#sender.lastUnacknowledgedMs;
  }

  get window(): number {
    return this.#terms === undefined ? 0 : this.#sender.windowOf(this.#terms);
  }

  /** The window while a message is sought that makes the broker close the connection; undefined: none is. */
  get narrowedTo(): number | undefined {
    return this.#suspicion.narrowedTo;
  }

  get hasUnsaved(): boolean {
    return this.#ledger.hasUnsaved;
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
    this.#error = undefined;
    this.#isOverrun = false;
    this.#isExplained = false;
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
    this.#port.write(this.#handshake.begin(broker, protocolVersion, this.#ledger.identity));
  }

  received(bytes: Buffer, nowMs: number, wallMs: number): void {
    if (this.#state === 'offline' || this.#state === 'closing') return;
    this.#setTime(nowMs, wallMs);
    this.#liveness.heard(nowMs);
    this.#acknowledgements.beginTurn();
    const inflightBefore = this.#ledger.inflight;
    this.#reader?.read(bytes);
    const { turnCount, turnLatencySumMs } = this.#acknowledgements;
    if (turnCount > 0) {
      this.lastAcknowledgedAtMs = wallMs;
      this.#terms?.window.acknowledged(turnCount, turnLatencySumMs, nowMs);
      this.#liveness.acknowledged(turnLatencySumMs / turnCount, nowMs);
      this.#suspicion.passed();
      this.#sender.resend.answered();
      this.#review();
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

  /** Messages up to `end` (exclusive) are accepted and on stable storage. */
  offered(lane: Lane, end: number, nowMs: number, wallMs: number): void {
    const cursor = this.#ledger.cursors[laneIndex(lane)];
    cursor.end = Math.max(cursor.end, end);
    if (this.#state !== 'online' && this.#state !== 'recovering') return;
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
    this.#review();
    this.#proceed();
  }

  tick(nowMs: number, wallMs: number): void {
    this.#setTime(nowMs, wallMs);
    this.#proceed();
  }

  /** Messages on topics that the broker refused are sent again at once, and not only after a pause. */
  resumeTopics(): void {
    this.#acknowledgements.resumeTopics();
  }

  /** Sends nothing new and disconnects when all that is in flight is acknowledged and stored. */
  drain(nowMs: number, wallMs: number): void {
    if (this.#state === 'handshaking') {
      this.close(nowMs, wallMs);
      return;
    }
    if (this.#state !== 'online' && this.#state !== 'recovering') return;
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
    this.#ledger.useExactBounds();
    this.#ledger.saveDue(nowMs);
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
    this.#ledger.lazyCountMax = Math.max(256, this.#terms.window.size * 2);
    this.#sender.narrowedTo = this.#suspicion.narrowedTo;
    if (this.#ledger.isIdentityDue) this.#ledger.saveDue(this.#nowMs);
    else {
      const mayPublish = this.#state !== 'draining' && this.#nowMs >= this.#quietUntilMs();
      this.#sender.pump(this.#terms, this.#nowMs, this.#wallMs, mayPublish);
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
    this.#wake(deferredDueMs);
  }

  /** Before a suspect is sent, the connection shows that it lives without it. */
  #quietUntilMs(): number {
    return this.#suspicion.wantsQuiet ? this.#grantedMs + QUIET_MS : 0;
  }

  #review(): void {
    const tooMany = this.#suspicion.review();
    if (tooMany === undefined || this.#protocolVersion === 5) return;
    // No message was to blame: there were too many of them at once, and a 3.1.1 broker cannot say so.
    this.#learn(Math.max(LEARNED_WINDOW_LEAST, Math.floor(tooMany / 2)));
  }

  /** A 3.1.1 broker that closes again and again under many messages may take fewer: nothing but our growth was different. */
  #learnOfMany(): void {
    const { inflight } = this.#ledger;
    if (this.#protocolVersion === 5 || inflight <= ORDINARY_INFLIGHT) return;
    if (++this.#deathsUnderMany < 2) return;
    this.#deathsUnderMany = 0;
    this.#learn(Math.max(ORDINARY_INFLIGHT, Math.floor(inflight * 0.75)));
  }

  #learn(windowMax: number): void {
    this.#learned = { windowMax: Math.min(windowMax, this.#bearableMax(this.#nowMs)), atMs: this.#nowMs };
    this.#terms?.window.limitTo(this.#learned.windowMax);
  }

  /** It may have been the line: what was learned is doubted more with every hour. */
  #bearableMax(nowMs: number): number {
    return this.#learned.windowMax * 2 ** Math.floor((nowMs - this.#learned.atMs) / LEARNED_FOR_MS);
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
    consider(this.#ledger.lazySaveDueMs);
    if (this.#terms !== undefined && this.#state !== 'closing') {
      consider(this.#sender.resumeAtMs);
      if (this.#nowMs < this.#quietUntilMs()) consider(this.#quietUntilMs());
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
      this.#isOverrun = packet.reasonCode === RECEIVE_MAXIMUM_EXCEEDED;
      this.#isExplained = EXPLAINED.has(packet.reasonCode ?? 0);
      this.#fail(disconnectError(packet.reasonCode ?? 0, packet.properties?.reasonString));
    } else if (packet.cmd === 'auth') {
      this.#fail(new NorthError('BROKER_PROTOCOL', 'The broker sent AUTH, for which we did not ask.'));
    } else this.#refuseDelivery(packet);
  }

  /**
   * Some brokers subscribe their clients to topics by themselves. We have no use for what comes, but the broker waits for
   * an answer [MQTT-4.3.2-4, MQTT-4.3.3-8], and while its socket is full it is not given one.
   */
  #refuseDelivery(packet: Packet): void {
    const answer = answerOf(packet);
    if (answer === undefined || !this.#sender.output.isWritable) return;
    if ((answer.messageId ?? 0) < 1) {
      this.#fail(new NorthError('BROKER_PROTOCOL', `The broker sent ${packet.cmd} without a packet identifier.`));
      return;
    }
    const bytes = mqttPacket.generate(answer, { protocolVersion: this.#protocolVersion });
    this.#sender.output.write(bytes, this.#nowMs);
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
    this.#acknowledgements.begin();
    if (this.#protocolVersion === 4) terms.window.limitTo(this.#bearableMax(this.#nowMs));
    this.#grantedMs = this.#nowMs;
    this.#sender.begin(terms, this.#nowMs);
    this.#ledger.resume(grant.sessionPresent);
    // Nothing may be published in a new session before it is on disk that the old one is gone: after a crash its PUBRECs
    // would otherwise be taken for those of the new one.
    if (!grant.sessionPresent && (identity !== null || this.#ledger.identity !== undefined)) {
      this.#ledger.changeIdentity(identity);
    }
    this.#ledger.raiseBounds();
    this.#enter('recovering');
    this.#port.report({ kind: 'granted', grant, protocolVersion: this.#protocolVersion, isSessionLost });
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

  #condemnUnsent(id: number, cursor: LaneCursor, reason: QuarantineReason): void {
    this.#ledger.condemn(id, cursor.next - 1, reason, false, this.#ledger.mayBeHeld(id));
  }

  #learnFromDeath(reason: NorthError): void {
    const { code } = reason;
    if (code === 'CLIENT_ID_TAKEN' || code === 'KEEPALIVE_TIMEOUT') return;
    const { resend } = this.#sender;
    if (code === 'ACK_OVERDUE') {
      this.#liveness.gaveUp();
      resend.unanswered();
      if (resend.needsNewSession) this.#handshake.startClean();
    } else resend.ended(code === 'BROKER_CLOSED' || code === 'CONNECTION_LOST', this.#isOverrun);
    // How many were in flight was at fault, and none of them.
    if (this.#isOverrun || this.#isExplained) return;
    if (code === 'BROKER_CLOSED' || code === 'CONNECTION_LOST') this.#learnOfMany();
    const before = this.#suspicion.narrowedTo;
    if (code === 'ACK_OVERDUE') {
      this.#suspicion.answerMissing(this.#nowMs - this.#options.ackTimeoutMs, this.#acknowledgements.answeredOrder);
    } else this.#suspicion.connectionDied(reason?.message ?? 'the broker closed the connection.');
    const { narrowedTo } = this.#suspicion;
    if (narrowedTo !== undefined && narrowedTo !== before) this.#port.report({ kind: 'narrowed', window: narrowedTo });
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

/** [MQTT 5.0 §3.14.2.1] */
const RECEIVE_MAXIMUM_EXCEEDED = 0x93;

/** Busy, shutting down, taken over, too many, moved, and the like [MQTT 5.0 §3.14.2.1]. */
const EXPLAINED: ReadonlySet<number> = new Set([0x89, 0x8b, 0x8d, 0x8e, 0x96, 0x97, 0x98, 0x9c, 0x9d, 0x9f, 0xa0]);

const QUIET_MS = 1000;
/** With so many in flight the window begins. */
const ORDINARY_INFLIGHT = 20;
const LEARNED_WINDOW_LEAST = 10;
const LEARNED_FOR_MS = 3_600_000;

function answerOf(packet: Packet): Packet | undefined {
  const messageId = packet.messageId ?? 0;
  if (packet.cmd === 'publish' && packet.qos === 1) return { cmd: 'puback', messageId };
  if (packet.cmd === 'publish' && packet.qos === 2) return { cmd: 'pubrec', messageId };
  return packet.cmd === 'pubrel' ? { cmd: 'pubcomp', messageId } : undefined;
}

/** What to call an end without a reason: before the broker has accepted us it is a refusal, afterwards a loss. */
function endOf(error: NorthError | undefined, wasUp: boolean): NorthError {
  if (error !== undefined && error.code !== 'BROKER_CLOSED') return error;
  if (wasUp) return new NorthError('CONNECTION_LOST', 'The broker closed the connection.');
  return error ?? new NorthError('BROKER_CLOSED', 'The broker closed the connection without a reason.');
}
