/** A TCP proxy between a client and a broker: the bad network of a test, ruled by its methods. */
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { type Direction, type Flow, Link, type LinkRules } from './proxy-link.js';

export type { Direction } from './proxy-link.js';

export interface ProxyOptions {
  targetPort: number;
  targetHost?: string;
  /** Fixed port to listen on; a free one unless given. */
  port?: number;
  /** Keeps all bytes of both directions for `recorded`. */
  record?: boolean;
  /** Is told of all bytes that are passed on, with the number of their connection, which counts from 1. */
  passed?: (connection: number, direction: Direction, chunk: Buffer) => void;
}

export interface Proxy {
  readonly port: number;
  /** `mqtt://127.0.0.1:port`. */
  readonly url: string;
  /** Where the next connections go; those that exist stay where they are. */
  targetPort: number;
  /** Adds this time to the way in each direction; order and bandwidth stay. */
  delayMs: number;
  /** Connections accepted since the start. */
  readonly connectionCount: number;
  /** Connections that exist now. */
  readonly openCount: number;
  /** Bytes passed on since the start. */
  readonly passedBytes: Readonly<Record<Direction, number>>;
  /** All bytes that came in from the side where the direction begins; needs `record`. */
  recorded(direction: Direction): Buffer;
  /** Resets every connection now, as a router that lost its table does. */
  cut(): void;
  /** Resets all connections as soon as this many further bytes have been passed on; 0 is before the next byte. */
  cutAfter(direction: Direction, sizeBytes: number): void;
  /**
   * Resets the clients, while the broker gets all that was passed on and then the end. When `openCount` is 0, it has read
   * all of that and closed, too.
   */
  hangUp(): void;
  /** Reads no more, so that the sender's buffers fill up and it has to wait. Also for later connections. */
  stall(direction: Direction): void;
  /** Reads on and passes nothing on, as a network does that lost the way: both sides believe to be connected. */
  swallow(direction: Direction): void;
  /** Ends `stall` and `swallow`; what was swallowed stays lost. */
  resume(direction: Direction): void;
  /** Closes the port, so that dialling is refused; connections that exist go on. */
  refuse(): Promise<void>;
  /** Opens the port again after `refuse`. */
  accept(): Promise<void>;
  /** Ends everything. */
  close(): Promise<void>;
}

export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const proxy = new TcpProxy(options);
  await proxy.accept();
  return proxy;
}

class TcpProxy implements Proxy, LinkRules {
  targetPort: number;
  delayMs = 0;
  connectionCount = 0;
  readonly passedBytes = { toBroker: 0, toClient: 0 };
  readonly flow: Record<Direction, Flow> = { toBroker: 'passing', toClient: 'passing' };
  readonly #records: Record<Direction, Buffer[]> = { toBroker: [], toClient: [] };
  readonly #cutAt: Record<Direction, number> = {
    toBroker: Number.POSITIVE_INFINITY,
    toClient: Number.POSITIVE_INFINITY,
  };
  readonly #links = new Set<Link>();
  readonly #targetHost: string;
  readonly #record: boolean;
  readonly #passed: ProxyOptions['passed'];
  #port: number;
  #server: Server | undefined;

  constructor(options: ProxyOptions) {
    this.targetPort = options.targetPort;
    this.#targetHost = options.targetHost ?? '127.0.0.1';
    this.#record = options.record ?? false;
    this.#passed = options.passed;
    this.#port = options.port ?? 0;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.#port}`;
  }

  get openCount(): number {
    return this.#links.size;
  }

  recorded(direction: Direction): Buffer {
    if (!this.#record) throw new Error('The proxy was started without `record`');
    return Buffer.concat(this.#records[direction]);
  }

  cut(): void {
    for (const link of this.#links) link.reset();
  }

  cutAfter(direction: Direction, sizeBytes: number): void {
    this.#cutAt[direction] = this.passedBytes[direction] + sizeBytes;
  }

  hangUp(): void {
    for (const link of this.#links) link.hangUp();
  }

  stall(direction: Direction): void {
    this.#turn(direction, 'stalled');
  }

  swallow(direction: Direction): void {
    this.#turn(direction, 'swallowing');
  }

  resume(direction: Direction): void {
    this.#turn(direction, 'passing');
  }

  #turn(direction: Direction, flow: Flow): void {
    this.flow[direction] = flow;
    for (const link of this.#links) link.move();
  }

  refuse(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    // Its callback waits for all connections; the port itself is closed at once.
    server?.close();
    return Promise.resolve();
  }

  accept(): Promise<void> {
    if (this.#server !== undefined) return Promise.resolve();
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => this.#connect(client));
    this.#server = server;
    // Neither it nor its sockets keep the process of a failed test alive.
    server.unref();
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', () => {
        const address = server.address();
        if (typeof address === 'object' && address !== null) this.#port = address.port;
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    await this.refuse();
    this.cut();
  }

  /** Resets every other connection, and reads on here until the receiver of the last bytes closes, too. */
  cutAllBut(receiver: Socket): void {
    receiver.removeAllListeners('data');
    receiver.resume();
    for (const link of this.#links) if (!link.has(receiver)) link.reset();
  }

  /** What of the chunk is passed on before the connection is cut; undefined when all of it is, and no cut follows. */
  bytesUntilCut(direction: Direction, sizeBytes: number): number | undefined {
    const remaining = this.#cutAt[direction] - this.passedBytes[direction];
    if (remaining > sizeBytes) return undefined;
    this.#cutAt[direction] = Number.POSITIVE_INFINITY;
    return remaining;
  }

  note(direction: Direction, chunk: Buffer): void {
    if (this.#record) this.#records[direction].push(chunk);
  }

  passed(connection: number, direction: Direction, chunk: Buffer): void {
    this.passedBytes[direction] += chunk.length;
    this.#passed?.(connection, direction, chunk);
  }

  #connect(client: Socket): void {
    this.connectionCount++;
    const broker = dial({ port: this.targetPort, host: this.#targetHost, allowHalfOpen: true });
    const link = new Link(this, this.connectionCount, client, broker, () => this.#links.delete(link));
    this.#links.add(link);
  }
}
