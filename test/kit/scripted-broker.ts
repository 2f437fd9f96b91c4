/** A server that does what a script says: silent, rude, or an MQTT broker that drops, delays or repeats. */
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { generate, type IConnackPacket, type IConnectPacket, type Packet, parser } from 'mqtt-packet';
import { within } from './deadline.js';
import { resetConnection } from './reset.js';

/** What a server does that is no MQTT broker at all. */
export type Behaviour =
  /** Accepts the connection and never says a word. */
  | 'silent'
  /** Closes at once. */
  | 'closing'
  /** Resets at once. */
  | 'resetting'
  /** Closes when the first bytes arrive, as a broker does with a client that it does not understand. */
  | 'closing-on-data'
  /** Answers whatever comes with an HTTP error page. */
  | 'http'
  /** Sends bytes that mean nothing in any protocol, at once. */
  | 'garbage'
  /** Accepts and never reads, so that the sender's buffers fill up. */
  | 'not-reading';

export interface ScriptedBrokerOptions {
  /** With this, nothing of what follows applies. */
  behaviour?: Behaviour;
  host?: string;
  port?: number;
  /** Speaks TLS. */
  tls?: TlsOptions;
  /** The answer to CONNECT, or how to make one. Null: none. By default success without a session. */
  connack?: ConnackScript | null | ((connect: IConnectPacket, peer: Peer) => ConnackScript | null);
  /** Called for each packet but CONNECT; without it, or where it returns `'default'`, everything is acknowledged. */
  onPacket?: (packet: Packet, peer: Peer) => 'default' | undefined;
  onConnection?: (peer: Peer) => void;
}

export type ConnackScript = Partial<Omit<IConnackPacket, 'cmd'>>;

/** One connection, as the broker sees it. */
export interface Peer {
  readonly socket: Socket;
  /** 1 for the first connection. */
  readonly number: number;
  /** 4 until a CONNECT has said 5. */
  readonly protocolVersion: 3 | 4 | 5;
  /** Everything received, CONNECT first. */
  readonly packets: readonly Packet[];
  readonly isClosed: boolean;
  send(packet: Packet): void;
  sendBytes(bytes: Uint8Array | string): void;
  /** What a well-behaved broker would answer to this packet. */
  answer(packet: Packet): void;
  close(): void;
  reset(): void;
}

export interface ScriptedBroker {
  readonly port: number;
  readonly url: string;
  /** All connections so far, those that are closed included. */
  readonly peers: readonly Peer[];
  /** All packets of all connections in the order of their arrival. */
  readonly packets: readonly Packet[];
  /** The script may be changed while it runs. */
  options: ScriptedBrokerOptions;
  close(): Promise<void>;
}

export async function startScriptedBroker(options: ScriptedBrokerOptions = {}): Promise<ScriptedBroker> {
  const peers: ScriptedPeer[] = [];
  const packets: Packet[] = [];
  const onConnection = (socket: Socket) => {
    const peer = new ScriptedPeer(socket, peers.length + 1, () => broker.options, packets);
    peers.push(peer);
    peer.begin();
  };
  const server: Server =
    options.tls === undefined ? createServer(onConnection) : createTlsServer(options.tls, onConnection);
  // A client that gives up in the middle of the TLS handshake is what some tests are about.
  server.on('tlsClientError', () => undefined);
  // Neither it nor its sockets keep the process of a failed test alive.
  server.unref();
  const port = await listen(server, options.port ?? 0, options.host ?? '127.0.0.1');
  const broker: ScriptedBroker = {
    port,
    url: `${options.tls === undefined ? 'mqtt' : 'mqtts'}://127.0.0.1:${port}`,
    peers,
    packets,
    options,
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const peer of peers) peer.socket.destroy();
      return within(closed, 'the scripted broker to close');
    },
  };
  return broker;
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      const address = server.address();
      if (typeof address === 'object' && address !== null) resolve(address.port);
      else reject(new Error('The scripted broker has no port'));
    });
  });
}

