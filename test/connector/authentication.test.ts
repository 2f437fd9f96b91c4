import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ERRORS, type ErrorCode } from '../../src/core/error-codes.js';
import { testCertificates } from '../kit/certificates.js';
import { eventually } from '../kit/deadline.js';
import { type Mosquitto, type MosquittoOptions, startMosquitto } from '../kit/mosquitto.js';
import { openSubscriber } from '../kit/subscriber.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { openSubject, type SettingsInput } from './subject.js';

const { authority, client } = await testCertificates();
const PASSWORD = 'pass word: ü"#';

type Authentication = NonNullable<SettingsInput['authentication']>;

async function startBroker(t: TestContext, options: MosquittoOptions): Promise<Mosquitto> {
  const broker = await startMosquitto(options);
  t.after(() => broker.stop());
  return broker;
}

function certificate(files: { certFile?: string; keyFile?: string; caFile?: string }): Authentication {
  const { certFile = client.good.certFile, keyFile = client.good.keyFile, caFile = authority.certFile } = files;
  return { type: 'cert', certFilePath: certFile, keyFilePath: keyFile, caFilePath: caFile };
}

/** It fails with the code and its remedy, and goes on trying. */
async function assertRefused(
  t: TestContext,
  settings: SettingsInput,
  code: ErrorCode,
  says: RegExp,
  remedy?: RegExp,
): Promise<void> {
  const subject = await openSubject(t, settings);
  const error = await subject.untilFailed(code);
  assert.match(error.message, says);
  assert.match(error.remedy, remedy ?? new RegExp(ERRORS[code].remedy.slice(0, 20)));
  const status = await subject.status();
  assert.equal(status.lastError?.code, code);
  assert.equal(status.lastError?.remedy, error.remedy);
  await eventually(() => subject.failures.length >= 2, 'it to go on trying');
  const told = JSON.stringify([status, subject.log, subject.failures]);
  assert.ok(!told.includes(PASSWORD) && !told.includes(client.encrypted.passphrase), told);
  await subject.close();
}

async function assertAccepted(t: TestContext, settings: SettingsInput): Promise<void> {
  const subject = await openSubject(t, settings);
  await subject.send('accepted');
  await subject.untilEmpty();
  assert.equal((await subject.status()).state, 'online');
  await subject.close();
}

test('user name and password let in, and a wrong one is refused as such under both versions', async (t) => {
  const { url } = await startBroker(t, { passwords: { ann: PASSWORD } });
  await assertAccepted(t, { url, authentication: { type: 'basic', username: 'ann', password: PASSWORD } });
  for (const protocolVersion of ['5', '3.1.1'] as const) {
    // Mosquitto calls a wrong password "not authorized" in both versions.
    const wrong = { type: 'basic', username: 'ann', password: 'wrong' } as const;
    await assertRefused(
      t,
      { url, protocolVersion, authentication: wrong },
      'BROKER_NOT_AUTHORIZED',
      /not authorized/i,
      /user/,
    );
    await assertRefused(t, { url, protocolVersion }, 'BROKER_NOT_AUTHORIZED', /not authorized/i, /user/);
  }
});

test('a CA alone goes with none and with basic', async (t) => {
  const broker = await startBroker(t, { tls: true, passwords: { ann: PASSWORD }, allowAnonymous: true });
  const url = `mqtts://127.0.0.1:${broker.tlsPort}`;
  const basic = { type: 'basic', username: 'ann', password: PASSWORD } as const;
  await assertAccepted(t, { url, authentication: { type: 'none', caFilePath: authority.certFile } });
  await assertAccepted(t, { url, authentication: { ...basic, caFilePath: authority.certFile } });
  // Without it, the authorities of the system count, which do not know this one.
  await assertRefused(t, { url }, 'TLS_UNTRUSTED', /authority|issuer/, /caFilePath/);
  await assertRefused(t, { url, authentication: basic }, 'TLS_UNTRUSTED', /authority|issuer/, /caFilePath/);
});

