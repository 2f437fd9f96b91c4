/**
 * Joins a session with a socket, and keeps it joined: dials, reports, waits, dials again. One dial at a time.
 *
 * The link is where the pure session meets the world: it owns the transport, the timers and the cache's callbacks, and
 * translates between them and the session's port.
 */
import type { Cache } from '../cache/cache.js';
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { LANES, type Lane } from '../core/lane.js';
import type { Batch } from '../core/progress.js';
import type { StoredSession } from '../session/ledger.js';
import type { SessionSave } from '../session/saving.js';
import { Session, type SessionEvent, type SessionOptions } from '../session/session.js';
import type { OpenedInfo, Transport, TransportEvents } from '../transport/transport.js';
import { handshakeFailure } from './handshake-failure.js';
import type { ConnectionGrant, LinkState } from './link-state.js';
import type { Attempt, Reconnect } from './reconnect.js';
import { SessionReads } from './session-reads.js';
import { type ConnectionEnd, Takeover } from './takeover.js';
import type { Undertaking } from './upkeep.js';

/** An unknown session of the broker is wiped by a connection of its own, after which one more is opened to stay. */
const REDIALS_MAX = 2;
/** How long a DISCONNECT may take to leave before the socket is destroyed. */
const FAREWELL_MS = 1000;

export interface LinkOptions {
  session: SessionOptions;
  stored: StoredSession;
  cache: Cache;
  reconnect: Reconnect;
  connectTimeoutMs: number;
  openTransport: (attempt: Attempt, events: TransportEvents) => Transport;
  clock: Clock;
  events: LinkEvents;
}

export interface LinkEvents {
  state(state: LinkState): void;
  granted(grant: ConnectionGrant): void;
  /** A dial failed, or a connection was lost; the next dial is at `nextAtMs` of the monotonic clock. */
  ended(error: NorthError, wasUp: boolean, nextAtMs: number): void;
  session(event: Exclude<SessionEvent, { kind: 'state' | 'granted' | 'ended' }>): void;
  /** The session has stored or read something, or could not and tries again; told each time. */
  upkeep(undertaking: Undertaking, error: Error | undefined): void;
}

