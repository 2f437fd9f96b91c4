/**
 * What a session learns from how its connections end: whether a message is to blame, whether it was too much at once, or
 * whether nothing is to be learned from it.
 */
import type { NorthError } from '../core/error.js';
import type { Acknowledgements } from './acknowledgement.js';
import type { Ledger } from './ledger.js';
import type { Liveness } from './liveness.js';
import type { Resend } from './resend.js';
import { Suspicion } from './suspicion.js';
import type { Window } from './window.js';

/** Reason codes of a DISCONNECT [MQTT 5.0 §3.14.2.1]. */
const RECEIVE_MAXIMUM_EXCEEDED = 0x93;
/** Busy, shutting down, taken over, too many, moved, and the like: they are about none of the messages. */
const ABOUT_NO_MESSAGE: ReadonlySet<number> = new Set([
  0x89, 0x8b, 0x8d, 0x8e, 0x96, 0x97, 0x98, 0x9c, 0x9d, 0x9f, 0xa0,
]);

/** How long a connection has to live without the suspect before that is sent. */
const QUIET_MS = 1000;
/** With so many in flight the window begins. */
const ORDINARY_INFLIGHT = 20;
const LEARNED_WINDOW_LEAST = 10;
const LEARNED_FOR_MS = 3_600_000;
/** So often what is in flight may keep a session from being given up in order: one of it may never be answered. */
const WITHHELD_DEATHS_MAX = 3;

export interface ExperienceOptions {
  ledger: Ledger;
  resend: Resend;
  liveness: Liveness;
  acknowledgements: Acknowledgements;
  ackTimeoutMs: number;
  /** A message is being looked for, with so many in flight at a time. */
  narrowed: (window: number) => void;
  /** The broker seems to close at every message of QoS 2. */
  qos2Refused: () => void;
}

export class Experience {
  readonly suspicion: Suspicion;
  readonly #options: ExperienceOptions;
  #protocolVersion: 4 | 5 = 5;
  /** The broker has said why it ends the connection. */
  #reasonCode: number | undefined;
  #grantedMs = 0;
  /** How much had been acknowledged when the connection began. */
  #countBefore = 0;
  #window: Window | undefined;
  /** Connections that ended while exchanges were withheld, because of something in flight that nothing could be done about. */
  #withheldDeaths = 0;
  /** Connections that died under more than an ordinary number of messages. */
  #deathsUnderMany = 0;
  /** What a broker that announces nothing was seen to bear; and when that was. */
  #learned = { windowMax: Number.POSITIVE_INFINITY, atMs: 0 };

  constructor(options: ExperienceOptions) {
    this.#options = options;
    this.suspicion = new Suspicion(options.ledger);
  }

  begin(protocolVersion: 4 | 5): void {
    this.#protocolVersion = protocolVersion;
    this.#reasonCode = undefined;
    this.#window = undefined;
  }

