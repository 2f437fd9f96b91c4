import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { startBlackhole } from '../kit/blackhole.js';
import { testCertificates } from '../kit/certificates.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { freePort } from '../kit/ports.js';
import { type ScriptedBroker, startScriptedBroker } from '../kit/scripted-broker.js';
import { CONNECT, type ProbeOptions, probe } from './probe.js';

const { authority, server } = await testCertificates();
const tls = { cert: readFileSync(server.good.certFile), key: readFileSync(server.good.keyFile) };
const trusting = { secure: true, caFilePath: authority.certFile };

/** What the event loop still owes; an event that should not come would come in it. */
async function someTurns(): Promise<void> {
  for (let count = 0; count < 20; count++) await turn();
}

for (const secure of [false, true]) {
  test(`a peer that does not read stops the writer and starts it again once${secure ? ', over TLS' : ''}`, async () => {
    const broker = await startScriptedBroker({ behaviour: 'not-reading', ...(secure ? { tls } : {}) });
    const connection = probe({ port: broker.port, ...(secure ? trusting : {}) });
    await connection.opened();
    const { transport } = connection;
    const sent = createHash('sha256');
    let sizeBytes = 0;
    let hasRoom = true;
    while (hasRoom) {
      const chunk = randomBytes(60_000);
      sent.update(chunk);
      hasRoom = transport.write(chunk);
      sizeBytes += chunk.length;
      assert.ok(sizeBytes < 100_000_000, 'the writer is never stopped');
      await turn();
    }
    await someTurns();
    assert.deepEqual(connection.events, ['opened']);
    assert.ok(transport.bufferedSizeBytes > 0);

    const got = createHash('sha256');
    let gotBytes = 0;
    broker.peers[0]?.socket.on('data', (chunk: Buffer) => {
      gotBytes += chunk.length;
      got.update(chunk);
    });
    broker.peers[0]?.socket.resume();
    await eventually(() => connection.events.includes('drained'), 'the writer to be told');
    await eventually(
      () => gotBytes === sizeBytes,
      () => `${sizeBytes} bytes at the peer; it has ${gotBytes}`,
    );
    assert.equal(got.digest('hex'), sent.digest('hex'));
    assert.equal(transport.bufferedSizeBytes, 0);
    await someTurns();
    assert.deepEqual(connection.events, ['opened', 'drained']);
    transport.destroy();
    await broker.close();
  });
}

test('small writes to a peer that reads never stop the writer', async () => {
  const broker = await startScriptedBroker({ behaviour: 'silent' });
  const connection = probe({ port: broker.port });
  await connection.opened();
  for (let count = 0; count < 500; count++) {
    assert.equal(connection.transport.write(Buffer.alloc(20_000)), true);
    await turn();
  }
  assert.deepEqual(connection.events.slice(0, 1), ['opened']);
  assert.equal(connection.events.includes('drained'), false);
  connection.transport.destroy();
  await broker.close();
});

test('nothing may be written before the transport is open', async () => {
  const connection = probe({ port: await freePort() });
  assert.throws(() => connection.transport.write(CONNECT), { code: 'INTERNAL' });
  assert.equal(connection.transport.bufferedSizeBytes, 0);
  await connection.closed();
  assert.equal(connection.transport.write(CONNECT), false);
});

/** Brings a transport into each phase of its life and gives it there to the caller. */
async function inEachPhase(act: (options: ProbeOptions, reached: () => boolean, phase: string) => Promise<void>) {
  const silent = await startScriptedBroker({ behaviour: 'silent' });
  const secureBroker = await startScriptedBroker({ tls });
  const blackhole = await startBlackhole();
  const heard = (broker: ScriptedBroker) => {
    const before = broker.peers.length;
    return () => (broker.peers[before]?.socket.bytesRead ?? 0) > 0;
  };
  let asked = 0;
  const lookup = () => void asked++;
  await act({ port: 1 }, () => true, 'certificates');
  await act({ host: 'broker.example', port: 1, lookup }, () => asked > 0, 'resolving');
  const clock = new ManualClock();
  await act({ port: blackhole.port, clock }, () => clock.waitsMs.length > 0, 'dialing');
  await act({ port: silent.port, secure: true }, heard(silent), 'securing');
  await act({ port: silent.port, websocket: true }, heard(silent), 'upgrading');
  const accepted = silent.peers.length;
  await act({ port: silent.port }, () => silent.peers.length > accepted, 'open');
  const peers = () => [...silent.peers, ...secureBroker.peers];
  await eventually(() => peers().every((peer) => peer.isClosed), 'every connection to be closed');
  for (const each of [silent, secureBroker, blackhole]) await each.close();
}

test('destroyed in any phase, a transport gives no further event and leaves nothing open', async () => {
  await inEachPhase(async (options, reached, phase) => {
    const connection = probe(options);
    if (phase !== 'certificates') await eventually(reached, `the phase ${phase}`);
    const before = [...connection.events];
    connection.transport.destroy();
    connection.transport.destroy();
    connection.transport.end();
    await someTurns();
    assert.deepEqual(connection.events, before, phase);
    assert.equal(before.includes('closed'), false, phase);
  });
});

