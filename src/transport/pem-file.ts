/** Reads certificates and keys from PEM files, and says what is wrong with a file that is something else. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { errorText, NorthError, systemCode } from '../core/error.js';

/** The setting that a path comes from, below `authentication`. */
export type PathSetting = 'certFilePath' | 'keyFilePath' | 'caFilePath';

/** No certificate file is larger; a wrong path may lead to a disk image or to an endless device. */
const FILE_SIZE_MAX_BYTES = 4 * 1024 * 1024;
const BEGIN = '-----BEGIN ';
const PRIVATE_KEY = 'PRIVATE KEY';
const CERTIFICATE_LABELS = new Set(['CERTIFICATE', 'X509 CERTIFICATE', 'TRUSTED CERTIFICATE']);

export function readPem(setting: PathSetting, path: string): string {
  let bytes: Buffer;
  try {
    const stat = statSync(path);
    if (!stat.isFile()) throw missing(setting, path, stat.isDirectory() ? 'is a folder' : 'is no regular file');
    if (stat.size > FILE_SIZE_MAX_BYTES)
      throw invalid(setting, path, `is too large for a PEM file (${stat.size} bytes)`);
    bytes = readFileSync(path);
  } catch (error) {
    throw error instanceof NorthError ? error : unreadable(setting, path, error);
  }
  if (bytes.length === 0) throw invalid(setting, path, 'is empty');
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw invalid(setting, path, 'is saved as UTF-16', 'Save it as UTF-8 or ASCII text.');
  }
  const text = bytes.toString('utf8');
  if (text.includes(BEGIN)) return text;
  // DER, and PKCS #12 like it, begin with the tag of a SEQUENCE with a long length.
  if (bytes[0] === 0x30 && (bytes[1] ?? 0) >= 0x80) {
    const remedy =
      'Convert it: "openssl x509 -inform der -in FILE -out FILE.pem", or "openssl pkcs12" for .p12 and .pfx.';
    throw invalid(setting, path, 'is binary (DER or PKCS #12) and no PEM text', remedy);
  }
  throw invalid(setting, path, 'is no PEM file');
}

interface PemBlock {
  /** `CERTIFICATE`, `EC PRIVATE KEY`. */
  label: string;
  /** With its first and last line; without the last when the file was cut off. */
  text: string;
  isComplete: boolean;
}

/** One pass over the text, so that a large file of another kind costs no more than its size. */
function pemBlocks(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  for (let at = text.indexOf(BEGIN); at >= 0; at = text.indexOf(BEGIN, at + 1)) {
    const label = text.slice(at + BEGIN.length, text.indexOf('-----', at + BEGIN.length));
    const ending = `-----END ${label}-----`;
    const end = text.indexOf(ending, at);
    blocks.push({ label, text: text.slice(at, end < 0 ? undefined : end + ending.length), isComplete: end >= 0 });
    if (end < 0) break;
    at = end;
  }
  return blocks;
}

export function parseCertificates(setting: PathSetting, path: string, text: string): X509Certificate[] {
  const all = pemBlocks(text);
  const blocks = all.filter(({ label }) => CERTIFICATE_LABELS.has(label));
  if (blocks.length === 0) {
    const hasKey = all.some(({ label }) => label.endsWith(PRIVATE_KEY));
    const remedy = setting === 'certFilePath' ? 'certFilePath and keyFilePath may have been exchanged.' : undefined;
    throw invalid(setting, path, hasKey ? 'holds a private key and no certificate' : 'holds no certificate', remedy);
  }
  return blocks.map((block, index) => {
    const which = blocks.length === 1 ? 'a certificate' : `a certificate (number ${index + 1} of ${blocks.length})`;
    if (!block.isComplete) throw invalid(setting, path, `holds ${which} that is cut off`, 'Copy the whole file again.');
    try {
      return new X509Certificate(block.text);
    } catch (error) {
      throw invalid(setting, path, `holds ${which} that is damaged`, 'Export the certificate again.', error);
    }
  });
}

