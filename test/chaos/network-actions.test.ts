import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startProxy, type Proxy as TcpProxy } from '../kit/proxy.js';
import { Random } from '../simulation/random.js';
import { cutToBroker } from './network-actions.js';

const SEED = 1;
/** More than any cut waits for. */
const PLENTY_BYTES = 64 * 1024;

class Line {
  readonly proxy: TcpProxy;
  /** What each connection has brought to the far end, in bytes. */
  readonly broughtBytes: readonly number[];

  constructor(proxy: TcpProxy, broughtBytes: readonly number[]) {
    this.proxy = proxy;
    this.broughtBytes = broughtBytes;
  }

  async dial(t: TestContext): Promise<Socket> {
    const socket = connect(this.proxy.port, '127.0.0.1');
    t.after(() => socket.destroy());
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  }
}

async function openLine(t: TestContext): Promise<Line> {
  const broughtBytes: number[] = [];
  const server: Server = createServer((socket) => {
    const index = broughtBytes.push(0) - 1;
    socket.on('error', () => undefined);
    socket.on('data', ({ length }) => {
      broughtBytes[index] = (broughtBytes[index] ?? 0) + length;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const proxy = await startProxy({ targetPort: address.port });
  t.after(() => proxy.close());
  return new Line(proxy, broughtBytes);
}

test('a cut comes after as many bytes as are told', async (t) => {
  const line = await openLine(t);
  const socket = await line.dial(t);
  const telling = cutToBroker({ proxy: line.proxy }, new Random(SEED));
  socket.write(Buffer.alloc(PLENTY_BYTES));
  await eventually(() => socket.destroyed, 'the connection to be cut');
  await line.dial(t);
  const told = /^cut after (\d+) bytes to the broker$/.exec(await telling);
  assert.ok(told !== null, await telling);
  assert.equal(line.broughtBytes[0], Number(told[1]));
});

test('a cut that does not come is told as such, is made up for, and does not come later', async (t) => {
  const line = await openLine(t);
  const socket = await line.dial(t);
  const telling = cutToBroker({ proxy: line.proxy }, new Random(SEED));
  socket.write('few');
  await eventually(() => socket.destroyed, 'the connection to be cut');
  const next = await line.dial(t);
  assert.match(await telling, /^cut after 3 bytes to the broker: \d+ did not come within \d+ ms$/);
  next.write(Buffer.alloc(PLENTY_BYTES));
  await eventually(
    () => line.broughtBytes[1] === PLENTY_BYTES,
    () => `all bytes of the next connection; there are ${line.broughtBytes.join(', ')}`,
  );
});

test('without a connection there is no cut, and that is told', async (t) => {
  const { proxy } = await openLine(t);
  const told = await cutToBroker({ proxy }, new Random(SEED));
  assert.match(told, /^no cut to the broker, no connection: \d+ did not come within \d+ ms$/);
});
