/**
 * Whether the broker's certificate can be trusted, and everything that is wrong with it.
 *
 * OpenSSL reports one error for a certificate, and of several the one that it met last: a self-signed certificate that
 * has also expired is only "expired", and whoever renews it meets the next problem. Here trust, dates and name are
 * looked at one by one. OpenSSL's verdict stays the one that decides; this finds the words, and never makes a
 * certificate better than OpenSSL found it.
 */

import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { checkServerIdentity, type DetailedPeerCertificate, rootCertificates, type TLSSocket } from 'node:tls';
import { NorthError } from '../core/error.js';
import type { ErrorCode } from '../core/error-codes.js';

export interface BrokerCertificate {
  /** `CN=broker.example.com, O=Plant`. */
  subject: string;
  issuer: string;
  validFromMs: number;
  validToMs: number;
  /** SHA-256 in hexadecimal, in pairs with colons. */
  fingerprint256: string;
  /** Names and addresses that it is for. */
  altNames: readonly string[];
}

export interface CertificateVerdict {
  certificate: BrokerCertificate | undefined;
  /** Why it is not to be trusted; its code is that of the gravest problem, its message tells them all. */
  error: NorthError | undefined;
}

export interface VerdictOptions {
  /** The name or address that the certificate has to be for. */
  expectedName: string;
  /** Those of `caFilePath`; empty when the authorities that come with Node.js are trusted. */
  authorities: readonly X509Certificate[];
  caFilePath?: string | undefined;
  nowMs: number;
}

interface Problem {
  code: ErrorCode;
  text: string;
  remedy: string;
}

/** To be asked when the handshake is complete. */
export function judgeBrokerCertificate(socket: TLSSocket, options: VerdictOptions): CertificateVerdict {
  // Asking in the other form, too, would leave this one empty.
  const chain = chainOf(socket.getPeerCertificate(true));
  const [leaf] = chain;
  const certificate = leaf === undefined ? undefined : describe(leaf);
  if (socket.authorized) return { certificate, error: undefined };

  // It is declared as an Error and is the code of one.
  const verdict = String(socket.authorizationError);
  const problems =
    leaf === undefined
      ? []
      : [
          ...trustProblems(leaf, chain, verdict, options),
          ...dateProblems(chain, options),
          ...nameProblems(chain, options),
        ];
  const [first] = problems;
  if (first === undefined) {
    const reason = leaf === undefined ? 'the broker showed none' : verdict;
    return { certificate, error: new NorthError('TLS_UNTRUSTED', `The broker's certificate was refused: ${reason}.`) };
  }
  const texts = problems.map(({ text }) => text);
  const remedies = new Set(problems.map(({ remedy }) => remedy));
  return {
    certificate,
    error: new NorthError(first.code, `The broker's certificate ${texts.join('; it also ')}.`, {
      remedy: [...remedies].join(' '),
      cause: verdict,
    }),
  };
}

function trustProblems(
  leaf: X509Certificate,
  chain: readonly X509Certificate[],
  verdict: string,
  options: VerdictOptions,
): Problem[] {
  if (verdict === NAME_VERDICT) return [];
  const { authorities, caFilePath } = options;
  if (!TRUST_VERDICTS.has(verdict) && chain.some((link) => isAuthority(link, authorities))) {
    if (DATE_VERDICTS.has(verdict)) return [];
    const remedy = "Have the broker's certificate made anew for a server.";
    return [{ code: 'TLS_UNTRUSTED', text: `was refused by OpenSSL as ${verdict}`, remedy }];
  }
  const instead = caFilePath === undefined ? '' : ` instead of ${caFilePath}`;
  if (leaf.checkIssued(leaf)) {
    const remedy = `Give this certificate as authentication.caFilePath${instead}, or set rejectUnauthorized: false if you know why.`;
    return [{ code: 'TLS_SELF_SIGNED', text: `is self-signed (by ${oneLine(leaf.issuer)})`, remedy }];
  }
  const top = chain.at(-1) ?? leaf;
  const why = verdict === 'CERT_SIGNATURE_FAILURE' ? ', and its signature is wrong' : ', which is no known authority';
  return [
    {
      code: 'TLS_UNTRUSTED',
      text: `is signed by ${oneLine(top.issuer)}${why}`,
      remedy: `Give the certificate of that authority as authentication.caFilePath${instead}.`,
    },
  ];
}

