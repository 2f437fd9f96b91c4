/** Certificates of every kind that a broker or we may present, made once per process, as PEM files. */
import 'reflect-metadata';
import { createPrivateKey, webcrypto } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { temporaryFolder } from './temporary-folder.js';

x509.cryptoProvider.set(webcrypto);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 60 * 60 * 1000;
const LOCAL_NAMES: x509.JsonGeneralNames = [
  { type: 'dns', value: 'localhost' },
  { type: 'ip', value: '127.0.0.1' },
  { type: 'ip', value: '::1' },
];

export interface CertificatePair {
  certFile: string;
  keyFile: string;
}

/** What the broker shows. All but `selfSigned` and `untrusted` are signed by `authority`. */
export const SERVER_CERTIFICATES = [
  'good',
  'expired',
  'notYetValid',
  'wrongHost',
  'selfSigned',
  'selfSignedExpired',
  'expiredWrongHost',
  'untrusted',
] as const;
export type ServerCertificate = (typeof SERVER_CERTIFICATES)[number];

export interface TestCertificates {
  folder: string;
  /** The authority that signs the servers and the clients, and one that nobody knows. */
  authority: CertificatePair;
  otherAuthority: CertificatePair;
  server: Record<ServerCertificate, CertificatePair>;
  client: {
    /** Its subject's common name is `press-line-7`. */
    good: CertificatePair;
    /** Signed by `otherAuthority`. */
    untrusted: CertificatePair;
    expired: CertificatePair;
    /** Valid for ten more days. */
    expiring: CertificatePair;
    /** The key of `good` as encrypted PKCS #8, and in the older form with a `Proc-Type` header. */
    encrypted: CertificatePair & { passphrase: string };
    encryptedTraditional: CertificatePair & { passphrase: string };
  };
}

interface Signed extends CertificatePair {
  certificate: x509.X509Certificate;
  keys: webcrypto.CryptoKeyPair;
}

interface Description {
  file: string;
  commonName: string;
  signer?: Signed;
  isAuthority?: boolean;
  names?: x509.JsonGeneralNames;
  fromDays?: number;
  toDays?: number;
}

let made: Promise<TestCertificates> | undefined;

/** The same set for every caller in this process. */
export function testCertificates(): Promise<TestCertificates> {
  made ??= makeCertificates();
  return made;
}

async function makeCertificates(): Promise<TestCertificates> {
  const folder = temporaryFolder('certificates');
  const make = (description: Description) => makeCertificate(folder, description);

  const [authority, otherAuthority] = await Promise.all([
    make({ file: 'authority', commonName: 'Plant Authority', isAuthority: true }),
    make({ file: 'other-authority', commonName: 'Unknown Authority', isAuthority: true }),
  ]);
  const server = (file: string, rest: Partial<Description> = {}) =>
    make({ file: `server-${file}`, commonName: 'localhost', names: LOCAL_NAMES, signer: authority, ...rest });
  const client = (file: string, rest: Partial<Description> = {}) =>
    make({ file: `client-${file}`, commonName: 'press-line-7', signer: authority, ...rest });
  const past = { fromDays: -60, toDays: -30 };
  const elsewhere = { names: [{ type: 'dns', value: 'other.example' }] satisfies x509.JsonGeneralNames };

  const servers: Record<ServerCertificate, CertificatePair> = {
    good: await server('good'),
    expired: await server('expired', past),
    notYetValid: await server('not-yet-valid', { fromDays: 30, toDays: 60 }),
    wrongHost: await server('wrong-host', { commonName: 'other.example', ...elsewhere }),
    selfSigned: await selfSigned(make, {}),
    selfSignedExpired: await selfSigned(make, past),
    expiredWrongHost: await server('expired-wrong-host', { ...past, ...elsewhere }),
    untrusted: await server('untrusted', { signer: otherAuthority }),
  };
  const good = await client('good');
  const passphrase = 'Schlüssel 7';
  const encrypt = (file: string, type: 'pkcs8' | 'sec1') => {
    const key = createPrivateKey(toPem(Buffer.from(good.pkcs8), 'PRIVATE KEY'));
    const pem = key.export({ type, format: 'pem', cipher: 'aes-256-cbc', passphrase });
    return { certFile: good.certFile, keyFile: write(folder, file, pem.toString()), passphrase };
  };
  return {
    folder,
    authority,
    otherAuthority,
    server: servers,
    client: {
      good,
      untrusted: await client('untrusted', { signer: otherAuthority }),
      expired: await client('expired', past),
      expiring: await client('expiring', { toDays: 10 }),
      encrypted: encrypt('client-encrypted.key', 'pkcs8'),
      encryptedTraditional: encrypt('client-encrypted-traditional.key', 'sec1'),
    },
  };
}

function selfSigned(make: (description: Description) => Promise<Signed>, rest: Partial<Description>): Promise<Signed> {
  const file = `server-self-signed${rest.toDays === undefined ? '' : '-expired'}`;
  return make({ file, commonName: 'localhost', names: LOCAL_NAMES, ...rest });
}

/** One more certificate, for a test that needs a special one; without a `signer` it is signed by itself. */
export async function makeCertificate(
  folder: string,
  description: Description,
): Promise<Signed & { pkcs8: ArrayBuffer }> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const subject = `CN=${description.commonName}, O=Test Plant`;
  const nowMs = Date.now();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString('hex'),
    subject,
    issuer: description.signer?.certificate.subject ?? subject,
    notBefore: new Date(nowMs + (description.fromDays ?? -1) * DAY_MS),
    notAfter: new Date(nowMs + (description.toDays ?? 365) * DAY_MS),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: description.signer?.keys.privateKey ?? keys.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(description.isAuthority === true, undefined, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ...(description.names === undefined ? [] : [new x509.SubjectAlternativeNameExtension(description.names)]),
    ],
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certFile: write(folder, `${description.file}.crt`, `${certificate.toString('pem')}\n`),
    keyFile: write(folder, `${description.file}.key`, toPem(Buffer.from(pkcs8), 'PRIVATE KEY')),
    certificate,
    keys,
    pkcs8,
  };
}

function write(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function toPem(der: Buffer, label: string): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}
