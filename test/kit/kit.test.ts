import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { connect as connectMqtt } from 'mqtt';
import type { Packet } from 'mqtt-packet';
import { startBlackhole } from './blackhole.js';
import { eventually, within } from './deadline.js';
import { ManualClock } from './manual-clock.js';
import { startMosquitto } from './mosquitto.js';
import { startScript } from './process.js';
import { startProxy } from './proxy.js';
import { startScriptedBroker } from './scripted-broker.js';
import { openSubscriber } from './subscriber.js';
import { startSubscriberProcess } from './subscriber-process.js';

test('a condition that is never met fails with what it last saw', async () => {
  let count = 0;
  await assert.rejects(
    eventually(() => ++count < 0, 'a negative count', 30),
    /Waited 30 ms for: a negative count\. Last seen: false/,
  );
  await assert.rejects(
    eventually(() => assert.equal(1, 2), 'equality', 30),
    /Last seen: Expected values to be strictly equal/,
  );
  assert.ok(count > 1);
});

test('a persistent subscriber gets through a restart of the broker what was published meanwhile', async () => {
  const broker = await startMosquitto({ persistence: true });
  const subscriber = await openSubscriber({ url: broker.url, persistentClientId: 'watcher' });
  await subscriber.publish('a', '1', { qos: 2 });
  await subscriber.waitFor(1);
  await broker.save();
  await broker.kill();
  await broker.restart();
  await eventually(() => subscriber.connectionCount >= 2, 'the subscriber to connect again');
  await subscriber.publish('a', '2', { qos: 2 });
  await subscriber.waitFor(2);
  assert.deepEqual(subscriber.texts('a'), ['1', '2']);
  assert.equal(subscriber.messages[1]?.qos, 2);
  await subscriber.close();
  await broker.stop();
});

test('a subscriber gets a message of QoS 2 whose connection ended between PUBREC and PUBREL', async () => {
  const publish = { cmd: 'publish', topic: 'a', payload: 'once', qos: 2, messageId: 7, dup: false, retain: false };
  const broker = await startScriptedBroker({
    connack: { sessionPresent: true },
    onPacket(packet, peer) {
      if (packet.cmd === 'subscribe' && peer.number === 1) peer.send(publish as Packet);
      if (packet.cmd === 'pubrec') peer.reset();
      return 'default';
    },
    onConnection(peer) {
      if (peer.number === 2) setTimeout(() => peer.send({ cmd: 'pubrel', messageId: 7 } as Packet), 50);
    },
  });
  const subscriber = await openSubscriber({ url: broker.url, persistentClientId: 'watcher', protocolVersion: 4 });
  await subscriber.waitFor(1);
  assert.deepEqual(subscriber.texts(), ['once']);
  await subscriber.close();
  await broker.close();
});

test('a subscriber whose broker has forgotten everything subscribes again', async () => {
  const broker = await startMosquitto();
  const subscriber = await openSubscriber({ url: broker.url, persistentClientId: 'watcher' });
  await broker.kill();
  await broker.restart();
  await eventually(() => subscriber.connectionCount >= 2, 'the subscriber to connect again');
  await subscriber.publish('a', '1', { qos: 2 });
  await subscriber.waitFor(1);
  await subscriber.close();
  await broker.stop();
});

test('wrong passwords and topics outside the ACL are refused', async () => {
  const broker = await startMosquitto({ passwords: { ann: 'secret' }, acl: 'user ann\ntopic readwrite mine/#' });
  const client = { username: 'ann', password: 'secret' };
  const subscriber = await openSubscriber({ url: broker.url, client });
  const outsider = await openSubscriber({ url: broker.url, client });
  await assert.rejects(outsider.publish('yours/x', 'no', { qos: 1 }), /Not authorized/);
  await subscriber.publish('mine/x', 'yes', { qos: 1 });
  await subscriber.waitFor(1);
  assert.deepEqual(subscriber.texts(), ['yes']);
  await outsider.close();
  await subscriber.close();
  const refused = connectMqtt(broker.url, { ...client, password: 'wrong', reconnectPeriod: 0 });
  const error = await within(new Promise<Error>((resolve) => refused.on('error', resolve)), 'the refusal');
  assert.match(error.message, /Not authorized/);
  await broker.stop();
});

