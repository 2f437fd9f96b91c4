import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NorthError } from '../../src/core/error.js';
import type { ErrorCode } from '../../src/core/error-codes.js';
import { type CertificatePaths, certificateWarnings, readCertificates } from '../../src/transport/certificate-files.js';
import { testCertificates } from '../kit/certificates.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const DAY_MS = 86_400_000;
const { authority, client } = await testCertificates();
const folder = temporaryFolder('certificate-files');

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function read(path: string): string {
  return readFileSync(path, 'utf8');
}

function refusal(paths: CertificatePaths): NorthError {
  try {
    readCertificates(paths);
  } catch (error) {
    assert.ok(error instanceof NorthError, String(error));
    return error;
  }
  throw new Error(`Nothing was refused of ${JSON.stringify(paths)}`);
}

const good = { certFilePath: client.good.certFile, keyFilePath: client.good.keyFile };
const certText = read(good.certFilePath);
const keyText = read(good.keyFilePath);

test('a certificate with its key and an authority is read, and tells when it ends', () => {
  const certificates = readCertificates({ ...good, caFilePath: authority.certFile });
  assert.equal(certificates.own.length, 1);
  assert.equal(certificates.authorities.length, 1);
  const days = ((certificates.expiresAtMs ?? 0) - Date.now()) / DAY_MS;
  assert.ok(days > 363 && days < 366);
  assert.equal(readCertificates({}).expiresAtMs, undefined);
});

test('Windows line ends, a byte-order mark, text around the blocks and a key in the same file are no problem', () => {
  const joined = file(
    'joined.pem',
    `\uFEFFBag Attributes\r\n${`${certText}\nkey:\n${keyText}`.replaceAll('\n', '\r\n')}`,
  );
  assert.equal(readCertificates({ certFilePath: joined }).own.length, 1);
  assert.ok(readCertificates({ certFilePath: joined, keyFilePath: joined }).secureContext('TLSv1.2'));
});

test('encrypted keys are opened by their passphrase, in both forms', () => {
  for (const { certFile, keyFile, passphrase } of [client.encrypted, client.encryptedTraditional]) {
    const paths = { certFilePath: certFile, keyFilePath: keyFile };
    assert.ok(readCertificates({ ...paths, keyPassphrase: passphrase }).secureContext('TLSv1.2'));
    for (const keyPassphrase of ['wrong', '']) {
      const error = refusal({ ...paths, keyPassphrase });
      assert.equal(error.code, 'CERTIFICATE_KEY_ENCRYPTED');
      assert.match(error.remedy, /keyPassphrase/);
      assert.doesNotMatch(error.message, /wrong/);
    }
    assert.match(refusal(paths).message, /there is no keyPassphrase/);
  }
  assert.ok(readCertificates({ ...good, keyPassphrase: 'not needed' }).secureContext('TLSv1.3'));
});

