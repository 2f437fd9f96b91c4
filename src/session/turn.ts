/**
 * One look at everything: what is overdue, what may be sent and stored now, and when to look again. A session takes a turn
 * after everything that could have changed any of this; one too many does no harm.
 */
import type { NorthError } from '../core/error.js';
import type { SessionIdentity } from '../core/progress.js';
import { PINGREQ } from '../wire/control-packets.js';
import type { OldestSent } from './liveness.js';
import type { SessionParts } from './parts.js';
import type { Allowed, ConnectionTerms } from './sender.js';
import type { SessionState } from './state.js';

/** At the least so many settlements may lag; beyond that, what two windows hold. */
const LAZY_COUNT_LEAST = 256;

/** What a CONNACK has brought. */
export interface Beginning {
  terms: ConnectionTerms;
  /** Whose session a new one is; null: nobody's, because it does not last. */
  identity: SessionIdentity | null;
  keepaliveSeconds: number;
  isSessionKept: boolean;
}

export class Turn {
  readonly #parts: SessionParts;
  /** Before this time no acknowledgement is missed, so that the oldest message need not be looked for. */
  #lookAtMs = 0;
  #oldest: OldestSent | undefined;
  #deferredDueMs: number | undefined;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  /** The broker has accepted us. */
  begin({ terms, identity, keepaliveSeconds, isSessionKept }: Beginning, nowMs: number): void {
    const { ledger, sender, liveness, acknowledgements, experience } = this.#parts;
    this.#lookAtMs = 0;
    this.#oldest = undefined;
    this.#deferredDueMs = undefined;
    liveness.setKeepalive(keepaliveSeconds * 1000);
    acknowledgements.begin(nowMs);
    experience.granted(terms.window, nowMs);
    sender.begin(terms, isSessionKept, nowMs);
    ledger.resume(isSessionKept);
    // Nothing may be published in a new session before it is on disk that the old one is gone: after a crash its PUBRECs
    // would otherwise be taken for those of the new one.
    if (!isSessionKept && (identity !== null || ledger.saving.identity !== undefined)) {
      ledger.saving.changeIdentity(identity);
    }
    ledger.saving.urge();
  }

  /** Why the connection has to be ended, or undefined. */
  overdue(nowMs: number): NorthError | undefined {
    const { ledger, liveness, acknowledgements } = this.#parts;
    this.#oldest = undefined;
    if (nowMs >= this.#lookAtMs) {
      const oldest = ledger.oldestSent(acknowledgements.answered);
      this.#oldest = liveness.firstDue(oldest);
      this.#lookAtMs =
        oldest.reduce((leastMs, { sentMs }) => Math.min(leastMs, sentMs), nowMs) + liveness.patienceLeastMs;
    }
    return liveness.overdue(nowMs, this.#oldest);
  }

  /** Sends and stores what is possible now. */
  go(state: SessionState, terms: ConnectionTerms, nowMs: number, wallMs: number): void {
    const { ledger, sender, liveness, experience } = this.#parts;
    const wasResending = sender.resend.isUnderWay;
    // What the broker has refused waits for the new session, too, when this one is to be given up.
    const mayRetry = !wasResending && !ledger.openExchanges.isWithheld;
    this.#deferredDueMs = mayRetry ? ledger.recall(nowMs) : undefined;
    ledger.saving.lazyCountMax = Math.max(LAZY_COUNT_LEAST, terms.window.size * 2);
    sender.narrowedTo = experience.suspicion.narrowedTo;
    // Nothing is published before it is stored whose session it is.
    if (!ledger.saving.isIdentityDue) {
      sender.pump(terms, nowMs, wallMs, this.#allowedIn(state, nowMs));
      if (wasResending && !sender.resend.isUnderWay && ledger.deferred.length > 0) this.#deferredDueMs = nowMs;
    }
    ledger.saveDue(nowMs);
    if (sender.output.isWritable && liveness.isPingDue(nowMs, sender.output.writtenAtMs, this.#oldest)) {
      liveness.pingSent(nowMs);
      sender.output.write(PINGREQ, nowMs);
    }
    liveness.setWritable(sender.output.isWritable, nowMs);
  }

  /** Everything that was in doubt at the beginning of the connection has been sent again. */
  get isRecovered(): boolean {
    const { ledger, sender } = this.#parts;
    if (ledger.saving.isIdentityDue || ledger.releasable.length > 0) return false;
    // What is in doubt of an older session, or was refused, waits for the next one when this one is to be given up.
    if (ledger.openExchanges.isWithheld) return !sender.resend.isUnderWay;
    for (const { next, end, resendHigh, doubtHigh } of ledger.cursors) {
      if (next < Math.min(end, Math.max(resendHigh, doubtHigh))) return false;
    }
    return true;
  }

  /** When to look again although nothing has happened; undefined: not by time. */
  wakeMs(isConnected: boolean, nowMs: number): number | undefined {
    const { ledger, sender, liveness, experience } = this.#parts;
    let next = ledger.saving.dueMs ?? Number.POSITIVE_INFINITY;
    if (isConnected) {
      next = Math.min(next, this.#deferredDueMs ?? next, sender.resumeAtMs ?? next);
      if (nowMs < experience.quietUntilMs) next = Math.min(next, experience.quietUntilMs);
      if (sender.isTurnFull) next = Math.min(next, nowMs);
      next = Math.min(next, this.#exchangesEndMs(nowMs) ?? next);
      if (ledger.inflight > 0 && this.#oldest === undefined) next = Math.min(next, this.#lookAtMs);
      next = Math.min(next, liveness.nextMs(sender.output.writtenAtMs, this.#oldest));
    }
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  /** Until when publishing waits for exchanges that are left open: only while a search is on. */
  #exchangesEndMs(nowMs: number): number | undefined {
    const { ledger, experience } = this.#parts;
    if (experience.suspicion.narrowedTo === undefined) return undefined;
    return ledger.openExchanges.pendingUntilMs(nowMs);
  }

  #allowedIn(state: SessionState, nowMs: number): Allowed {
    if (nowMs < this.#parts.experience.quietUntilMs) return 'nothing';
    if (state === 'draining' || this.#exchangesEndMs(nowMs) !== undefined) return 'PUBRELs';
    return this.#parts.ledger.openExchanges.isWithheld ? 're-sends' : 'all';
  }
}
