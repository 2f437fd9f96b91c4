import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { startDelayProxy } from '../../bench/delay-proxy.js';
import { median } from '../../bench/statistics.js';
import { within } from '../kit/deadline.js';

async function listen(t: TestContext, answer: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    answer(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function through(t: TestContext, targetPort: number, roundTripMs: number): Promise<Socket> {
  const proxy = await startDelayProxy({ targetPort, roundTripMs });
  t.after(() => proxy.stop());
  const client = connect({ port: proxy.port, host: '127.0.0.1', noDelay: true });
  t.after(() => client.destroy());
  await once(client, 'connect');
  return client;
}

async function roundTripsMs(client: Socket, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const startMs = performance.now();
    client.write('x');
    await within(once(client, 'data'), 'the echo');
    times.push(performance.now() - startMs);
  }
  return times;
}

test('a round trip through the proxy takes the time asked for, and little more where none was', async (t) => {
  const port = await listen(t, (socket) => socket.pipe(socket));
  const direct = median(await roundTripsMs(await through(t, port, 0), 15));
  for (const roundTripMs of [20, 100]) {
    const times = await roundTripsMs(await through(t, port, roundTripMs), 15);
    const least = Math.min(...times);
    assert.ok(least >= roundTripMs - 1.5, `${roundTripMs} ms: the shortest took ${least} ms`);
    // How much longer than that it takes is the machine's affair; half as long again would be the proxy's.
    assert.ok(least <= roundTripMs * 1.5 + direct, `${roundTripMs} ms: the shortest took ${least} ms`);
  }
});

test('the proxy keeps the order of all bytes, and its delay holds back none of them for long', async (t) => {
  const received = createHash('sha256');
  let receivedBytes = 0;
  const totalBytes = 24 * 1024 * 1024;
  const port = await listen(t, (socket) => {
    socket.on('data', (chunk: Buffer) => {
      received.update(chunk);
      receivedBytes += chunk.length;
      if (receivedBytes === totalBytes) socket.write('all');
    });
  });
  const client = await through(t, port, 40);
  const sent = createHash('sha256');
  const answered = once(client, 'data');
  for (let size = 0; size < totalBytes; size += 1024 * 1024) {
    const chunk = randomBytes(1024 * 1024);
    sent.update(chunk);
    client.write(chunk);
  }
  await within(answered, () => `all bytes; ${receivedBytes} of ${totalBytes} have come`, 30_000);
  assert.equal(received.digest('hex'), sent.digest('hex'));
});

test('the end of one side reaches the other after its last bytes', async (t) => {
  const heard: string[] = [];
  const port = await listen(t, (socket) => {
    socket.on('data', (chunk: Buffer) => heard.push(chunk.toString()));
    socket.on('end', () => socket.end(`${heard.join('')} and farewell`));
  });
  const client = await through(t, port, 20);
  const answers: string[] = [];
  client.on('data', (chunk: Buffer) => answers.push(chunk.toString()));
  const ended = once(client, 'end');
  client.end('last words');
  await within(ended, 'the end of the answer');
  assert.equal(answers.join(''), 'last words and farewell');
});