test('what a test process has started ends with it, also when it is killed', async () => {
  const parent = startScript('test/kit/process-that-starts-a-broker.js');
  const { pid, folder } = JSON.parse((await parent.waitForOutput(/\{.*\}/))[0]);
  process.kill(pid, 0);
  await parent.kill('SIGKILL');
  await eventually(() => {
    const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : 'gone';
    // A zombie has ended; who has to take note of it is none of ours.
    return (stat === 'gone' || /\) [ZX] /.test(stat)) && !existsSync(folder);
  }, 'the broker and its folder to be gone');
});

/** Echoes through a proxy; gives what has come back so far. */
async function echoThrough(record = false) {
  const { createServer } = await import('node:net');
  const server = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const proxy = await startProxy({ targetPort: address.port, record });
  const dial = () => {
    const seen = { text: '', ended: '' };
    const socket = connect(proxy.port, '127.0.0.1');
    socket.on('data', (chunk) => {
      seen.text += chunk;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      seen.ended = String(error.code);
    });
    socket.on('end', () => {
      seen.ended = 'end';
    });
    return { socket, seen };
  };
  const close = async () => {
    await proxy.close();
    server.close();
  };
  return { proxy, dial, close };
}

test('the proxy passes bytes on in order, records them, and delays them', async () => {
  const { proxy, dial, close } = await echoThrough(true);
  proxy.delayMs = 20;
  const { socket, seen } = dial();
  const startMs = performance.now();
  for (const letter of 'abcdefgh') socket.write(letter);
  await eventually(
    () => seen.text === 'abcdefgh',
    () => `the echo; it is ${seen.text}`,
  );
  assert.ok(performance.now() - startMs >= 38, 'it came back sooner than the delays allow');
  assert.equal(proxy.recorded('toBroker').toString(), 'abcdefgh');
  assert.equal(proxy.recorded('toClient').toString(), 'abcdefgh');
  socket.end();
  await eventually(() => seen.ended === 'end', 'the end to come through');
  await eventually(() => proxy.openCount === 0, 'the proxy to forget the connection');
  assert.equal(proxy.connectionCount, 1);
  await close();
});

test('the proxy cuts after exactly the bytes that it was told', async () => {
  const { proxy, dial, close } = await echoThrough();
  const { socket, seen } = dial();
  socket.write('12345');
  await eventually(() => seen.text === '12345', 'the echo');
  proxy.cutAfter('toClient', 3);
  socket.write('67890');
  await eventually(() => seen.ended !== '', 'the cut');
  assert.equal(seen.text, '12345678');
  const other = dial();
  other.socket.write('x');
  await eventually(() => other.seen.text === 'x', 'a later connection to work');
  proxy.cut();
  await eventually(() => other.seen.ended === 'ECONNRESET', 'the reset');
  await close();
});