function dateProblems(chain: readonly X509Certificate[], { nowMs }: VerdictOptions): Problem[] {
  for (const [index, link] of chain.entries()) {
    const whose = index === 0 ? '' : `depends on ${oneLine(link.subject)}, which `;
    const remedy =
      index === 0
        ? "Renew the broker's certificate; check this machine's clock."
        : "Renew that authority's certificate; check this machine's clock.";
    const expired = Date.parse(link.validTo);
    if (expired < nowMs) return [{ code: 'TLS_EXPIRED', text: `${whose}expired on ${dateText(expired)}`, remedy }];
    const begins = Date.parse(link.validFrom);
    if (begins > nowMs) {
      return [{ code: 'TLS_EXPIRED', text: `${whose}is not valid before ${dateText(begins)}`, remedy }];
    }
  }
  return [];
}

function nameProblems([leaf]: readonly X509Certificate[], { expectedName }: VerdictOptions): Problem[] {
  if (leaf === undefined || checkServerIdentity(expectedName, leaf.toLegacyObject()) === undefined) return [];
  const names = namesOf(leaf);
  const whom = names.length === 0 ? 'no host at all' : names.join(', ');
  const useful = names.find((name) => !name.includes('*'));
  return [
    {
      code: 'TLS_HOST_MISMATCH',
      text: `is for ${whom}, not for ${expectedName}`,
      remedy:
        useful === undefined
          ? "Use a host that the broker's certificate is for, or have a certificate made for this one."
          : `Use ${useful} as host in url${isIP(useful) === 0 ? `, or set servername: ${useful}` : ''}.`,
    },
  ];
}

/** The error codes of OpenSSL by which it says that no way leads to an authority. */
const TRUST_VERDICTS = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
]);
const DATE_VERDICTS = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);
const NAME_VERDICT = 'ERR_TLS_CERT_ALTNAME_INVALID';

/** The broker's certificate first, then those that sign one another, as far as they are known. */
function chainOf(certificate: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let link: DetailedPeerCertificate | undefined = certificate;
  // The last one is its own issuer. A broker that showed nothing gives an empty object.
  while (link?.raw !== undefined && !chain.some((known) => known.fingerprint256 === link?.fingerprint256)) {
    chain.push(new X509Certificate(link.raw));
    link = link.issuerCertificate;
  }
  return chain;
}

function isAuthority(certificate: X509Certificate, authorities: readonly X509Certificate[]): boolean {
  if (authorities.length > 0)
    return authorities.some(({ fingerprint256 }) => fingerprint256 === certificate.fingerprint256);
  return rootCertificates.some((pem) => new X509Certificate(pem).fingerprint256 === certificate.fingerprint256);
}

function describe(certificate: X509Certificate): BrokerCertificate {
  return {
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    validFromMs: Date.parse(certificate.validFrom),
    validToMs: Date.parse(certificate.validTo),
    fingerprint256: certificate.fingerprint256,
    altNames: namesOf(certificate),
  };
}

/** The alternative names; the common name counts only where there are none [RFC 6125, section 6.4.4]. */
function namesOf(certificate: X509Certificate): string[] {
  const names = [...(certificate.subjectAltName ?? '').matchAll(/(?:DNS|IP Address):("[^"]*"|[^,]+)/g)];
  if (names.length > 0) return names.map(([, name = '']) => name.replace(/^"|"$/g, ''));
  return certificate.subject.split('\n').flatMap((line) => (line.startsWith('CN=') ? [line.slice(3)] : []));
}

function oneLine(name: string): string {
  return name === '' ? 'nobody' : name.split('\n').join(', ');
}

function dateText(timeMs: number): string {
  return Number.isFinite(timeMs) ? new Date(timeMs).toISOString().slice(0, 10) : 'a date that cannot be read';
}
