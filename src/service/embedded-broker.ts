/** The broker of the quick start: Aedes on this machine, so that nothing has to be installed to see data arrive. */
import { createServer, type Server, type Socket } from 'node:net';
import { Aedes } from 'aedes';
import { NorthError, systemCode } from '../core/error.js';

const HOST = '127.0.0.1';
/** So many ports are tried, from the wanted one upwards. */
const PORTS_TRIED_MAX = 100;

/**
 * Nobody publishes to it. Aedes keeps what a client has in flight, but says that the session is present only to a client
 * that has a subscription; publishers would take their session for lost each time [MQTT-3.2.2-2].
 */
const SESSION_MARK = '$session';

export interface EmbeddedMessage {
  topic: string;
  payload: Buffer;
  qos: number;
}

export interface EmbeddedBroker {
  readonly port: number;
  readonly url: string;
  /** Subscribes inside the broker's process; told of every message on the filter. */
  subscribe(filter: string, listener: (message: EmbeddedMessage) => void): Promise<void>;
  close(): Promise<void>;
}

/** Listens on the wanted port of 127.0.0.1 or, when that is taken, on the next free one; 0 takes any. */
export async function openEmbeddedBroker(wantedPort: number): Promise<EmbeddedBroker> {
  const broker = await Aedes.createBroker();
  broker.on('clientReady', (client) => {
    if (!client.clean) client.subscribe({ topic: SESSION_MARK, qos: 0 }, () => undefined);
  });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    broker.handle(socket);
  });
  const port = await listen(server, wantedPort);
  return {
    port,
    url: `mqtt://${HOST}:${port}`,
    subscribe: (filter, listener) =>
      new Promise((resolve) => {
        broker.subscribe(
          filter,
          (packet, done) => {
            listener({ topic: packet.topic, payload: Buffer.from(packet.payload), qos: packet.qos });
            done();
          },
          resolve,
        );
      }),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await new Promise<void>((resolve) => broker.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function listen(server: Server, wantedPort: number): Promise<number> {
  for (let port = wantedPort; ; port++) {
    const isTaken = await new Promise<boolean>((resolve, reject) => {
      const failed = (error: Error): void => {
        if (systemCode(error) === 'EADDRINUSE') resolve(true);
        else reject(error);
      };
      server.once('error', failed);
      server.listen(port, HOST, () => {
        server.off('error', failed);
        resolve(false);
      });
    });
    if (!isTaken) break;
    if (port + 1 >= Math.min(65_536, wantedPort + PORTS_TRIED_MAX)) {
      throw new NorthError('PORT_TAKEN', `The ports ${wantedPort} to ${port} of ${HOST} are all in use.`);
    }
  }
  const address = server.address();
  if (address === null || typeof address === 'string') throw new NorthError('INTERNAL', 'The broker has no port.');
  return address.port;
}