const REFUSED: [string, () => CertificatePaths, ErrorCode, RegExp, RegExp][] = [
  [
    'a missing certificate',
    () => ({ ...good, certFilePath: join(folder, 'none') }),
    'CERTIFICATE_FILE_MISSING',
    /none does not exist/,
    /certFilePath/,
  ],
  [
    'a missing key',
    () => ({ ...good, keyFilePath: join(folder, 'none') }),
    'CERTIFICATE_FILE_MISSING',
    /does not exist/,
    /keyFilePath/,
  ],
  [
    'a missing authority',
    () => ({ caFilePath: join(folder, 'x', 'y') }),
    'CERTIFICATE_FILE_MISSING',
    /does not exist/,
    /caFilePath/,
  ],
  ['a folder', () => ({ caFilePath: folder }), 'CERTIFICATE_FILE_MISSING', /is a folder/, /caFilePath/],
  ['a device', () => ({ caFilePath: '/dev/zero' }), 'CERTIFICATE_FILE_MISSING', /is no regular file/, /caFilePath/],
  ['a path with NUL', () => ({ caFilePath: 'a\0b' }), 'CERTIFICATE_FILE_MISSING', /cannot be read/, /caFilePath/],
  [
    'a key without a certificate',
    () => ({ keyFilePath: good.keyFilePath }),
    'CERTIFICATE_FILE_MISSING',
    /certFilePath is not set/,
    /certFilePath/,
  ],
  [
    'a certificate without a key',
    () => ({ certFilePath: good.certFilePath }),
    'CERTIFICATE_FILE_MISSING',
    /keyFilePath is not set/,
    /keyFilePath/,
  ],
  ['an empty file', () => ({ caFilePath: file('empty', '') }), 'CERTIFICATE_INVALID', /is empty/, /caFilePath/],
  [
    'some other text',
    () => ({ caFilePath: file('text', 'hello') }),
    'CERTIFICATE_INVALID',
    /is no PEM file/,
    /-----BEGIN/,
  ],
  [
    'UTF-16',
    () => ({ caFilePath: file('utf16', Buffer.from(`\uFEFF${certText}`, 'utf16le')) }),
    'CERTIFICATE_INVALID',
    /UTF-16/,
    /UTF-8/,
  ],
  [
    'DER',
    () => ({ caFilePath: file('der', readCertificates(good).own[0]!.raw) }),
    'CERTIFICATE_INVALID',
    /binary/,
    /openssl x509/,
  ],
  [
    'a cut-off certificate',
    () => ({ caFilePath: file('cut', certText.slice(0, 300)) }),
    'CERTIFICATE_INVALID',
    /cut off/,
    /caFilePath/,
  ],
  [
    'a damaged certificate',
    () => ({ caFilePath: file('bad', certText + certText.replace('MII', 'MIX')) }),
    'CERTIFICATE_INVALID',
    /number 2 of 2\) that is damaged/,
    /caFilePath/,
  ],
  [
    'a damaged key',
    () => ({ ...good, keyFilePath: file('badkey', keyText.replace('MIG', 'MIX')) }),
    'CERTIFICATE_INVALID',
    /private key that is damaged/,
    /keyFilePath/,
  ],
  [
    'a cut-off key',
    () => ({ ...good, keyFilePath: file('cutkey', keyText.slice(0, 90)) }),
    'CERTIFICATE_INVALID',
    /private key that is cut off/,
    /keyFilePath/,
  ],
  [
    'exchanged files',
    () => ({ certFilePath: good.keyFilePath, keyFilePath: good.certFilePath }),
    'CERTIFICATE_INVALID',
    /a private key and no certificate/,
    /exchanged/,
  ],
  [
    'a certificate as key',
    () => ({ ...good, keyFilePath: good.certFilePath }),
    'CERTIFICATE_INVALID',
    /a certificate and no private key/,
    /exchanged/,
  ],
  [
    'an OpenSSH key',
    () => ({
      ...good,
      keyFilePath: file('ssh', '-----BEGIN OPENSSH PRIVATE KEY-----\nb3\n-----END OPENSSH PRIVATE KEY-----\n'),
    }),
    'CERTIFICATE_INVALID',
    /OpenSSH/,
    /ssh-keygen/,
  ],
  [
    'a key of another certificate',
    () => ({ ...good, keyFilePath: client.expired.keyFile }),
    'CERTIFICATE_KEY_MISMATCH',
    /does not belong/,
    /key/,
  ],
  [
    'a chain in the wrong order',
    () => ({ ...good, certFilePath: file('order', read(authority.certFile) + certText) }),
    'CERTIFICATE_KEY_MISMATCH',
    /fits the 2\. certificate/,
    /first into the file/,
  ],
];

for (const [what, paths, code, message, remedy] of REFUSED) {
  test(`${what} is refused as ${code}, with the file and the setting`, () => {
    const error = refusal(paths());
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.match(error.remedy, remedy);
    assert.ok(error.place !== undefined && error.place !== '');
  });
}