  granted(window: Window, nowMs: number): void {
    this.#grantedMs = nowMs;
    this.#countBefore = this.#options.acknowledgements.count;
    this.#window = window;
    if (this.suspicion.wantsQuiet) this.#options.liveness.prove();
    if (this.#protocolVersion === 4) window.limitTo(this.#bearableMax(nowMs));
  }

  /** The broker's session is to be given up, at the price that what is in doubt may arrive twice. */
  get needsNewSession(): boolean {
    return this.#options.resend.needsNewSession || this.#withheldDeaths >= WITHHELD_DEATHS_MAX;
  }

  /** The broker ends the connection with this reason. */
  told(reasonCode: number): void {
    this.#reasonCode = reasonCode;
  }

  /**
   * Until when the connection has to show that it lives without the suspect: for a while, and by answering a ping, since a
   * broker that answers nothing at all would be silent after every message.
   */
  get quietUntilMs(): number {
    if (!this.suspicion.wantsQuiet) return 0;
    return this.#options.liveness.isProven ? this.#grantedMs + QUIET_MS : Number.POSITIVE_INFINITY;
  }

  /** A connection that had been online has ended. */
  died(reason: NorthError, nowMs: number): void {
    const { code } = reason;
    if (code === 'CLIENT_ID_TAKEN') return;
    const { ledger, resend, liveness, acknowledgements, ackTimeoutMs } = this.#options;
    const { isWithheld, isUnbearable } = ledger.openExchanges;
    // As long as anything of the rest gets done, it is waited for: it would go to quarantine, or out once more.
    const hasProgressed = acknowledgements.count > this.#countBefore;
    if (!isWithheld) this.#withheldDeaths = 0;
    else if (!hasProgressed && (isUnbearable || code === 'ACK_OVERDUE')) this.#withheldDeaths++;
    if (isUnbearable && this.#withheldDeaths >= WITHHELD_DEATHS_MAX) this.suspicion.condemnReleased();
    const isOverrun = this.#reasonCode === RECEIVE_MAXIMUM_EXCEEDED;
    const isByBroker = code === 'BROKER_CLOSED' || code === 'CONNECTION_LOST';
    if (code === 'ACK_OVERDUE' || code === 'KEEPALIVE_TIMEOUT') liveness.gaveUp();
    if (code === 'ACK_OVERDUE') resend.unanswered();
    else if (code !== 'KEEPALIVE_TIMEOUT') resend.ended(isByBroker, isOverrun);
    // How many were in flight was at fault, and none of them.
    if (isOverrun || (this.#reasonCode !== undefined && ABOUT_NO_MESSAGE.has(this.#reasonCode))) return;
    if (isByBroker) this.#learnOfMany(nowMs);
    const before = this.suspicion.narrowedTo;
    if (code === 'ACK_OVERDUE') {
      this.suspicion.answerMissing(nowMs - ackTimeoutMs, acknowledgements.answered);
    } else {
      if (ledger.unansweredCount === 0) ledger.openExchanges.connectionDied();
      const isQos2Known = this.#protocolVersion === 5 || acknowledgements.isQos2Proven;
      const isRefusal = this.suspicion.connectionDied(reason.message, isByBroker, isQos2Known);
      if (isRefusal) this.#options.qos2Refused();
    }
    const { narrowedTo } = this.suspicion;
    if (narrowedTo !== undefined && narrowedTo !== before) this.#options.narrowed(narrowedTo);
  }

  /** Something was acknowledged. */
  passed(nowMs: number): void {
    this.suspicion.passed();
    this.#options.resend.answered();
    this.review(nowMs);
  }

  /** Something is done, so that perhaps all suspects are. */
  review(nowMs: number): void {
    const tooMany = this.suspicion.review();
    if (tooMany === undefined || this.#protocolVersion === 5) return;
    // No message was to blame: there were too many of them at once, and a 3.1.1 broker cannot say so.
    this.#learn(Math.max(LEARNED_WINDOW_LEAST, Math.floor(tooMany / 2)), nowMs);
  }

  /** A 3.1.1 broker that closes again and again under many messages may take fewer: nothing but our growth was different. */
  #learnOfMany(nowMs: number): void {
    const { inflight } = this.#options.ledger;
    if (this.#protocolVersion === 5 || inflight <= ORDINARY_INFLIGHT) return;
    if (++this.#deathsUnderMany < 2) return;
    this.#deathsUnderMany = 0;
    this.#learn(Math.max(ORDINARY_INFLIGHT, Math.floor(inflight * 0.75)), nowMs);
  }

  #learn(windowMax: number, nowMs: number): void {
    this.#learned = { windowMax: Math.min(windowMax, this.#bearableMax(nowMs)), atMs: nowMs };
    this.#window?.limitTo(this.#learned.windowMax);
  }

  /** It may have been the line: what was learned is doubted more with every hour. */
  #bearableMax(nowMs: number): number {
    return this.#learned.windowMax * 2 ** Math.floor((nowMs - this.#learned.atMs) / LEARNED_FOR_MS);
  }
}
