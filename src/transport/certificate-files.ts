/**
 * Our own certificate, its key and the authorities that we trust, from PEM files.
 *
 * TLS libraries answer a wrong file with an error number of their parser. Here each mistake that people make has its
 * own error that names the setting and the file. Files are looked at before every dial and read anew when they have
 * changed, so that a renewed certificate is used without a restart.
 */
import { createHash, type X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import { errorText, NorthError } from '../core/error.js';
import { checkFit, type PathSetting, parseCertificates, readKey, readPem, unreadable } from './pem-file.js';

export interface CertificatePaths {
  certFilePath?: string;
  /** Where it is missing, the key is looked for in the certificate's file. */
  keyFilePath?: string;
  caFilePath?: string;
  keyPassphrase?: string;
}

export interface Certificates {
  /** Ours, and behind it those that lead to its authority; empty when we show none. */
  own: readonly X509Certificate[];
  /** Those of `caFilePath`; empty when the authorities that come with Node.js are trusted. */
  authorities: readonly X509Certificate[];
  /** End of our certificate's validity. */
  expiresAtMs: number | undefined;
  /** What TLS is opened with. Only the authorities of `caFilePath` are trusted when there is one. */
  secureContext(minTlsVersion: 'TLSv1.2' | 'TLSv1.3'): SecureContext;
}

const CACHE_SIZE = 64;
const DAY_MS = 24 * 60 * 60 * 1000;

const cache = new Map<string, { stamps: string; certificates: Certificates }>();

/**
 * Throws a NorthError whose place is the file: CERTIFICATE_FILE_MISSING, CERTIFICATE_INVALID,
 * CERTIFICATE_KEY_MISMATCH or CERTIFICATE_KEY_ENCRYPTED.
 */
export function readCertificates(paths: CertificatePaths): Certificates {
  const { certFilePath, keyFilePath, caFilePath, keyPassphrase } = paths;
  const passphraseHash = keyPassphrase === undefined ? '' : createHash('sha256').update(keyPassphrase).digest('hex');
  const key = JSON.stringify([certFilePath, keyFilePath, caFilePath, passphraseHash]);
  // Taken before reading: a file that changes in between is then read once more at the next dial.
  const stamps = JSON.stringify([
    stampOf('certFilePath', certFilePath),
    stampOf('keyFilePath', keyFilePath),
    stampOf('caFilePath', caFilePath),
  ]);
  const known = cache.get(key);
  if (known?.stamps === stamps) return known.certificates;
  cache.delete(key);
  const certificates = load(paths);
  const [oldest] = cache.keys();
  if (cache.size >= CACHE_SIZE && oldest !== undefined) cache.delete(oldest);
  cache.set(key, { stamps, certificates });
  return certificates;
}

/**
 * What an operator should know before a certificate ends, in one sentence each. Files that cannot be read are passed
 * over here: the dial that needs them fails with the exact reason.
 */
export function certificateWarnings(paths: CertificatePaths, nowMs: number, daysBefore = 30): string[] {
  const warnings: string[] = [];
  const review = (setting: PathSetting, path: string | undefined, subject: string, pick: 'first' | 'last') => {
    if (path === undefined) return;
    const ends = validityEnds(setting, path);
    // A collection of authorities may well hold some that have ended; it serves as long as one of them is valid.
    const endMs = pick === 'first' ? ends[0] : Math.max(...ends);
    if (endMs === undefined || !Number.isFinite(endMs) || endMs - nowMs >= daysBefore * DAY_MS) return;
    const day = new Date(endMs).toISOString().slice(0, 10);
    const days = Math.floor((endMs - nowMs) / DAY_MS);
    const when =
      endMs <= nowMs ? `expired on ${day}` : `expires on ${day}, in ${days === 1 ? '1 day' : `${days} days`}`;
    warnings.push(`${subject} (${setting} ${path}) ${when}.`);
  };
  review('certFilePath', paths.certFilePath, 'Our certificate', 'first');
  review('caFilePath', paths.caFilePath, "The authority's certificate", 'last');
  return warnings;
}

function validityEnds(setting: PathSetting, path: string): number[] {
  try {
    return parseCertificates(setting, path, readPem(setting, path)).map((certificate) =>
      Date.parse(certificate.validTo),
    );
  } catch (error) {
    if (error instanceof NorthError) return [];
    throw error;
  }
}

function load({ certFilePath, keyFilePath, caFilePath, keyPassphrase }: CertificatePaths): Certificates {
  const ca = caFilePath === undefined ? undefined : readPem('caFilePath', caFilePath);
  const authorities =
    caFilePath === undefined || ca === undefined ? [] : parseCertificates('caFilePath', caFilePath, ca);
  const cert = certFilePath === undefined ? undefined : readPem('certFilePath', certFilePath);
  const own =
    certFilePath === undefined || cert === undefined ? [] : parseCertificates('certFilePath', certFilePath, cert);
  const ownKey = readKey(certFilePath, cert, keyFilePath, keyPassphrase);
  if (ownKey !== undefined && certFilePath !== undefined) checkFit(own, ownKey, certFilePath, keyFilePath);

  const contexts = new Map<string, SecureContext>();
  const end = own[0]?.validTo;
  return {
    own,
    authorities,
    expiresAtMs: end === undefined ? undefined : Date.parse(end),
    secureContext(minTlsVersion) {
      const known = contexts.get(minTlsVersion);
      if (known !== undefined) return known;
      try {
        const context = createSecureContext({
          minVersion: minTlsVersion,
          ...(ca === undefined ? {} : { ca, allowPartialTrustChain: true }),
          ...(ownKey === undefined ? {} : { cert, key: ownKey.export({ type: 'pkcs8', format: 'pem' }) }),
        });
        contexts.set(minTlsVersion, context);
        return context;
      } catch (error) {
        const place = certFilePath ?? caFilePath ?? 'the certificates';
        throw new NorthError('CERTIFICATE_INVALID', `${place} cannot be used for TLS: ${errorText(error)}`, {
          place,
          cause: error,
          remedy: 'Use a certificate with a key and a signature that are strong enough: RSA from 2048 bits, SHA-256.',
        });
      }
    },
  };
}

/** Undefined without a file; a change of any part of it means that the file has to be read again. */
function stampOf(setting: PathSetting, path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch (error) {
    throw unreadable(setting, path, error);
  }
}
