import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { test } from 'node:test';
import { type WebSocket, WebSocketServer } from 'ws';
import { eventually } from '../kit/deadline.js';
import { failureOf, probe } from './probe.js';

interface Listener {
  port: number;
  requests: IncomingMessage[];
  sockets: WebSocket[];
  close(): void;
}

/** A websocket server that offers these subprotocols; or an HTTP server that answers with a status. */
async function listen(offer: string | false | { status: number; location?: string }): Promise<Listener> {
  const requests: IncomingMessage[] = [];
  const sockets: WebSocket[] = [];
  const server: Server = createServer();
  server.unref();
  if (typeof offer === 'object') {
    server.on('upgrade', (request, socket) => {
      requests.push(request);
      const location = offer.location === undefined ? '' : `Location: ${offer.location}\r\n`;
      socket.end(`HTTP/1.1 ${offer.status} No\r\n${location}Content-Length: 0\r\n\r\n`);
    });
  } else {
    const websockets = new WebSocketServer({ server, handleProtocols: () => offer, perMessageDeflate: true });
    websockets.on('connection', (socket, request) => {
      requests.push(request);
      sockets.push(socket);
      socket.on('error', () => undefined);
    });
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const close = () => {
    for (const socket of sockets) socket.terminate();
    server.close();
  };
  return { port: address.port, requests, sockets, close };
}

test('the request names host, path with query and the subprotocol, and offers no compression', async () => {
  const server = await listen('mqtt');
  const connection = probe({ port: server.port, websocket: true, path: '/mqtt?token=a%2Fb' });
  await connection.opened();
  const [request] = server.requests;
  assert.equal(request?.url, '/mqtt?token=a%2Fb');
  assert.equal(request?.headers.host, `127.0.0.1:${server.port}`);
  assert.equal(request?.headers['sec-websocket-protocol'], 'mqtt');
  assert.equal(request?.headers['sec-websocket-extensions'], undefined);
  connection.transport.destroy();
  server.close();
});

test('a server without the subprotocol mqtt is refused [MQTT-6.0.0-3]', async () => {
  for (const offer of [false, 'chat'] as const) {
    const server = await listen(offer);
    const error = await failureOf({ port: server.port, websocket: true });
    assert.equal(error.code, 'WEBSOCKET_REFUSED');
    assert.match(error.message, /subprotocol mqtt/);
    server.close();
  }
});

test('an answer of HTTP is told with its status, and a redirection is not followed', async () => {
  for (const [status, remedy] of [
    [404, /path in url/],
    [401, /login/],
    [302, /path in url/],
    [200, /path in url/],
  ] as const) {
    const server = await listen({ status, location: 'http://127.0.0.1:1/' });
    const error = await failureOf({ port: server.port, websocket: true, path: '/wrong' });
    assert.equal(error.code, 'WEBSOCKET_REFUSED');
    assert.match(error.message, new RegExp(`"${status} No" at /wrong`));
    assert.match(error.remedy, remedy);
    assert.equal(server.requests.length, 1);
    server.close();
  }
});

test('bytes arrive in their order, however they are framed', async () => {
  const server = await listen('mqtt');
  const connection = probe({ port: server.port, websocket: true });
  await connection.opened();
  const [socket] = server.sockets;
  socket?.send(Buffer.from([1]));
  socket?.send(Buffer.from([2, 3]), { fin: false });
  socket?.ping();
  socket?.send(Buffer.alloc(0), { fin: false });
  socket?.send(Buffer.from([4]), { fin: true });
  socket?.send(Buffer.alloc(200_000, 5));
  const bytes = await connection.bytes(200_004);
  assert.deepEqual([...bytes.subarray(0, 5)], [1, 2, 3, 4, 5]);
  let pongs = 0;
  socket?.on('pong', () => pongs++);
  socket?.ping();
  await eventually(() => pongs === 1, 'the answer to a ping');
  connection.transport.destroy();
  server.close();
});

test('frames that came together with the one that ends it all are not given any more', async () => {
  const server = await listen('mqtt');
  const connection = probe({ port: server.port, websocket: true }, (name, { transport, received }) => {
    if (name === 'received' && received.length === 2) transport.destroy();
  });
  await connection.opened();
  const socket = server.sockets[0];
  for (let count = 0; count < 10; count++) socket?.send(Buffer.from([count]));
  await eventually(() => socket?.readyState === 3, 'the connection to be closed');
  assert.deepEqual(connection.events, ['opened', 'received', 'received']);
  server.close();
});

test('text in place of bytes breaks the protocol and ends the connection [MQTT-6.0.0-1]', async () => {
  const server = await listen('mqtt');
  const connection = probe({ port: server.port, websocket: true });
  await connection.opened();
  server.sockets[0]?.send('hello');
  assert.equal((await connection.closed())?.code, 'BROKER_PROTOCOL');
  assert.deepEqual(connection.events, ['opened', 'closed']);
  await eventually(() => server.sockets[0]?.readyState === 3, 'the connection to be closed');
  server.close();
});

test("the server's close is told with its code and reason", async () => {
  const server = await listen('mqtt');
  const told = probe({ port: server.port, websocket: true });
  await told.opened();
  server.sockets[0]?.close(1008, 'not allowed here');
  assert.equal((await told.closed())?.code, 'BROKER_CLOSED');
  assert.match(told.error?.message ?? '', /\(code 1008: not allowed here\)/);
  const silent = probe({ port: server.port, websocket: true });
  await silent.opened();
  server.sockets[1]?.close();
  assert.equal((await silent.closed())?.message, 'The broker closed the connection.');
  const broken = probe({ port: server.port, websocket: true });
  await broken.opened();
  server.sockets[2]?.terminate();
  assert.match((await broken.closed())?.code ?? '', /BROKER_CLOSED|CONNECTION_LOST/);
  server.close();
});

test('a frame that is larger than any acknowledgement ends the connection', async () => {
  const server = await listen('mqtt');
  const connection = probe({ port: server.port, websocket: true });
  await connection.opened();
  server.sockets[0]?.send(Buffer.alloc(17 * 1024 * 1024));
  assert.equal((await connection.closed())?.code, 'CONNECTION_LOST');
  assert.match(connection.error?.message ?? '', /Max payload size exceeded/);
  server.close();
});

test('end says farewell to the server, and closed comes when it has answered', async () => {
  const server = await listen('mqtt');
  const connection = probe({ port: server.port, websocket: true });
  await connection.opened();
  let farewell = 0;
  const got: Buffer[] = [];
  server.sockets[0]?.on('message', (data) => got.push(data as Buffer));
  server.sockets[0]?.on('close', (code) => {
    farewell = code;
  });
  connection.transport.write(Buffer.from('last words'));
  connection.transport.end();
  assert.equal(await connection.closed(), undefined);
  await eventually(
    () => farewell === 1000,
    () => `the farewell; it was ${farewell}`,
  );
  assert.equal(Buffer.concat(got).toString(), 'last words');
  server.close();
});
