/**
 * One connection between a client and a broker, byte by byte: latency that changes, pieces of any size, a full buffer, a
 * direction that swallows everything, and a cut after an exact number of bytes in one direction. What was under way when
 * it is cut is lost.
 */
import type { Random } from './random.js';
import type { Timeline } from './timeline.js';

export interface LinkEnd {
  received(bytes: Buffer): void;
  drained(): void;
  /** The other end is gone, and this one has noticed. Called at most once. */
  closed(how: LinkEnding): void;
}

/** In order, by the other side or after our own `end`; or torn. */
export type LinkEnding = 'ended' | 'cut';

/** How long a side that has ended the connection waits for the other one before it gives up. */
const LINGER_MS = 5000;

/** Of what arrives at once, so much at most comes in small pieces. */
const TORN_SIZE_BYTES = 1000;

export interface LinkOptions {
  timeline: Timeline;
  random: Random;
  latencyMs: number;
  /** Bytes under way to the broker above which a write says that it is enough. */
  bufferSizeMax: number;
  /** Nothing arrives in larger pieces than this; undefined: pieces are large and small, as it comes. */
  pieceSizeMax?: number | undefined;
  /** After so many bytes to the broker, or to the client, the connection is cut. */
  cutToBroker: number | undefined;
  cutToClient: number | undefined;
  /** Called when the cut after so many bytes has come. */
  cutAsPlanned: () => void;
  /** How long after a cut each end notices; undefined: it never does. */
  clientNoticeMs: number | undefined;
  brokerNoticeMs: number | undefined;
}

type Side = 'client' | 'broker';

interface Direction {
  to: Side;
  /** Bytes that may still arrive before the cut. */
  budget: number;
  /** The budget is that of a planned cut. */
  isPlanned: boolean;
  arrivedSizeBytes: number;
  underWaySizeBytes: number;
  lastArrivalMs: number;
  /** Nothing arrives any more, and nobody is told. */
  isSwallowing: boolean;
}

export class ModelLink {
  /** While true, nothing arrives at either end; it arrives late. */
  isStalled = false;
  isCut = false;
  #ends: Record<Side, LinkEnd | undefined> = { client: undefined, broker: undefined };
  readonly #directions: Record<Side, Direction>;
  readonly #options: LinkOptions;
  /** What is written from now on takes so long; it never overtakes what was written before. */
  latencyMs: number;
  #isFull = false;
  #held: (() => void)[] = [];

  constructor(options: LinkOptions) {
    this.#options = options;
    this.latencyMs = options.latencyMs;
    this.#directions = {
      broker: newDirection('broker', options.cutToBroker),
      client: newDirection('client', options.cutToClient),
    };
  }

  join(side: Side, end: LinkEnd): void {
    this.#ends[side] = end;
  }

  /** True when nothing that is written will arrive, whether somebody has noticed or not. */
  get isDead(): boolean {
    return this.isCut || this.#directions.broker.isSwallowing || this.#directions.client.isSwallowing;
  }

  /** The connection is half open from now on: what is on its way to this side is gone, and nobody is told. */
  swallow(to: Side): void {
    this.#directions[to].isSwallowing = true;
  }

  /** Bytes that have arrived at this side so far. */
  arrivedAt(side: Side): number {
    return this.#directions[side].arrivedSizeBytes;
  }

  /** Gives false when the buffer is full; `drained` tells when it is empty again. */
  write(from: Side, bytes: Uint8Array): boolean {
    const direction = this.#directions[from === 'client' ? 'broker' : 'client'];
    if (this.isCut) return true;
    const { timeline, bufferSizeMax } = this.#options;
    const { latencyMs } = this;
    // What is handed over does not change any more.
    const copy = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes);
    direction.underWaySizeBytes += copy.length;
    direction.lastArrivalMs = Math.max(direction.lastArrivalMs, timeline.nowMs + latencyMs);
    timeline.after(direction.lastArrivalMs - timeline.nowMs, () => this.#arrive(direction, copy));
    if (from === 'client' && direction.underWaySizeBytes > bufferSizeMax) {
      this.#isFull = true;
      return false;
    }
    return true;
  }

  /**
   * One side ends the connection in order: what it has written arrives, what was on its way to it does not. It is told
   * when the other side has closed, too, or when that takes too long.
   */
  end(side: Side): void {
    const direction = this.#directions[side === 'client' ? 'broker' : 'client'];
    const end = this.#ends[side];
    this.#ends[side] = undefined;
    const { timeline } = this.#options;
    // What is stalled does not arrive after the connection is closed: a later connection would otherwise be overtaken by
    // an earlier one, which no broker can tell from a client that connects anew.
    if (this.isStalled) this.cut();
    let isTold = false;
    const tell = (): void => {
      if (!isTold) end?.closed('ended');
      isTold = true;
    };
    timeline.after(Math.max(direction.lastArrivalMs - timeline.nowMs, 0), () =>
      this.#deliver(() => {
        if (direction.isSwallowing) return;
        this.isCut = true;
        this.#close('client', 'ended');
        this.#close('broker', 'ended');
        timeline.after(this.latencyMs, tell);
      }),
    );
    timeline.after(LINGER_MS, tell);
  }

  /** One side is gone from one moment to the next. Of what it has written, so many bytes still arrive at most. */
  abort(side: Side, arrivingSizeBytes: number): void {
    const direction = this.#directions[side === 'client' ? 'broker' : 'client'];
    this.#ends[side] = undefined;
    direction.budget = Math.min(direction.budget, direction.arrivedSizeBytes + arrivingSizeBytes);
    direction.isPlanned = false;
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
    if (clientNoticeMs !== undefined) timeline.after(clientNoticeMs, () => this.#close('client', 'cut'));
    if (brokerNoticeMs !== undefined) timeline.after(brokerNoticeMs, () => this.#close('broker', 'cut'));
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
    // What is swallowed fills the buffer of the one who writes, and stays there.
    if (direction.isSwallowing) return;
    this.#deliver(() => {
      direction.underWaySizeBytes -= bytes.length;
      const size = Math.min(bytes.length, direction.budget - direction.arrivedSizeBytes);
      let at = 0;
      while (at < size && !this.isCut) {
        const piece = this.#pieceSize(size - at);
        direction.arrivedSizeBytes += piece;
        this.#ends[direction.to]?.received(bytes.subarray(at, at + piece));
        at += piece;
      }
      if (direction.arrivedSizeBytes >= direction.budget && !this.isCut) {
        if (direction.isPlanned) this.#options.cutAsPlanned();
        this.cut();
      }
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

  #pieceSize(size: number): number {
    const { random, pieceSizeMax } = this.#options;
    if (pieceSizeMax !== undefined)
      return size > TORN_SIZE_BYTES ? size - TORN_SIZE_BYTES : Math.min(size, pieceSizeMax);
    return random.chance(0.8) ? size : random.between(1, size);
  }

  #close(side: Side, how: LinkEnding): void {
    const end = this.#ends[side];
    this.#ends[side] = undefined;
    end?.closed(how);
  }
}

function newDirection(to: Side, cutAfter: number | undefined): Direction {
  return {
    to,
    isPlanned: cutAfter !== undefined,
    budget: cutAfter ?? Number.POSITIVE_INFINITY,
    arrivedSizeBytes: 0,
    underWaySizeBytes: 0,
    lastArrivalMs: 0,
    isSwallowing: false,
  };
}
