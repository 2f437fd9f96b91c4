import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { isConnectedToItself, type Lookup } from '../../src/transport/dial.js';
import { startBlackhole } from '../kit/blackhole.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { HAS_IPV6 } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { failureOf, probe } from './probe.js';

/** Linux answers on all of 127.0.0.0/8; elsewhere there is only the first address. */
const skip = process.platform !== 'linux' && 'this system has one loopback address only';
const host = 'broker.example';

function resolvingTo(...addresses: string[]): Lookup {
  const answers: LookupAddress[] = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  return (_, answer) => setImmediate(answer, null, answers);
}

/** Sockets of this process that dial or are connected; those of the kit do not count. */
function openSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

test('an address that refuses is followed by the next one at once', { skip: !HAS_IPV6 }, async () => {
  const broker = await startScriptedBroker({});
  const clock = new ManualClock();
  const connection = probe({ host, port: broker.port, lookup: resolvingTo('::1', '127.0.0.1'), clock });
  assert.equal((await connection.opened()).remoteAddress, `127.0.0.1:${broker.port}`);
  assert.equal(clock.monotonicMs(), 0);
  connection.transport.destroy();
  assert.deepEqual(clock.waitsMs, []);
  await broker.close();
});

test('an address that does not answer is joined by the next one after a quarter of a second', { skip }, async () => {
  const blackhole = await startBlackhole();
  const broker = await startScriptedBroker({ host: '127.0.0.2', port: blackhole.port });
  const clock = new ManualClock();
  const lookup = resolvingTo('127.0.0.1', '127.0.0.2');
  const connection = probe({ host, port: blackhole.port, lookup, clock, connectTimeoutMs: 1000 });
  await eventually(() => clock.waitsMs.length === 2, 'the first attempt');
  assert.deepEqual(clock.waitsMs, [250, 1000]);
  clock.advance(249);
  assert.equal(broker.peers.length, 0);
  clock.advance(1);
  const info = await connection.opened();
  assert.equal(info.remoteAddress, `127.0.0.2:${blackhole.port}`);
  assert.equal(info.dialMs, 250);
  await eventually(() => openSockets() === 1, 'the first attempt to be given up');
  connection.transport.destroy();
  await broker.close();
  await blackhole.close();
});

test('a dial that is given up goes on with none of its attempts', { skip }, async () => {
  const blackhole = await startBlackhole();
  const clock = new ManualClock();
  const lookup = resolvingTo('127.0.0.1', '127.0.0.1', '127.0.0.1');
  const connection = probe({ host, port: blackhole.port, lookup, clock });
  await eventually(() => clock.waitsMs.length === 2, 'the first attempt');
  clock.advance(250);
  assert.equal(openSockets(), 2);
  connection.transport.destroy();
  assert.deepEqual(clock.waitsMs, []);
  await eventually(() => openSockets() === 0, 'the attempts to be given up');
  await blackhole.close();
});

test('an address that answers late is not given up for others that fail', { skip }, async () => {
  const blackhole = await startBlackhole();
  const clock = new ManualClock();
  const lookup = resolvingTo('127.0.0.1', '127.0.0.2', '127.0.0.3');
  const connection = probe({ host, port: blackhole.port, lookup, clock });
  await eventually(() => clock.waitsMs.length === 2, 'the first attempt');
  clock.advance(250);
  // Both others refuse at once; the first goes on alone.
  await eventually(() => clock.waitsMs.length === 1, 'the others to fail');
  assert.deepEqual(connection.events, []);
  blackhole.release();
  assert.equal((await connection.opened()).remoteAddress, `127.0.0.1:${blackhole.port}`);
  connection.transport.destroy();
  await blackhole.close();
});

test('the families alternate, and all addresses that failed are named', { skip: !HAS_IPV6 || skip }, async () => {
  const port = await freePort();
  const error = await failureOf({
    host,
    port,
    lookup: resolvingTo('127.0.0.1', '127.0.0.2', '::1', '255.255.255.255'),
  });
  assert.equal(error.code, 'BROKER_REFUSED');
  assert.match(
    error.message,
    new RegExp(
      `^127.0.0.1:${port} refused the connection; \\[::1\\]:${port} refused the connection; ` +
        `127.0.0.2:${port} refused the connection; 255.255.255.255:${port} .*\\.$`,
    ),
  );
  assert.equal(error.place, `${host}:${port}`);
});

test('a name that resolves to hundreds of dead addresses ends within the timeout', async () => {
  const port = await freePort();
  const addresses = Array.from({ length: 300 }, () => '127.0.0.1');
  assert.equal((await failureOf({ host, port, lookup: resolvingTo(...addresses) })).code, 'BROKER_REFUSED');
});

test('a connection of a port with itself is recognised', async () => {
  const port = await freePort();
  const itself: Socket = connect({ host: '127.0.0.1', port, localPort: port });
  await new Promise((resolve, reject) => itself.once('connect', resolve).once('error', reject));
  assert.equal(isConnectedToItself(itself), true);
  itself.destroy();
  const broker = await startScriptedBroker({});
  const other = connect(broker.port, '127.0.0.1');
  await new Promise((resolve) => other.once('connect', resolve));
  assert.equal(isConnectedToItself(other), false);
  other.destroy();
  await broker.close();
});