test('a file that this process may not read says so', {
  skip: process.getuid?.() === 0 && 'root may read everything',
}, () => {
  const path = file('forbidden', certText);
  chmodSync(path, 0);
  assert.match(refusal({ caFilePath: path }).message, /may not be read/);
});

test('a large file that is no PEM is refused quickly and not parsed for minutes', () => {
  const path = file('large', '-----BEGIN CERTIFICATE-----\n'.repeat(140_000));
  assert.equal(refusal({ caFilePath: path }).code, 'CERTIFICATE_INVALID');
  const larger = file('larger', Buffer.alloc(5 * 1024 * 1024, 'x'));
  assert.match(refusal({ caFilePath: larger }).message, /too large/);
});

test('unchanged files are not read again; changed, replaced and restored ones are', () => {
  const paths = { certFilePath: file('c.crt', certText), keyFilePath: file('c.key', keyText) };
  const first = readCertificates(paths);
  assert.equal(readCertificates({ ...paths }), first);
  assert.equal(first.secureContext('TLSv1.2'), first.secureContext('TLSv1.2'));

  writeFileSync(paths.certFilePath, read(client.expired.certFile));
  assert.equal(refusal(paths).code, 'CERTIFICATE_KEY_MISMATCH');
  writeFileSync(paths.keyFilePath, read(client.expired.keyFile));
  assert.notEqual(readCertificates(paths).expiresAtMs, first.expiresAtMs);

  renameSync(file('new.crt', certText), paths.certFilePath);
  renameSync(file('new.key', keyText), paths.keyFilePath);
  assert.equal(readCertificates(paths).expiresAtMs, first.expiresAtMs);
  rmSync(paths.keyFilePath);
  assert.equal(refusal(paths).code, 'CERTIFICATE_FILE_MISSING');
});

test('another passphrase is tried anew and does not find the key that the right one has opened', () => {
  const { certFile, keyFile, passphrase } = client.encrypted;
  const paths = { certFilePath: certFile, keyFilePath: keyFile };
  readCertificates({ ...paths, keyPassphrase: passphrase });
  assert.equal(refusal({ ...paths, keyPassphrase: `${passphrase} ` }).code, 'CERTIFICATE_KEY_ENCRYPTED');
});

test('warnings come before our certificate ends, when it has ended, and not earlier', () => {
  const nowMs = Date.now();
  const expiring = { certFilePath: client.expiring.certFile, keyFilePath: client.expiring.keyFile };
  assert.deepEqual(certificateWarnings(good, nowMs), []);
  assert.deepEqual(certificateWarnings(good, nowMs + 340 * DAY_MS).length, 1);
  const [warning] = certificateWarnings(expiring, nowMs);
  assert.match(warning ?? '', /^Our certificate \(certFilePath .*\) expires on \d{4}-\d\d-\d\d, in 9 days\.$/);
  assert.deepEqual(certificateWarnings(expiring, nowMs, 9), []);
  assert.match(certificateWarnings(expiring, nowMs + 9 * DAY_MS)[0] ?? '', /in 0 days\.$/);
  assert.match(certificateWarnings(expiring, nowMs + 11 * DAY_MS)[0] ?? '', /expired on/);
  assert.deepEqual(certificateWarnings({ certFilePath: join(folder, 'none') }, nowMs), []);
});

test('a collection of authorities warns when the last of them ends, and not for each old one', () => {
  const nowMs = Date.now();
  const old = read(client.expired.certFile);
  mkdirSync(join(folder, 'ca'));
  const mixed = file('ca/mixed.pem', old + read(authority.certFile));
  assert.deepEqual(certificateWarnings({ caFilePath: mixed }, nowMs), []);
  const [warning] = certificateWarnings({ caFilePath: file('ca/old.pem', old) }, nowMs);
  assert.match(warning ?? '', /^The authority's certificate \(caFilePath .*\) expired on/);
});
