/**
 * One connection between a client and a broker, byte by byte: latency, pieces of any size, a full buffer, and a cut
 * after an exact number of bytes in one direction. What was under way when it is cut is lost.
 */
import type { Random } from './random.js';
import type { Timeline } from './timeline.js';

export interface LinkEnd {
  received(bytes: Buffer): void;
  drained(): void;
  /** The other end is gone, and this one has noticed. Called at most once. */
  closed(): void;
}

export interface LinkOptions {
  timeline: Timeline;
  random: Random;
  latencyMs: number;
  /** Bytes under way to the broker above which a write says that it is enough. */
  bufferSizeMax: number;
  /** After so many bytes to the broker, or to the client, the connection is cut. */
  cutToBroker: number | undefined;
  cutToClient: number | undefined;
  /** How long after a cut each end notices; undefined: it never does. */
  clientNoticeMs: number | undefined;
  brokerNoticeMs: number | undefined;
}

type Side = 'client' | 'broker';

interface Direction {
  to: Side;
  /** Bytes that may still arrive before the cut. */
  budget: number;
  arrivedSizeBytes: number;
  underWaySizeBytes: number;
  lastArrivalMs: number;
}

export class ModelLink {
  /** While true, nothing arrives at either end; it arrives late. */
  isStalled = false;
  isCut = false;
  #ends: Record<Side, LinkEnd | undefined> = { client: undefined, broker: undefined };
  readonly #directions: Record<Side, Direction>;
  readonly #options: LinkOptions;
  #isFull = false;
  #held: (() => void)[] = [];

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#directions = {
      broker: newDirection('broker', options.cutToBroker),
      client: newDirection('client', options.cutToClient),
    };
  }

  join(side: Side, end: LinkEnd): void {
    this.#ends[side] = end;
  }

  /** Bytes that have arrived at this side so far. */
  arrivedAt(side: Side): number {
    return this.#directions[side].arrivedSizeBytes;
  }

  /** Gives false when the buffer is full; `drained` tells when it is empty again. */
  write(from: Side, bytes: Uint8Array): boolean {
    const direction = this.#directions[from === 'client' ? 'broker' : 'client'];
    if (this.isCut) return true;
    const { timeline, latencyMs, bufferSizeMax } = this.#options;
    const copy = Buffer.from(bytes);
    direction.underWaySizeBytes += copy.length;
    direction.lastArrivalMs = Math.max(direction.lastArrivalMs, timeline.nowMs + latencyMs);
    timeline.after(direction.lastArrivalMs - timeline.nowMs, () => this.#arrive(direction, copy));
    if (from === 'client' && direction.underWaySizeBytes > bufferSizeMax) {
      this.#isFull = true;
      return false;
    }
    return true;
  }

  /** One side ends the connection in order: what it has written arrives, what was on its way to it does not. */
  end(side: Side): void {
    const direction = this.#directions[side === 'client' ? 'broker' : 'client'];
    const end = this.#ends[side];
    this.#ends[side] = undefined;
    const { timeline } = this.#options;
    // What is stalled does not arrive after the connection is closed: a later connection would otherwise be overtaken by
    // an earlier one, which no broker can tell from a client that connects anew.
    if (this.isStalled) this.cut();
    timeline.after(Math.max(direction.lastArrivalMs - timeline.nowMs, 0), () => this.#deliver(() => this.#finish()));
    // The one who ends it is told, too, but never from inside of its own call.
    timeline.after(0, () => end?.closed());
  }

  /** One side is gone from one moment to the next. Of what it has written, so many bytes still arrive at most. */
  abort(side: Side, arrivingSizeBytes: number): void {
    const direction = this.#directions[side === 'client' ? 'broker' : 'client'];
    this.#ends[side] = undefined;
    direction.budget = Math.min(direction.budget, direction.arrivedSizeBytes + arrivingSizeBytes);
    if (arrivingSizeBytes === 0 || this.isStalled || direction.underWaySizeBytes === 0) this.cut();
    else {
      const { timeline } = this.#options;
      timeline.after(Math.max(direction.lastArrivalMs - timeline.nowMs, 0), () => this.#deliver(() => this.cut()));
    }
  }

  cut(): void {
    if (this.isCut) return;
    this.isCut = true;
    const { timeline, clientNoticeMs, brokerNoticeMs } = this.#options;
    if (clientNoticeMs !== undefined) timeline.after(clientNoticeMs, () => this.#close('client'));
    if (brokerNoticeMs !== undefined) timeline.after(brokerNoticeMs, () => this.#close('broker'));
  }

  /** The cut that was planned does not come. */
  heal(): void {
    this.#directions.broker.budget = Number.POSITIVE_INFINITY;
    this.#directions.client.budget = Number.POSITIVE_INFINITY;
  }

  /** Lets arrive what was held back. */
  resume(): void {
    this.isStalled = false;
    for (const action of this.#held.splice(0)) action();
  }

  #arrive(direction: Direction, bytes: Buffer): void {
    this.#deliver(() => {
      direction.underWaySizeBytes -= bytes.length;
      const size = Math.min(bytes.length, direction.budget - direction.arrivedSizeBytes);
      let at = 0;
      while (at < size && !this.isCut) {
        const piece = this.#options.random.chance(0.8) ? size - at : this.#options.random.between(1, size - at);
        direction.arrivedSizeBytes += piece;
        this.#ends[direction.to]?.received(bytes.subarray(at, at + piece));
        at += piece;
      }
      if (direction.arrivedSizeBytes >= direction.budget) this.cut();
      if (direction.to === 'broker' && direction.underWaySizeBytes === 0 && this.#isFull) {
        this.#isFull = false;
        if (!this.isCut) this.#ends.client?.drained();
      }
    });
  }

  #deliver(action: () => void): void {
    if (this.isStalled) this.#held.push(() => this.#deliver(action));
    else if (!this.isCut) action();
  }

  #finish(): void {
    this.isCut = true;
    this.#close('client');
    this.#close('broker');
  }

  #close(side: Side): void {
    const end = this.#ends[side];
    this.#ends[side] = undefined;
    end?.closed();
  }
}

function newDirection(to: Side, cutAfter: number | undefined): Direction {
  return {
    to,
    budget: cutAfter ?? Number.POSITIVE_INFINITY,
    arrivedSizeBytes: 0,
    underWaySizeBytes: 0,
    lastArrivalMs: 0,
  };
}