test('a client certificate lets in, with its own name, and with a key that is encrypted in either form', async (t) => {
  const tlsExtra = ['use_identity_as_username true'];
  const acl = 'user press-line-7\ntopic write press/#\nuser watcher\ntopic read #';
  const passwords = { watcher: 'w' };
  const broker = await startBroker(t, { tls: true, clientCertificates: true, tlsExtra, acl, passwords });
  const url = `mqtts://127.0.0.1:${broker.tlsPort}`;
  const watching = { username: 'watcher', password: 'w' };
  const subscriber = await openSubscriber({ url: broker.url, client: watching });
  t.after(() => subscriber.close());
  const settings: [SettingsInput, string][] = [
    [{ url, authentication: certificate({}) }, 'plain key'],
    [{ url, authentication: certificate(client.encrypted), keyPassphrase: client.encrypted.passphrase }, 'PKCS #8'],
    [
      { url, authentication: certificate(client.encryptedTraditional), keyPassphrase: client.encrypted.passphrase },
      'SEC1',
    ],
  ];
  for (const [each, name] of settings) {
    const subject = await openSubject(t, each);
    await subject.send({ topic: 'press/hello', payload: name });
    await subscriber.waitFor((messages) => messages.some(({ text }) => text === name));
    assert.deepEqual((await subject.status()).warnings, []);
    await subject.close();
  }
});

test('what is wrong with a client certificate has a code of its own, each with a remedy', async (t) => {
  const broker = await startBroker(t, { tls: true, clientCertificates: true });
  const url = `mqtts://127.0.0.1:${broker.tlsPort}`;
  const folder = temporaryFolder('keys');
  const file = (name: string, text = ''): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const missing = join(folder, 'missing.pem');
  const directory = join(folder, 'directory');
  mkdirSync(directory);
  const cases: [Partial<SettingsInput>, ErrorCode, RegExp, RegExp?][] = [
    [
      { authentication: certificate({ certFile: missing }) },
      'CERTIFICATE_FILE_MISSING',
      /missing\.pem/,
      /certFilePath/,
    ],
    [{ authentication: certificate({ keyFile: missing }) }, 'CERTIFICATE_FILE_MISSING', /missing\.pem/, /keyFilePath/],
    [{ authentication: certificate({ caFile: missing }) }, 'CERTIFICATE_FILE_MISSING', /missing\.pem/, /caFilePath/],
    [{ authentication: certificate({ keyFile: directory }) }, 'CERTIFICATE_FILE_MISSING', /directory/],
    [{ authentication: certificate({ certFile: file('empty.pem') }) }, 'CERTIFICATE_INVALID', /empty\.pem/],
    [{ authentication: certificate({ keyFile: file('text.pem', 'no key\n') }) }, 'CERTIFICATE_INVALID', /text\.pem/],
    [{ authentication: certificate({ keyFile: client.untrusted.keyFile }) }, 'CERTIFICATE_KEY_MISMATCH', /key/],
    [{ authentication: certificate(client.encrypted) }, 'CERTIFICATE_KEY_ENCRYPTED', /encrypted/, /keyPassphrase/],
    [
      { authentication: certificate(client.encrypted), keyPassphrase: 'wrong' },
      'CERTIFICATE_KEY_ENCRYPTED',
      /keyPassphrase does not open/,
      /keyPassphrase/,
    ],
    [{ authentication: certificate(client.untrusted) }, 'TLS_CLIENT_CERTIFICATE', /authority|certificate/],
    [{ authentication: certificate(client.expired) }, 'TLS_CLIENT_CERTIFICATE', /expired|certificate/],
    [{ authentication: { type: 'none', caFilePath: authority.certFile } }, 'TLS_CLIENT_CERTIFICATE', /wants/, /cert/],
  ];
  for (const [settings, code, says, remedy] of cases) {
    await t.test(`${code} ${says.source}`, (inner) =>
      assertRefused(inner, { url, ...settings }, code, says, remedy ?? /./),
    );
  }
});

test('a key that may not be read is told apart from one that is not there', {
  skip: process.getuid?.() === 0 && 'root reads every file',
}, async (t) => {
  const broker = await startBroker(t, { tls: true, clientCertificates: true });
  const keyFile = join(temporaryFolder('keys'), 'secret.key');
  copyFileSync(client.good.keyFile, keyFile);
  chmodSync(keyFile, 0);
  const settings = { url: `mqtts://127.0.0.1:${broker.tlsPort}`, authentication: certificate({ keyFile }) };
  await assertRefused(t, settings, 'CERTIFICATE_FILE_MISSING', /may not be read|permission/, /rights/);
});

test('a client certificate that comes near its end gives a warning', async (t) => {
  const broker = await startBroker(t, { tls: true, clientCertificates: true });
  const url = `mqtts://127.0.0.1:${broker.tlsPort}`;
  const subject = await openSubject(t, { url, authentication: certificate(client.expiring) });
  const { warnings } = await subject.untilOnline();
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /certificate .*expires|expires .*certificate/i);
});
