/** The process of `startDelayProxy`: its argument is the target's port and the round trip as JSON. */
import { connect, createServer } from 'node:net';
import { DelayLine } from './delay-line.js';
import type { DelayProxyOptions } from './delay-proxy.js';

const { targetPort, roundTripMs } = JSON.parse(process.argv[2] ?? '{}') as DelayProxyOptions;

const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
  const broker = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  for (const socket of [client, broker]) {
    // `close` follows and ends the other side.
    socket.on('error', () => undefined);
  }
  new DelayLine(client, broker, roundTripMs / 2);
  new DelayLine(broker, client, roundTripMs / 2);
  client.resume();
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object' && address !== null) console.log(`listens on ${address.port}`);
});
