import type { Socket } from 'node:net';
import { resetConnection } from './reset.js';

/** The way that bytes take: from the client to the broker, or back. */
export type Direction = 'toBroker' | 'toClient';

export type Flow = 'passing' | 'stalled' | 'swallowing';

/** What the proxy prescribes to all its connections at this moment. */
export interface LinkRules {
  readonly flow: Readonly<Record<Direction, Flow>>;
  readonly delayMs: number;
  note(direction: Direction, chunk: Buffer): void;
  passed(connection: number, direction: Direction, chunk: Buffer): void;
  bytesUntilCut(direction: Direction, sizeBytes: number): number | undefined;
  cutAllBut(receiver: Socket): void;
}

/** One connection of a client with its counterpart to the broker; over when both sockets are closed. */
export class Link {
  readonly #client: Socket;
  readonly #broker: Socket;
  readonly #sockets: readonly Socket[];
  readonly #pipes: readonly Pipe[];

  constructor(rules: LinkRules, connection: number, client: Socket, broker: Socket, whenOver: () => void) {
    this.#client = client;
    this.#broker = broker;
    this.#sockets = [client, broker];
    this.#pipes = [
      new Pipe(rules, connection, 'toBroker', client, broker),
      new Pipe(rules, connection, 'toClient', broker, client),
    ];
    for (const socket of this.#sockets) {
      socket.setNoDelay(true);
      socket.unref();
      // `close` follows, says that there was an error, and resets the other side.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        if (this.#sockets.every((each) => each.destroyed)) whenOver();
      });
    }
    this.move();
  }

  move(): void {
    for (const pipe of this.#pipes) pipe.move();
  }

  has(socket: Socket): boolean {
    return this.#sockets.includes(socket);
  }

  hangUp(): void {
    this.#broker.removeAllListeners('data');
    this.#broker.resume();
    this.#broker.end();
    resetConnection(this.#client);
  }

  reset(): void {
    for (const socket of this.#sockets) resetConnection(socket);
  }
}

/** One direction of one connection. */
class Pipe {
  readonly #rules: LinkRules;
  readonly #connection: number;
  readonly #direction: Direction;
  readonly #from: Socket;
  readonly #to: Socket;
  /** What is on its way and when it is due, in order; the sender's FIN and reset take the same way as its bytes. */
  readonly #queue: { dueMs: number; what: Buffer | 'end' | 'reset' }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isBlocked = false;

  constructor(rules: LinkRules, connection: number, direction: Direction, from: Socket, to: Socket) {
    this.#rules = rules;
    this.#connection = connection;
    this.#direction = direction;
    this.#from = from;
    this.#to = to;
    from.on('data', (chunk: Buffer) => {
      rules.note(direction, chunk);
      if (rules.flow[direction] !== 'swallowing') this.#enqueue(chunk);
    });
    from.on('end', () => this.#enqueue('end'));
    from.on('close', (hadError) => {
      if (hadError) this.#enqueue('reset');
    });
    to.on('drain', () => {
      this.#isBlocked = false;
      this.move();
    });
    to.on('close', () => {
      clearTimeout(this.#timer);
      this.#queue.length = 0;
    });
  }

  /** Passes on what is due, and reads or stops reading as the flow says. */
  move(): void {
    const isStalled = this.#rules.flow[this.#direction] === 'stalled';
    if (isStalled || this.#isBlocked) this.#from.pause();
    else this.#from.resume();
    clearTimeout(this.#timer);
    while (!isStalled && !this.#isBlocked && this.#queue.length > 0) {
      const next = this.#queue[0]!;
      const waitMs = next.dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.move(), waitMs).unref();
        return;
      }
      this.#queue.shift();
      if (next.what === 'end') this.#to.end();
      else if (next.what === 'reset') resetConnection(this.#to);
      else this.#pass(next.what);
    }
  }

  #enqueue(what: Buffer | 'end' | 'reset'): void {
    if (this.#to.destroyed) return;
    this.#queue.push({ dueMs: performance.now() + this.#rules.delayMs, what });
    this.move();
  }

  #pass(chunk: Buffer): void {
    const untilCut = this.#rules.bytesUntilCut(this.#direction, chunk.length);
    const passed = untilCut === undefined ? chunk : chunk.subarray(0, untilCut);
    this.#rules.passed(this.#connection, this.#direction, passed);
    if (untilCut === undefined) {
      this.#isBlocked = !this.#to.write(passed);
      return;
    }
    // A reset would destroy what the receiver has not read yet: it gets the last bytes and a FIN instead.
    this.#queue.length = 0;
    this.#isBlocked = true;
    this.#to.end(passed);
    resetConnection(this.#from);
    this.#rules.cutAllBut(this.#to);
  }
}
