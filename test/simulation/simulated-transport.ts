/** The transport of the product over a link of a world: dialling takes its time, fails, or never comes to an end. */
import { NorthError } from '../../src/core/error.js';
import type { Transport, TransportEvents } from '../../src/transport/transport.js';
import type { LinkEnding, ModelLink } from './model-link.js';
import type { Timeline } from './timeline.js';

export interface DialFate {
  delayMs: number;
  outcome: 'opens' | 'refused' | 'silent';
}

export interface TransportParts {
  timeline: Timeline;
  connectTimeoutMs: number;
  fate: DialFate;
  /** Gives the connection to a broker that is up, or undefined when it is not. */
  open: () => ModelLink | undefined;
  /** Told before the connector is. */
  wrote: (bytes: Uint8Array) => void;
  reached: (link: ModelLink, bytes: Uint8Array) => void;
  ended: () => void;
  /** Of what was written, so many bytes still arrive when the connection is given up. */
  arrivingSizeBytes: () => number;
  /** False when the process has ended. */
  isAlive: () => boolean;
}

export class SimulatedTransport implements Transport {
  link: ModelLink | undefined;
  readonly bufferedSizeBytes = 0;
  readonly #parts: TransportParts;
  readonly #events: TransportEvents;
  #phase: 'dialing' | 'open' | 'ending' | 'closed' = 'dialing';

  constructor(parts: TransportParts, events: TransportEvents) {
    this.#parts = parts;
    this.#events = events;
    const { timeline, fate, connectTimeoutMs } = parts;
    const isLate = fate.outcome === 'silent' || fate.delayMs >= connectTimeoutMs;
    timeline.after(isLate ? connectTimeoutMs : fate.delayMs, () => {
      if (this.#phase !== 'dialing' || !parts.isAlive()) return;
      if (isLate) this.#close(new NorthError('BROKER_TIMEOUT', 'The broker did not answer.'));
      else this.#dialed();
    });
  }

  #dialed(): void {
    const { fate, open } = this.#parts;
    const link = fate.outcome === 'refused' ? undefined : open();
    if (link === undefined) {
      this.#close(new NorthError('BROKER_REFUSED', 'The broker refused the connection.'));
      return;
    }
    this.link = link;
    this.#phase = 'open';
    link.join('client', {
      received: (bytes) => {
        if (this.#phase !== 'open') return;
        this.#parts.reached(link, bytes);
        this.#events.received(bytes);
      },
      drained: () => {
        if (this.#phase === 'open') this.#events.drained();
      },
      closed: (how) => this.#ended(how),
    });
    this.#events.opened({
      localAddress: '192.0.2.1:50000',
      remoteAddress: '192.0.2.2:1883',
      lookupMs: 0,
      dialMs: fate.delayMs,
      handshakeMs: 0,
      upgradeMs: 0,
    });
  }

  write(bytes: Uint8Array): boolean {
    if (this.#phase === 'dialing') throw new Error('Bytes were written to a transport that is still dialling.');
    if (this.#phase !== 'open' || this.link === undefined || !this.#parts.isAlive()) return false;
    this.#parts.wrote(bytes);
    return this.link.write('client', bytes);
  }

  end(): void {
    if (this.#phase !== 'open') return;
    this.#phase = 'ending';
    this.link?.end('client');
    // It is told of the end by the link; the other side hears nothing more that we would say.
  }

  destroy(): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.link?.abort('client', this.#parts.arrivingSizeBytes());
    this.#parts.ended();
  }

  #ended(how: LinkEnding): void {
    if (this.#phase === 'ending') this.#close(undefined);
    else if (how === 'ended') this.#close(new NorthError('BROKER_CLOSED', 'The broker closed the connection.'));
    else this.#close(new NorthError('CONNECTION_LOST', 'The connection was torn.'));
  }

  #close(error: NorthError | undefined): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    if (!this.#parts.isAlive()) return;
    this.#parts.ended();
    this.#events.closed(error);
  }
}