export class Link {
  readonly session: Session;
  state: LinkState = { name: 'stopped' };
  readonly #options: LinkOptions;
  readonly #clock: Clock;
  #transport: Transport | undefined;
  #attempt: Attempt | undefined;
  #opened: OpenedInfo | undefined;
  #wasUp = false;
  /** How the connection stood when it ended; undefined while it has not. */
  #end: ConnectionEnd | undefined;
  /** When the broker had last acknowledged anything, as this connection was accepted. */
  #acknowledgedBeforeMs: number | undefined;
  readonly #takeover: Takeover;
  readonly #reads: SessionReads;
  #isStarted = false;
  /** The stop that is under way. */
  #stopping: Promise<void> | undefined;
  /** Dials in a row that followed one another without a pause. */
  #redialsCount = 0;
  #cancelDial: (() => void) | undefined;
  #cancelTimeout: (() => void) | undefined;
  #cancelTick: (() => void) | undefined;
  #tickAtMs = Number.POSITIVE_INFINITY;
  #whenEnded: (() => void)[] = [];

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#takeover = new Takeover(options.session.clientId);
    this.#reads = new SessionReads({
      cache: options.cache,
      clock: options.clock,
      supply: (lane, fromOffset, batches) => this.#supply(lane, fromOffset, batches),
      failed: (lane, fromOffset, error) => {
        if (error !== undefined) options.events.upkeep('read', error);
        this.session.readFailed(lane, fromOffset);
      },
      resumed: () => this.session.tick(this.#now(), this.#clock.wallMs()),
    });
    this.session = new Session(options.session, options.stored, {
      write: (bytes) => this.#transport?.write(bytes) ?? false,
      close: (graceful) => this.#close(graceful),
      wakeAt: (timeMs) => this.#wakeAt(timeMs),
      read: (lane, fromOffset, sizeBytesMax) => this.#reads.ask(lane, fromOffset, sizeBytesMax),
      save: (save) => this.#save(save),
      report: (event) => this.#report(event),
    });
  }

  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    if (this.#stopping === undefined) this.#dial();
  }

  /**
   * Sends what is in flight to its end, disconnects and stores exact bounds; what is not acknowledged within the
   * deadline is sent again by the next start.
   */
  async stop(deadlineMs: number): Promise<void> {
    this.#isStarted = false;
    this.#cancelDial?.();
    this.#cancelDial = undefined;
    // Of several calls the one with the least time counts.
    const cancel = this.#clock.schedule(deadlineMs, () => this.session.close(this.#now(), this.#clock.wallMs()));
    this.#stopping ??= this.#finish();
    await this.#stopping;
    cancel();
  }

  async #finish(): Promise<void> {
    const { session } = this;
    if (this.#transport !== undefined) {
      if (session.state === 'offline') this.#abandon();
      else {
        const ended = new Promise<void>((resolve) => this.#whenEnded.push(resolve));
        session.drain(this.#now(), this.#clock.wallMs());
        await ended;
      }
    }
    if (this.state.name !== 'stopped') this.#setState({ name: 'stopped' });
    await this.#settleAccounts();
    this.#reads.release();
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#tickAtMs = Number.POSITIVE_INFINITY;
    this.#stopping = undefined;
    // A start that came meanwhile.
    if (this.#isStarted) this.#dial();
  }

  offered(lane: Lane, end: number, batches: readonly Batch[]): void {
    this.session.offered(lane, end, batches, this.#now(), this.#clock.wallMs());
  }

  #now(): number {
    return this.#clock.monotonicMs();
  }

  #dial(): void {
    const attempt = this.#options.reconnect.begin(this.#now());
    this.#attempt = attempt;
    this.#opened = undefined;
    this.#wasUp = false;
    this.#end = undefined;
    this.#setState({ name: 'dialing', broker: attempt.broker.display });
    const startMs = this.#now();
    let transport: Transport | undefined;
    // A transport that was given up says nothing more, so that `transport` need not be compared for its own events.
    transport = this.#options.openTransport(attempt, {
      opened: (info) => {
        this.#opened = info;
        this.#limitHandshake(startMs);
        this.#setState({ name: 'handshaking', broker: attempt.broker.display });
        this.session.connected(sessionBroker(attempt), attempt.protocolVersion, this.#now());
      },
      received: (bytes) => this.session.received(bytes, this.#now(), this.#clock.wallMs()),
      drained: () => this.session.drained(this.#now(), this.#clock.wallMs()),
      closed: (error) => this.#closed(transport, error),
    });
    this.#transport = transport;
  }

  /** The connect timeout counts from dialling; up to here the transport has kept it. */
  #limitHandshake(startMs: number): void {
    const timeoutMs = this.#options.connectTimeoutMs;
    this.#cancelTimeout = this.#clock.schedule(Math.max(0, startMs + timeoutMs - this.#now()), () => {
      this.#cancelTimeout = undefined;
      const text = `The broker did not answer within ${timeoutMs} ms: the connection is open, but no CONNACK came.`;
      const transport = this.#transport;
      transport?.destroy();
      this.#closed(transport, new NorthError('BROKER_TIMEOUT', text));
    });
  }

  #closed(transport: Transport | undefined, error: NorthError | undefined): void {
    if (transport !== this.#transport) return;
    this.#transport = undefined;
    this.#cancelTimeout?.();
    this.#cancelTimeout = undefined;
    if (this.session.state === 'offline') {
      this.#ended(error ?? new NorthError('BROKER_CLOSED', 'The broker closed the connection at once.'));
      return;
    }
    const reason = this.session.state === 'handshaking' ? handshakeFailure(error) : error;
    this.#end = this.#endOf(error);
    this.session.disconnected(reason, this.#now(), this.#clock.wallMs());
  }

  #close(graceful: boolean): void {
    const transport = this.#transport;
    if (transport === undefined) return;
    if (graceful) {
      transport.end();
      const cancel = this.#clock.schedule(FAREWELL_MS, () => {
        transport.destroy();
        this.#closed(transport, undefined);
      });
      this.#whenEnded.push(cancel);
      return;
    }
    transport.destroy();
    // The session is in the middle of a turn here and is told afterwards.
    queueMicrotask(() => this.#closed(transport, undefined));
  }

  #abandon(): void {
    this.#transport?.destroy();
    this.#transport = undefined;
    this.#cancelTimeout?.();
    this.#cancelTimeout = undefined;
  }

  /** An attempt or a connection is over; `error` is undefined when we ended it on purpose. */
  #ended(error: NorthError | undefined, redialsAtOnce = false): void {
    const attempt = this.#attempt;
    for (const tell of this.#whenEnded.splice(0)) tell();
    if (!this.#isStarted || this.#stopping !== undefined || attempt === undefined) return;
    if (redialsAtOnce && this.#redialsCount < REDIALS_MAX) {
      this.#redialsCount++;
      this.#dial();
      return;
    }
    this.#redialsCount = 0;
    const nowMs = this.#now();
    const ended = error ?? new NorthError('CONNECTION_LOST', 'The connection was ended.');
    const cause = this.#causeOf(ended, nowMs);
    const { reconnect } = this.#options;
    if (!this.#wasUp && reconnect.fallsBack(attempt, cause.code)) {
      this.#dial();
      return;
    }
    const isSearching = this.session.narrowedTo !== undefined;
    const nextAtMs = this.#wasUp ? reconnect.lost(cause.code, nowMs, isSearching) : reconnect.failed(cause.code, nowMs);
    this.#setState({ name: 'waiting', broker: attempt.broker.display, error: cause, nextAtMs });
    this.#options.events.ended(cause, this.#wasUp, nextAtMs);
    this.#cancelDial = this.#clock.schedule(nextAtMs - nowMs, () => {
      this.#cancelDial = undefined;
      this.#dial();
    });
  }

  #causeOf(error: NorthError, nowMs: number): NorthError {
    if (!this.#wasUp) this.#takeover.dialFailed();
    return this.#end === undefined || !this.#wasUp ? error : this.#takeover.ended(error, this.#end, nowMs);
  }

  #endOf(error: NorthError | undefined): ConnectionEnd {
    const { session } = this;
    const hasAcknowledged = session.lastAcknowledgedAtMs !== this.#acknowledgedBeforeMs;
    const unsettled = LANES.map((lane) => {
      const { head, next } = session.cursorOf(lane);
      return { lane, from: head, to: next };
    });
    return {
      isClosedByBroker: error?.code === 'BROKER_CLOSED',
      isIdle: session.isIdle,
      isAnswered: hasAcknowledged && session.isHeard,
      unsettled: unsettled.filter(({ from, to }) => from < to),
    };
  }

  #report(event: SessionEvent): void {
    const attempt = this.#attempt;
    switch (event.kind) {
      case 'state':
        if (event.state === 'recovering' || event.state === 'online' || event.state === 'draining') {
          this.#setState({ name: event.state, broker: attempt?.broker.display ?? '' });
        }
        return;
      case 'granted':
        if (attempt === undefined) return;
        this.#wasUp = true;
        this.#redialsCount = 0;
        this.#cancelTimeout?.();
        this.#cancelTimeout = undefined;
        this.#options.reconnect.succeeded(attempt);
        this.#takeover.accepted(this.#now());
        this.#acknowledgedBeforeMs = this.session.lastAcknowledgedAtMs;
        this.#options.events.granted({ ...event, attempt, opened: this.#opened });
        return;
      case 'ended':
        this.#ended(event.error, event.redialsAtOnce);
        return;
      default:
        this.#options.events.session(event);
    }
  }

  #setState(state: LinkState): void {
    this.state = state;
    this.#options.events.state(state);
  }

  #wakeAt(timeMs: number | undefined): void {
    // A tick too early does no harm, so that a timer is only replaced by an earlier one.
    if (timeMs === undefined || timeMs >= this.#tickAtMs) return;
    this.#cancelTick?.();
    this.#tickAtMs = timeMs;
    this.#cancelTick = this.#clock.schedule(Math.max(0, timeMs - this.#now()), () => {
      this.#cancelTick = undefined;
      this.#tickAtMs = Number.POSITIVE_INFINITY;
      this.session.tick(this.#now(), this.#clock.wallMs());
    });
  }

  #supply(lane: Lane, fromOffset: number, batches: readonly Batch[]): void {
    this.#options.events.upkeep('read', undefined);
    this.session.supply(lane, fromOffset, batches, this.#now(), this.#clock.wallMs());
  }

  #save(save: SessionSave): void {
    this.#options.cache.save({ ...save, atMs: this.#clock.wallMs() }, (error) => {
      this.#options.events.upkeep('save', error);
      this.session.saved(error === undefined, this.#now(), this.#clock.wallMs());
      if (error !== undefined || !this.session.hasUnsaved) for (const tell of this.#whenSaved.splice(0)) tell();
    });
  }

  #whenSaved: (() => void)[] = [];

  /** Resolves when nothing lags behind, or when storing fails: what is not stored is sent again by the next start. */
  async #settleAccounts(): Promise<void> {
    this.session.settleAccounts(this.#now());
    if (!this.session.hasUnsaved) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.schedule(SETTLE_DEADLINE_MS, resolve);
      this.#whenSaved.push(() => {
        cancel();
        resolve();
      });
    });
  }
}

const SETTLE_DEADLINE_MS = 5000;

/** Names the broker whose memory the session is in. The version does not belong to it: brokers keep a session over it. */
function sessionBroker(attempt: Attempt): string {
  return `${attempt.broker.host}:${attempt.broker.port}${attempt.broker.path}`;
}