class ScriptedPeer implements Peer {
  readonly socket: Socket;
  readonly number: number;
  readonly packets: Packet[] = [];
  protocolVersion: 3 | 4 | 5 = 4;
  readonly #options: () => ScriptedBrokerOptions;
  readonly #allPackets: Packet[];

  constructor(socket: Socket, number: number, options: () => ScriptedBrokerOptions, allPackets: Packet[]) {
    this.socket = socket;
    this.number = number;
    this.#options = options;
    this.#allPackets = allPackets;
    socket.setNoDelay(true);
    socket.unref();
    // Resets by the client are part of the tests.
    socket.on('error', () => undefined);
  }

  get isClosed(): boolean {
    return this.socket.destroyed;
  }

  begin(): void {
    const { behaviour, onConnection } = this.#options();
    if (behaviour !== undefined) {
      behave(this, behaviour);
      return;
    }
    const settings: { protocolVersion?: number } = {};
    const packetParser = parser(settings);
    packetParser.on('packet', (packet) => {
      // The parser reads what follows a CONNECT of MQTT 5 in the format of MQTT 5 only when it is told to.
      if (packet.cmd === 'connect') settings.protocolVersion = packet.protocolVersion ?? 4;
      this.#receive(packet);
    });
    packetParser.on('error', () => this.socket.destroy());
    this.socket.on('data', (chunk: Buffer) => packetParser.parse(chunk));
    onConnection?.(this);
  }

  send(packet: Packet): void {
    this.sendBytes(generate(packet, { protocolVersion: this.protocolVersion }));
  }

  sendBytes(bytes: Uint8Array | string): void {
    if (!this.isClosed) this.socket.write(bytes);
  }

  close(): void {
    this.socket.end();
  }

  reset(): void {
    resetConnection(this.socket);
  }

  answer(packet: Packet): void {
    const { messageId } = packet;
    const id = messageId === undefined ? {} : { messageId };
    switch (packet.cmd) {
      case 'publish':
        if (packet.qos === 1) this.send({ cmd: 'puback', ...id });
        if (packet.qos === 2) this.send({ cmd: 'pubrec', ...id });
        break;
      case 'pubrel':
        this.send({ cmd: 'pubcomp', ...id });
        break;
      case 'pingreq':
        this.send({ cmd: 'pingresp' });
        break;
      case 'subscribe':
        this.send({ cmd: 'suback', ...id, granted: packet.subscriptions.map(({ qos }) => qos) });
        break;
      case 'unsubscribe':
        this.send({ cmd: 'unsuback', ...id, granted: packet.unsubscriptions.map(() => 0) });
        break;
      case 'disconnect':
        this.close();
        break;
    }
  }

  #receive(packet: Packet): void {
    this.packets.push(packet);
    this.#allPackets.push(packet);
    if (packet.cmd === 'connect') {
      this.protocolVersion = packet.protocolVersion ?? 4;
      const { connack } = this.#options();
      const script = typeof connack === 'function' ? connack(packet, this) : connack;
      if (script !== null)
        this.send({ cmd: 'connack', sessionPresent: false, reasonCode: 0, returnCode: 0, ...script });
      return;
    }
    const verdict = this.#options().onPacket;
    if (verdict === undefined || verdict(packet, this) === 'default') this.answer(packet);
  }
}

function behave(peer: Peer, behaviour: Behaviour): void {
  const { socket } = peer;
  switch (behaviour) {
    case 'silent':
      socket.resume();
      break;
    case 'closing':
      socket.end();
      break;
    case 'resetting':
      resetConnection(socket);
      break;
    case 'closing-on-data':
      socket.once('data', () => socket.end());
      break;
    case 'http':
      socket.once('data', () => {
        socket.end('HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nBad Request');
      });
      break;
    case 'garbage':
      socket.write(Buffer.from('\xf7\xff\xff\xff\xff\x00 neither this nor that\r\n', 'latin1'));
      socket.resume();
      break;
    case 'not-reading':
      socket.pause();
      break;
  }
}
