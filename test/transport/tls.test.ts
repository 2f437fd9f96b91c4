import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TlsOptions } from 'node:tls';
import type { ErrorCode } from '../../src/core/error-codes.js';
import {
  type CertificatePair,
  makeCertificate,
  type ServerCertificate,
  testCertificates,
} from '../kit/certificates.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startProcess } from '../kit/process.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { CONNACK, CONNECT, failureOf, type ProbeOptions, probe } from './probe.js';

const { authority, otherAuthority, client, folder, server } = await testCertificates();

function pem({ certFile, keyFile }: CertificatePair): TlsOptions {
  return { cert: readFileSync(certFile), key: readFileSync(keyFile) };
}

const HAS_OPENSSL = spawnSync('openssl', ['version']).status === 0;
const trusting = { secure: true, caFilePath: authority.certFile };

/** Every certificate that is refused, with all that has to be said about it. */
const REFUSED: [ServerCertificate, ErrorCode, RegExp[]][] = [
  ['selfSigned', 'TLS_SELF_SIGNED', [/is self-signed \(by CN=localhost, O=Test Plant\)\.$/]],
  ['selfSignedExpired', 'TLS_SELF_SIGNED', [/is self-signed/, /it also expired on \d{4}-\d\d-\d\d/]],
  ['expired', 'TLS_EXPIRED', [/^The broker's certificate expired on \d{4}-\d\d-\d\d\.$/]],
  ['notYetValid', 'TLS_EXPIRED', [/is not valid before \d{4}-\d\d-\d\d\.$/]],
  ['wrongHost', 'TLS_HOST_MISMATCH', [/^The broker's certificate is for other\.example, not for 127\.0\.0\.1\.$/]],
  ['expiredWrongHost', 'TLS_EXPIRED', [/expired on/, /it also is for other\.example, not for 127\.0\.0\.1/]],
  [
    'untrusted',
    'TLS_UNTRUSTED',
    [/^The broker's certificate is signed by CN=Unknown Authority, O=Test Plant, which is no known/],
  ],
];

for (const [name, code, texts] of REFUSED) {
  test(`a broker's certificate of the kind ${name} is refused as ${code}, or is told when it is to be accepted`, async () => {
    const broker = await startMosquitto({ tls: name, websockets: true });
    const refused = await failureOf({ port: broker.tlsPort, ...trusting });
    assert.equal(refused.code, code, refused.message);
    for (const text of texts) assert.match(refused.message, text);
    assert.equal(refused.place, `127.0.0.1:${broker.tlsPort}`);
    assert.equal((await failureOf({ port: broker.wssPort, websocket: true, ...trusting })).code, code);

    const accepted = probe({ port: broker.tlsPort, ...trusting, rejectUnauthorized: false });
    const { tls } = await accepted.opened();
    assert.equal(tls?.authorized, false);
    assert.equal(tls?.authorizationError?.code, code);
    assert.equal(tls?.authorizationError?.message, refused.message);
    accepted.transport.write(CONNECT);
    await accepted.bytes(CONNACK.length);
    accepted.transport.destroy();
    await broker.stop();
  });
}

test('without a CA file the authorities of the system count, and the remedy names the setting', async () => {
  const broker = await startMosquitto({ tls: 'good' });
  const error = await failureOf({ port: broker.tlsPort, secure: true });
  assert.equal(error.code, 'TLS_UNTRUSTED');
  assert.match(error.message, /signed by CN=Plant Authority/);
  assert.match(error.remedy, /as authentication\.caFilePath\.$/);
  const wrongAuthority = await failureOf({ port: broker.tlsPort, secure: true, caFilePath: otherAuthority.certFile });
  assert.equal(wrongAuthority.code, 'TLS_UNTRUSTED');
  assert.match(wrongAuthority.remedy, new RegExp(`instead of ${otherAuthority.certFile}`));
  await broker.stop();
});

test('a self-signed certificate is trusted when it is given itself, and so is one that is pinned', async () => {
  for (const name of ['selfSigned', 'untrusted'] as const) {
    const broker = await startMosquitto({ tls: name });
    const connection = probe({ port: broker.tlsPort, secure: true, caFilePath: server[name].certFile });
    assert.equal((await connection.opened()).tls?.authorized, true);
    connection.transport.destroy();
    await broker.stop();
  }
});

test('an expired certificate is not trusted by being given itself', async () => {
  const broker = await startMosquitto({ tls: 'selfSignedExpired' });
  const error = await failureOf({
    port: broker.tlsPort,
    secure: true,
    caFilePath: server.selfSignedExpired.certFile,
  });
  assert.equal(error.code, 'TLS_EXPIRED');
  assert.doesNotMatch(error.message, /self-signed/);
  await broker.stop();
});

test('a chain over an intermediate authority is verified, and an expired link in it is named', async () => {
  const root = await makeCertificate(folder, { file: 'root', commonName: 'Root', isAuthority: true });
  const intermediate = await makeCertificate(folder, {
    file: 'intermediate',
    commonName: 'Line Authority',
    isAuthority: true,
    signer: root,
  });
  const expired = await makeCertificate(folder, {
    file: 'intermediate-expired',
    commonName: 'Old Line Authority',
    isAuthority: true,
    signer: root,
    fromDays: -20,
    toDays: -10,
  });
  for (const [link, code] of [
    [intermediate, undefined],
    [expired, 'TLS_EXPIRED'],
  ] as const) {
    const names = [{ type: 'ip' as const, value: '127.0.0.1' }];
    const leaf = await makeCertificate(folder, { file: 'leaf', commonName: 'leaf', names, signer: link });
    const cert = readFileSync(leaf.certFile, 'utf8') + readFileSync(link.certFile, 'utf8');
    const broker = await startScriptedBroker({ tls: { ...pem(leaf), cert } });
    if (code === undefined) {
      const connection = probe({ port: broker.port, secure: true, caFilePath: root.certFile });
      assert.equal((await connection.opened()).tls?.authorized, true);
      connection.transport.destroy();
    } else {
      const error = await failureOf({ port: broker.port, secure: true, caFilePath: root.certFile });
      assert.equal(error.code, code);
      assert.match(error.message, /depends on CN=Old Line Authority, O=Test Plant, which expired on/);
      assert.match(error.remedy, /authority's certificate/);
    }
    await broker.close();
  }
});

/** OpenSSL's own server says by an alert what it does not like about a client; that of Node.js just closes. */
async function startOpenSslServer(version: string): Promise<{ port: number; stop(): Promise<unknown> }> {
  const { certFile, keyFile } = server.good;
  const port = await freePort();
  const accept = ['-accept', `127.0.0.1:${port}`, version, '-cert', certFile, '-key', keyFile];
  const verify = ['-CAfile', authority.certFile, '-Verify', '1', '-verify_return_error'];
  const process = startProcess('openssl', ['s_server', ...accept, ...verify]);
  await process.waitForOutput('ACCEPT');
  return { port, stop: () => process.kill() };
}

for (const version of ['-tls1_2', '-tls1_3']) {
  test(`the refusal of a client certificate is told as such, with openssl ${version}`, {
    skip: !HAS_OPENSSL && 'no openssl',
  }, async () => {
    const broker = await startOpenSslServer(version);
    const show = ({ certFile, keyFile }: CertificatePair) => ({ certFilePath: certFile, keyFilePath: keyFile });
    const cases: [Partial<ProbeOptions>, RegExp][] = [
      [{}, /it wants a client certificate, and got none/],
      [show(client.untrusted), /it does not know the authority that signed our certificate/],
      [show(client.expired), /our certificate has expired/],
    ];
    for (const [options, reason] of cases) {
      const connection = probe({ port: broker.port, ...trusting, ...options }, (name, { transport }) => {
        if (name === 'opened') transport.write(CONNECT);
      });
      const error = await connection.closed();
      assert.equal(error?.code, 'TLS_CLIENT_CERTIFICATE', `${error?.code}: ${error?.message}`);
      assert.match(error?.message ?? '', reason);
      assert.deepEqual(connection.events, version === '-tls1_3' ? ['opened', 'closed'] : ['closed']);
    }
    await broker.stop();
  });
}

test('a server that closes without an alert after the handshake leaves a hint at the client certificate', async () => {
  const tls: TlsOptions = { ...pem(server.good), requestCert: true, ca: readFileSync(authority.certFile) };
  const broker = await startScriptedBroker({ tls });
  const untrusted = { certFilePath: client.untrusted.certFile, keyFilePath: client.untrusted.keyFile };
  const error = await probe({ port: broker.port, ...trusting, ...untrusted }).closed();
  assert.match(error?.code ?? '', /BROKER_CLOSED|CONNECTION_LOST/);
  assert.match(error?.remedy ?? '', /may not accept our certificate: check authentication\.certFilePath/);
  await broker.close();
});

test('a real broker that wants client certificates takes ours, and tells what it does not take', async () => {
  const broker = await startMosquitto({ tls: true, websockets: true, clientCertificates: true });
  const { certFile, keyFile, passphrase } = client.encrypted;
  const ours = { certFilePath: certFile, keyFilePath: keyFile, keyPassphrase: passphrase };
  const untrusted = { certFilePath: client.untrusted.certFile, keyFilePath: client.untrusted.keyFile };
  for (const listener of [{ port: broker.tlsPort }, { port: broker.wssPort, websocket: true }]) {
    const connection = probe({ ...listener, ...trusting, ...ours });
    await connection.opened();
    connection.transport.write(CONNECT);
    await connection.bytes(CONNACK.length);
    connection.transport.destroy();
    const missing = await probe({ ...listener, ...trusting }).closed();
    assert.equal(missing?.code, 'TLS_CLIENT_CERTIFICATE', missing?.message);
    assert.match(missing?.remedy ?? '', /authentication\.type to cert/);
    const refused = await probe({ ...listener, ...trusting, ...untrusted }).closed();
    assert.equal(refused?.code, 'TLS_CLIENT_CERTIFICATE', refused?.message);
    assert.match(refused?.remedy ?? '', /authentication\.certFilePath/);
  }
  await broker.stop();
});

test('a broker with no common version of TLS, and one with no common protocol of ALPN, is a failed handshake', async () => {
  const old = await startScriptedBroker({ tls: { ...pem(server.good), maxVersion: 'TLSv1.2' } });
  const error = await failureOf({ port: old.port, ...trusting, minTlsVersion: 'TLSv1.3' });
  assert.equal(error.code, 'TLS_FAILED', error.message);
  assert.match(error.remedy, /minTlsVersion/);
  const connection = probe({ port: old.port, ...trusting, minTlsVersion: 'TLSv1.2' });
  assert.equal((await connection.opened()).tls?.protocol, 'TLSv1.2');
  connection.transport.destroy();
  await old.close();

  const chooser = await startScriptedBroker({
    tls: { ...pem(server.good), ALPNProtocols: ['mqtt', 'x-amzn-mqtt-ca'] },
  });
  const chosen = probe({ port: chooser.port, ...trusting, alpn: ['x-amzn-mqtt-ca'] });
  assert.equal((await chosen.opened()).tls?.alpnProtocol, 'x-amzn-mqtt-ca');
  chosen.transport.destroy();
  const unknown = await failureOf({ port: chooser.port, ...trusting, alpn: ['h2'] });
  assert.equal(unknown.code, 'TLS_FAILED');
  assert.match(unknown.remedy, /alpn/);
  await chooser.close();
});

test('the name of the host goes to the server, an address does not, and a server name takes its place', async () => {
  const asked: unknown[] = [];
  const tls: TlsOptions = {
    ...pem(server.good),
    SNICallback(name, answer) {
      asked.push(name);
      answer(null);
    },
  };
  const broker = await startScriptedBroker({ tls });
  for (const options of [{ host: 'localhost' }, { host: '127.0.0.1' }, { servername: 'localhost' }]) {
    const connection = probe({ port: broker.port, ...trusting, ...options });
    await connection.opened();
    connection.transport.destroy();
  }
  assert.deepEqual(asked, ['localhost', 'localhost']);
  const byAddress = await failureOf({ port: broker.port, ...trusting, host: 'localhost', servername: '10.1.2.3' });
  assert.equal(byAddress.code, 'TLS_HOST_MISMATCH');
  assert.deepEqual(asked, ['localhost', 'localhost']);
  await broker.close();
});

test('certificates are read anew when their files have changed', async () => {
  const broker = await startMosquitto({ tls: true, clientCertificates: true });
  const ours = { certFilePath: join(folder, 'rotated.crt'), keyFilePath: join(folder, 'rotated.key') };
  const place = (pair: CertificatePair) => {
    writeFileSync(ours.certFilePath, readFileSync(pair.certFile));
    writeFileSync(ours.keyFilePath, readFileSync(pair.keyFile));
  };
  place(client.expired);
  const expired = await probe({ port: broker.tlsPort, ...trusting, ...ours }).closed();
  assert.equal(expired?.code, 'TLS_CLIENT_CERTIFICATE');
  place(client.good);
  const connection = probe({ port: broker.tlsPort, ...trusting, ...ours });
  await connection.opened();
  connection.transport.write(CONNECT);
  await connection.bytes(CONNACK.length);
  connection.transport.destroy();
  await broker.stop();
});
