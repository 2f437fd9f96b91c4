import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testCertificates } from '../kit/certificates.js';
import { HAS_IPV6, startMosquitto } from '../kit/mosquitto.js';
import { CONNACK, CONNECT, DISCONNECT, type ProbeOptions, probe } from './probe.js';

async function exchange(options: ProbeOptions) {
  const connection = probe(options);
  const info = await connection.opened();
  assert.equal(connection.transport.write(CONNECT), true);
  assert.deepEqual(await connection.bytes(CONNACK.length), CONNACK);
  connection.transport.write(DISCONNECT);
  connection.transport.end();
  assert.equal(await connection.closed(), undefined);
  assert.deepEqual(connection.events, ['opened', 'received', 'closed']);
  assert.equal(connection.transport.bufferedSizeBytes, 0);
  return info;
}

test('a real broker answers over TCP, TLS, websockets and both', async () => {
  const broker = await startMosquitto({ tls: true, websockets: true });
  const { authority } = await testCertificates();
  const secure = { secure: true, caFilePath: authority.certFile };

  const plain = await exchange({ port: broker.port });
  assert.equal(plain.remoteAddress, `127.0.0.1:${broker.port}`);
  assert.match(plain.localAddress, /^127\.0\.0\.1:\d+$/);
  assert.equal(plain.tls, undefined);
  assert.equal(plain.upgradeMs, 0);
  assert.ok(plain.dialMs >= 0 && plain.lookupMs >= 0);

  const tls = await exchange({ port: broker.tlsPort, ...secure });
  assert.equal(tls.tls?.protocol, 'TLSv1.3');
  assert.match(tls.tls?.cipher ?? '', /^TLS_/);
  assert.equal(tls.tls?.authorized, true);
  assert.equal(tls.tls?.authorizationError, undefined);
  assert.ok(tls.handshakeMs > 0);
  const certificate = tls.tls?.certificate;
  assert.equal(certificate?.subject, 'CN=localhost, O=Test Plant');
  assert.equal(certificate?.issuer, 'CN=Plant Authority, O=Test Plant');
  assert.deepEqual(certificate?.altNames, ['localhost', '127.0.0.1', ...(certificate?.altNames.slice(2) ?? [])]);
  assert.match(certificate?.fingerprint256 ?? '', /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  const daysLeft = ((certificate?.validToMs ?? 0) - Date.now()) / 86_400_000;
  assert.ok(daysLeft > 363 && daysLeft < 366, `${daysLeft} days left`);

  const ws = await exchange({ port: broker.wsPort, websocket: true });
  assert.ok(ws.upgradeMs > 0);
  const wss = await exchange({ port: broker.wssPort, websocket: true, ...secure });
  assert.equal(wss.tls?.authorized, true);
  await broker.stop();
});

test('IPv6 addresses and names are dialled, and are compared with the certificate', { skip: !HAS_IPV6 }, async () => {
  const broker = await startMosquitto({ tls: true });
  const { authority } = await testCertificates();
  const { remoteAddress } = await exchange({ host: '::1', port: broker.port });
  assert.equal(remoteAddress, `[::1]:${broker.port}`);
  for (const host of ['::1', 'localhost']) {
    const info = await exchange({ host, port: broker.tlsPort, secure: true, caFilePath: authority.certFile });
    assert.equal(info.tls?.authorized, true);
  }
  await broker.stop();
});

test('a server name is expected in place of the host', async () => {
  const broker = await startMosquitto({ tls: 'wrongHost' });
  const { authority } = await testCertificates();
  const options = { port: broker.tlsPort, secure: true, caFilePath: authority.certFile };
  const info = await exchange({ ...options, servername: 'other.example' });
  assert.equal(info.tls?.authorized, true);
  await broker.stop();
});

test('the lowest version of TLS is kept, and an older one is used where it is allowed', async () => {
  const broker = await startMosquitto({ tls: true, tlsExtra: ['tls_version tlsv1.2'] });
  const { authority } = await testCertificates();
  const options = { port: broker.tlsPort, secure: true, caFilePath: authority.certFile };
  // The broker's setting is a lowest version, too; a server that cannot do better is scripted in the TLS tests.
  const info = await exchange({ ...options, minTlsVersion: 'TLSv1.3' });
  assert.equal(info.tls?.protocol, 'TLSv1.3');
  await exchange({ ...options, minTlsVersion: 'TLSv1.2' });
  await broker.stop();
});

test('a packet that is split over many writes and one that is joined with others arrive alike', async () => {
  const broker = await startMosquitto({ websockets: true });
  for (const options of [{ port: broker.port }, { port: broker.wsPort, websocket: true }]) {
    const connection = probe(options);
    await connection.opened();
    for (const byte of CONNECT) connection.transport.write(Uint8Array.of(byte));
    await connection.bytes(CONNACK.length);
    const pings = Buffer.from('c000'.repeat(1000), 'hex');
    connection.transport.write(pings);
    const answers = await connection.bytes(CONNACK.length + pings.length);
    assert.deepEqual(answers.subarray(CONNACK.length), Buffer.from('d000'.repeat(1000), 'hex'));
    connection.transport.destroy();
  }
  await broker.stop();
});

test('what was written before end arrives, and the caller keeps his bytes unchanged', async () => {
  const broker = await startMosquitto({ websockets: true, extra: ['log_type all'] });
  for (const options of [{ port: broker.port }, { port: broker.wsPort, websocket: true }]) {
    const connection = probe(options);
    await connection.opened();
    const bytes = Buffer.from(CONNECT);
    connection.transport.write(bytes);
    connection.transport.write(DISCONNECT);
    connection.transport.end();
    connection.transport.end();
    assert.equal(connection.transport.write(CONNECT), false, 'after end nothing more may be written');
    assert.equal(await connection.closed(), undefined);
    assert.deepEqual(bytes, CONNECT);
    assert.equal(connection.transport.write(CONNECT), false);
  }
  assert.equal(broker.log().split('Received DISCONNECT').length, 3);
  await broker.stop();
});