export function readKey(
  certFilePath: string | undefined,
  cert: string | undefined,
  keyFilePath: string | undefined,
  passphrase: string | undefined,
): KeyObject | undefined {
  if (certFilePath === undefined && keyFilePath === undefined) return undefined;
  if (certFilePath === undefined || cert === undefined) {
    throw missing('certFilePath', keyFilePath ?? '', 'is given as keyFilePath, but certFilePath is not set');
  }
  const path = keyFilePath ?? certFilePath;
  const text = keyFilePath === undefined ? cert : readPem('keyFilePath', keyFilePath);
  const blocks = pemBlocks(text);
  const key = blocks.find(({ label }) => label.endsWith(PRIVATE_KEY));
  if (key === undefined) {
    if (keyFilePath === undefined) {
      throw missing('keyFilePath', path, 'holds no private key, and keyFilePath is not set');
    }
    const isCertificate = blocks.some(({ label }) => CERTIFICATE_LABELS.has(label));
    const remedy = isCertificate ? 'certFilePath and keyFilePath may have been exchanged.' : undefined;
    throw invalid('keyFilePath', path, `holds ${isCertificate ? 'a certificate and ' : ''}no private key`, remedy);
  }
  if (!key.isComplete) {
    throw invalid('keyFilePath', path, 'holds a private key that is cut off', 'Copy the whole file again.');
  }
  const block = key.text;
  if (key.label === 'OPENSSH PRIVATE KEY') {
    const remedy = 'Convert a copy of it: "ssh-keygen -p -m PEM -f FILE".';
    throw invalid('keyFilePath', path, "is in OpenSSH's own format", remedy);
  }
  const isEncrypted = block.includes('ENCRYPTED');
  if (isEncrypted && (passphrase === undefined || passphrase === '')) {
    throw new NorthError('CERTIFICATE_KEY_ENCRYPTED', `The key ${path} is encrypted, and there is no keyPassphrase.`, {
      place: path,
      remedy: 'Set keyPassphrase to the passphrase of the key.',
    });
  }
  try {
    return createPrivateKey(isEncrypted && passphrase !== undefined ? { key: block, passphrase } : block);
  } catch (error) {
    if (!isEncrypted) throw invalid('keyFilePath', path, 'holds a private key that is damaged', undefined, error);
    throw new NorthError('CERTIFICATE_KEY_ENCRYPTED', `keyPassphrase does not open the encrypted key ${path}.`, {
      place: path,
      cause: error,
      remedy: 'Set keyPassphrase to the right passphrase. If it is right, the file is damaged.',
    });
  }
}

export function checkFit(
  own: readonly X509Certificate[],
  key: KeyObject,
  certFilePath: string,
  keyFilePath: string | undefined,
): void {
  const fitting = own.findIndex((certificate) => certificate.checkPrivateKey(key));
  if (fitting === 0) return;
  const keyPath = keyFilePath ?? certFilePath;
  const message = `The private key ${keyPath} does not belong to the certificate ${certFilePath}`;
  throw new NorthError(
    'CERTIFICATE_KEY_MISMATCH',
    fitting < 0 ? `${message}.` : `${message}: it fits the ${fitting + 1}. certificate in that file, not the first.`,
    {
      place: keyPath,
      ...(fitting < 0 ? {} : { remedy: 'Put our own certificate first into the file, its authorities behind it.' }),
    },
  );
}

export function unreadable(setting: PathSetting, path: string, cause: unknown): NorthError {
  const code = systemCode(cause);
  if (code === 'ENOENT' || code === 'ENOTDIR') return missing(setting, path, 'does not exist', cause);
  if (code === 'EACCES' || code === 'EPERM') return missing(setting, path, 'may not be read by this process', cause);
  return missing(setting, path, `cannot be read (${errorText(cause)})`, cause);
}

function missing(setting: PathSetting, path: string, problem: string, cause?: unknown): NorthError {
  return new NorthError('CERTIFICATE_FILE_MISSING', `The file ${path} ${problem}.`, {
    place: path,
    cause,
    remedy: `Check authentication.${setting}, and the rights of the file.`,
  });
}

function invalid(setting: PathSetting, path: string, problem: string, remedy?: string, cause?: unknown): NorthError {
  return new NorthError('CERTIFICATE_INVALID', `The file ${path} ${problem}.`, {
    place: path,
    cause,
    remedy: `Check authentication.${setting}. ${remedy ?? 'It has to be PEM text, which begins with -----BEGIN.'}`,
  });
}
