/**
 * From a host's name to one TCP connection, by whichever of its addresses answers first (RFC 8305).
 *
 * Node.js can do this by itself, but it gives up an address after a quarter of a second when there is another one. A
 * broker behind a satellite link, whose name has a dead IPv6 address, would never be reached. Here the next address is
 * tried beside the others, and every attempt goes on until one has won.
 */
import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { connect, isIP, type Socket } from 'node:net';
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { dialError, lookupError } from './connection-error.js';

/** Resolves a name to all its addresses, the preferred one first. */
export type Lookup = (host: string, answer: (error: Error | null, addresses: readonly LookupAddress[]) => void) => void;

export interface DialOptions {
  host: string;
  port: number;
  lookup?: Lookup | undefined;
  clock: Clock;
}

export interface DialEvents {
  /** The name is resolved, and the first address is being dialled. */
  resolved(): void;
  connected(socket: Socket, times: { lookupMs: number; dialMs: number }): void;
  failed(error: NorthError): void;
}

/** The recommended "Connection Attempt Delay" [RFC 8305, section 5]. */
const NEXT_ATTEMPT_MS = 250;
const KEEPALIVE_IDLE_MS = 30_000;

const allAddresses: Lookup = (host, answer) => systemLookup(host, { all: true, verbatim: true }, answer);

/**
 * Gives exactly one of `connected` and `failed`, never before it has returned. The returned function gives the dial up:
 * it closes what is open and prevents every further event.
 */
export function dial(options: DialOptions, events: DialEvents): () => void {
  const run = new Dial(options, events);
  run.begin();
  return () => run.cancel();
}

class Dial {
  readonly #options: DialOptions;
  readonly #events: DialEvents;
  readonly #startMs: number;
  readonly #attempts = new Set<Socket>();
  readonly #errors: NorthError[] = [];
  #addresses: LookupAddress[] = [];
  #lookupMs = 0;
  #cancelTimer: (() => void) | undefined;
  #isOver = false;

  constructor(options: DialOptions, events: DialEvents) {
    this.#options = options;
    this.#events = events;
    this.#startMs = options.clock.monotonicMs();
  }

  begin(): void {
    const { host, lookup = allAddresses } = this.#options;
    const family = isIP(host);
    if (family !== 0) {
      queueMicrotask(() => this.#resolved([{ address: host, family }]));
      return;
    }
    const answer = (error: unknown, addresses: readonly LookupAddress[]) => {
      queueMicrotask(() => {
        if (this.#isOver) return;
        if (error !== null || addresses.length === 0) this.#fail(lookupError(error, host));
        else this.#resolved(interleave(addresses));
      });
    };
    try {
      lookup(host, answer);
    } catch (error) {
      // A name that no resolver would take is refused by an exception and not by the callback.
      answer(error, []);
    }
  }

  cancel(): void {
    this.#isOver = true;
    this.#cancelTimer?.();
    for (const socket of this.#attempts) socket.destroy();
    this.#attempts.clear();
  }

  #resolved(addresses: LookupAddress[]): void {
    if (this.#isOver) return;
    this.#addresses = addresses;
    this.#lookupMs = this.#options.clock.monotonicMs() - this.#startMs;
    this.#events.resolved();
    if (!this.#isOver) this.#tryNext();
  }

  #tryNext(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const next = this.#addresses.shift();
    if (next === undefined) {
      if (this.#attempts.size === 0) this.#fail(mostTelling(this.#errors));
      return;
    }
    this.#try(next);
    if (this.#addresses.length > 0) {
      this.#cancelTimer = this.#options.clock.schedule(NEXT_ATTEMPT_MS, () => this.#tryNext());
    }
  }

  #try({ address, family }: LookupAddress): void {
    const { port, clock } = this.#options;
    let socket: Socket;
    try {
      socket = connect({
        host: address,
        port,
        family,
        autoSelectFamily: false,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEPALIVE_IDLE_MS,
      });
    } catch (error) {
      this.#errors.push(dialError(error, address, port));
      this.#tryNext();
      return;
    }
    this.#attempts.add(socket);
    const fail = (error: unknown) => {
      // An error that comes after the dial is over belongs to a socket that is closed already.
      if (!this.#attempts.delete(socket) || this.#isOver) return;
      this.#errors.push(dialError(error, address, port));
      this.#tryNext();
    };
    socket.on('error', fail);
    socket.once('connect', () => {
      if (this.#isOver) return;
      if (isConnectedToItself(socket)) {
        socket.destroy();
        fail(Object.assign(new Error('The port is not open'), { code: 'ECONNREFUSED' }));
        return;
      }
      this.#attempts.delete(socket);
      this.cancel();
      const dialMs = clock.monotonicMs() - this.#startMs - this.#lookupMs;
      this.#events.connected(socket, { lookupMs: this.#lookupMs, dialMs });
    });
  }

  #fail(error: NorthError): void {
    if (this.#isOver) return;
    this.cancel();
    this.#events.failed(error);
  }
}

/** Alternates between the families, beginning with that of the preferred address [RFC 8305, section 4]. */
function interleave(addresses: readonly LookupAddress[]): LookupAddress[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family);
  const second = addresses.filter(({ family }) => family !== addresses[0]?.family);
  const mixed: LookupAddress[] = [];
  for (let index = 0; index < Math.max(first.length, second.length); index++) {
    mixed.push(...first.slice(index, index + 1), ...second.slice(index, index + 1));
  }
  return mixed;
}

/**
 * Whoever dials a closed port of his own machine often enough is once given that very port as his own, and TCP
 * connects him to himself (simultaneous open). That would also keep the broker from opening its port again.
 */
export function isConnectedToItself(socket: Socket): boolean {
  return socket.localPort === socket.remotePort && socket.localAddress === socket.remoteAddress;
}

/** A machine that answers tells more than a way that does not exist; all addresses are named. */
function mostTelling(errors: readonly NorthError[]): NorthError {
  const order = ['BROKER_REFUSED', 'BROKER_CLOSED', 'BROKER_TIMEOUT', 'BROKER_UNREACHABLE'];
  const rank = ({ code }: NorthError) => (order.indexOf(code) + order.length + 1) % (order.length + 1);
  const [first, ...rest] = errors.toSorted((one, other) => rank(one) - rank(other));
  if (first === undefined) throw new NorthError('INTERNAL', 'A dial failed without an attempt.');
  if (rest.length === 0) return first;
  const message = [first, ...rest].map((error) => error.message.replace(/\.$/, '')).join('; ');
  return new NorthError(first.code, `${message}.`, { remedy: first.remedy, cause: first });
}