test('ended in any phase, a transport closes once and without an error', async () => {
  await inEachPhase(async (options, reached, phase) => {
    const connection = probe(options);
    if (phase !== 'certificates') await eventually(reached, `the phase ${phase}`);
    const before = [...connection.events];
    connection.transport.end();
    assert.deepEqual(connection.events, before, `${phase}: an event within end()`);
    assert.equal(await connection.closed(), undefined, phase);
    await someTurns();
    assert.deepEqual(connection.events, [...before, 'closed'], phase);
  });
});

test('destroyed within its own events, a transport gives no further one', async () => {
  const broker = await startScriptedBroker({
    onPacket: (_, peer) => peer.sendBytes(Buffer.alloc(500_000)) as undefined,
    connack: () => ({}),
  });
  for (const secure of [{}, trusting]) {
    const target = secure === trusting ? await startScriptedBroker({ tls }) : broker;
    for (const event of ['opened', 'received']) {
      const connection = probe({ port: target.port, ...secure }, (name, { transport }) => {
        if (name === 'opened') transport.write(CONNECT);
        if (name === event) transport.destroy();
      });
      await eventually(() => connection.events.includes(event), event);
      await someTurns();
      assert.equal(connection.events.at(-1), event);
      assert.equal(connection.events.filter((name) => name === event).length, 1);
    }
    await eventually(() => target.peers.every((peer) => peer.isClosed), 'the connections to be closed');
    if (target !== broker) await target.close();
  }
  await broker.close();
});

test('an ending that the peer does not take is given up, and says what was not sent', async () => {
  const broker = await startScriptedBroker({ behaviour: 'not-reading' });
  const clock = new ManualClock();
  const connection = probe({ port: broker.port, clock });
  await connection.opened();
  while (connection.transport.write(Buffer.alloc(1_000_000))) await turn();
  connection.transport.end();
  clock.advance(4999);
  assert.deepEqual(connection.events, ['opened']);
  clock.advance(1);
  assert.deepEqual(connection.events, ['opened', 'closed']);
  assert.equal(connection.error?.code, 'CONNECTION_LOST');
  assert.match(connection.error?.message ?? '', /did not take the last \d+ bytes/);
  await broker.close();
});

test('a peer that never closes its side does not hold an ending up for ever', async () => {
  const halfOpen = createServer({ allowHalfOpen: true }, (socket) =>
    socket
      .on('error', () => undefined)
      .resume()
      .unref(),
  );
  halfOpen.unref();
  await new Promise<void>((resolve) => halfOpen.listen(0, '127.0.0.1', resolve));
  const address = halfOpen.address();
  assert.ok(typeof address === 'object' && address !== null);
  const clock = new ManualClock();
  const connection = probe({ port: address.port, clock });
  await connection.opened();
  connection.transport.write(CONNECT);
  connection.transport.end();
  await someTurns();
  assert.deepEqual(connection.events, ['opened']);
  clock.advance(5000);
  assert.deepEqual(connection.events, ['opened', 'closed']);
  assert.equal(connection.error, undefined);
  halfOpen.close();
});

test('a peer that closes its side while it does not read ends the connection all the same', async () => {
  const broker = await startScriptedBroker({ behaviour: 'not-reading' });
  const connection = probe({ port: broker.port });
  await connection.opened();
  while (connection.transport.write(Buffer.alloc(1_000_000))) await turn();
  broker.peers[0]?.socket.end();
  assert.equal((await connection.closed())?.code, 'BROKER_CLOSED');
  await broker.close();
});

test('a thousand dials of every fate leave no socket, timer or listener behind', async () => {
  const refusedPort = await freePort();
  const plain = await startScriptedBroker({});
  const silent = await startScriptedBroker({ behaviour: 'silent' });
  const resetting = await startScriptedBroker({ behaviour: 'resetting' });
  const secured = await startScriptedBroker({ tls });
  const fates: ProbeOptions[] = [
    { port: refusedPort },
    { port: plain.port },
    { port: silent.port, websocket: true },
    { port: silent.port, secure: true },
    { port: resetting.port, websocket: true },
    { port: resetting.port, secure: true },
    { host: 'localhost', port: refusedPort },
    { port: secured.port, ...trusting },
    { port: secured.port, secure: true },
    { port: silent.port, host: 'no..such..name' },
  ];
  const peers = () => [plain, silent, resetting, secured].flatMap((broker) => broker.peers);
  const descriptors = () => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0);
  const handles = () =>
    process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap' || name === 'Timeout');
  const round = async (count: number) => {
    for (let index = 0; index < count; index += fates.length) {
      const connections = fates.map((options) => probe(options));
      await someTurns();
      for (const { transport } of connections) transport.destroy();
    }
    await eventually(() => peers().every(({ isClosed }) => isClosed), 'the servers to see every connection closed');
  };
  await round(50);
  await eventually(
    () => handles().length === 0,
    () => `no handle before; there are ${handles().join(', ')}`,
  );
  const before = descriptors();
  await round(1000);
  await eventually(
    () => handles().length === 0 && descriptors() <= before,
    () => `nothing to be left; ${descriptors() - before} descriptors more than before, and ${handles().join(', ')}`,
  );
  for (const broker of [plain, silent, resetting, secured]) await broker.close();
});