test('when the proxy hangs up, the other side has read everything that was passed on before it sees the end', async () => {
  const { createServer } = await import('node:net');
  const read: string[] = [];
  const server = createServer((socket) => {
    // It reads late, so that the bytes wait for it.
    socket.pause();
    setTimeout(() => socket.resume(), 50);
    socket.on('data', (chunk) => void read.push(chunk.toString()));
    socket.on('end', () => void read.push('end'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const passed: string[] = [];
  const proxy = await startProxy({
    targetPort: address.port,
    passed: (connection, direction, chunk) => void passed.push(`${connection} ${direction} ${chunk}`),
  });
  const socket = connect(proxy.port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write('last words');
  await eventually(() => passed.length > 0, 'the bytes to be passed on');
  proxy.hangUp();
  await eventually(() => proxy.openCount === 0, 'the server to close');
  assert.deepEqual(read, ['last words', 'end']);
  assert.deepEqual(passed, ['1 toBroker last words']);
  await proxy.close();
  server.close();
});

test('the proxy stalls, swallows, resumes and refuses', async () => {
  const { proxy, dial, close } = await echoThrough();
  const { socket, seen } = dial();
  proxy.stall('toClient');
  socket.write('a');
  await eventually(() => proxy.passedBytes.toBroker === 1, 'the byte to reach the broker');
  assert.equal(seen.text, '');
  proxy.resume('toClient');
  await eventually(() => seen.text === 'a', 'the stalled byte');
  proxy.swallow('toBroker');
  socket.write('b');
  await eventually(() => socket.bytesWritten === 2 && socket.writableLength === 0, 'the byte to be sent');
  await proxy.refuse();
  const refused = dial();
  await eventually(() => refused.seen.ended === 'ECONNREFUSED', 'the refusal');
  proxy.resume('toBroker');
  socket.write('c');
  await eventually(() => seen.text.endsWith('c'), 'the connection that was there to go on');
  await proxy.accept();
  const accepted = dial();
  accepted.socket.write('d');
  await eventually(() => accepted.seen.text === 'd', 'the port to be open again');
  await close();
});

test('a client reads the resets of a broker through the proxy', async () => {
  const broker = await startScriptedBroker({ behaviour: 'resetting' });
  const proxy = await startProxy({ targetPort: broker.port });
  const socket = connect(proxy.port, '127.0.0.1');
  const error = await new Promise<NodeJS.ErrnoException>((resolve) => socket.on('error', resolve));
  assert.equal(error.code, 'ECONNRESET');
  await proxy.close();
  await broker.close();
});

for (const protocolVersion of [4, 5] as const) {
  test(`the scripted broker answers a real client of version ${protocolVersion}, and the script decides`, async () => {
    const broker = await startScriptedBroker({
      connack: (connect) => ({ properties: connect.protocolVersion === 5 ? { receiveMaximum: 7 } : {} }),
      onPacket(packet, peer) {
        if (packet.cmd !== 'publish' || packet.topic !== 'twice') return 'default';
        peer.answer(packet);
        peer.answer(packet);
      },
    });
    const client = connectMqtt(broker.url, { protocolVersion });
    const connack = await within(new Promise((resolve) => client.on('connect', resolve)), 'the CONNACK');
    if (protocolVersion === 5) assert.equal((connack as { properties: unknown }).properties !== undefined, true);
    await within(client.publishAsync('a', 'x', { qos: 1 }), 'the PUBACK');
    await within(client.publishAsync('b', 'x', { qos: 2 }), 'the PUBCOMP');
    await within(client.publishAsync('twice', 'x', { qos: 1 }), 'the second PUBACK');
    await client.endAsync();
    const commands = broker.packets.map(({ cmd }) => cmd);
    assert.deepEqual(commands, ['connect', 'publish', 'publish', 'pubrel', 'publish', 'disconnect']);
    await broker.close();
  });
}

test('a subscriber in another process keeps what it received, also when it is killed', async () => {
  const broker = await startMosquitto();
  const other = await startSubscriberProcess({ url: broker.url, persistentClientId: 'other', topics: 'a/#' });
  const publisher = await openSubscriber({ url: broker.url, topics: 'nothing' });
  for (let count = 0; count < 50; count++) {
    await publisher.publish('a/ä', Buffer.from(`${count} ☃\n`), { qos: 2 });
  }
  const messages = await other.waitFor(50);
  assert.deepEqual(
    messages.map(({ text }) => text),
    Array.from({ length: 50 }, (_, count) => `${count} ☃\n`),
  );
  assert.equal(messages[0]?.topic, 'a/ä');
  assert.equal(messages[0]?.qos, 2);
  await other.process.kill('SIGKILL');
  assert.equal(other.messages().length, 50);
  await publisher.close();
  await broker.stop();
});

test('a port that drops packets lets nobody in until it is released', async () => {
  const blackhole = await startBlackhole();
  const socket = connect(blackhole.port, '127.0.0.1');
  let isConnected = false;
  socket.on('connect', () => {
    isConnected = true;
  });
  const open = await startScriptedBroker({});
  const other = connect(open.port, '127.0.0.1');
  await new Promise((resolve) => other.once('connect', resolve));
  assert.equal(isConnected, false, 'a later dial to an open port overtakes it');
  other.destroy();
  await open.close();
  blackhole.release();
  await eventually(() => isConnected, 'the connection to get through');
  socket.destroy();
  await blackhole.close();
});

test('a clock that is driven by hand calls what is due in order, and nothing else', () => {
  const clock = new ManualClock(1000);
  const calls: string[] = [];
  clock.schedule(20, () => calls.push(`b at ${clock.monotonicMs()}`));
  clock.schedule(10, () => {
    calls.push(`a at ${clock.monotonicMs()}`);
    clock.schedule(5, () => calls.push(`a2 at ${clock.monotonicMs()}`));
  });
  const cancel = clock.schedule(12, () => calls.push('cancelled'));
  cancel();
  clock.advance(9);
  assert.deepEqual(calls, []);
  clock.advance(11);
  assert.deepEqual(calls, ['a at 10', 'a2 at 15', 'b at 20']);
  clock.jumpWall(-500);
  assert.equal(clock.wallMs(), 520);
});
