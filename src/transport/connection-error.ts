/** What errors of the operating system and of TLS mean for somebody who wants to reach a broker. */

import { errorText, NorthError, systemCode } from '../core/error.js';
import type { ErrorCode } from '../core/error-codes.js';

/** `127.0.0.1:1883`, `[::1]:1883`. */
export function addressText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export function lookupError(error: unknown, host: string): NorthError {
  const code = systemCode(error);
  const [reason, remedy] =
    code === 'EAI_AGAIN' || code === 'ETIMEOUT'
      ? ['no name server answered', "Check this machine's network and DNS; the host of url is resolved by them."]
      : ['there is no such name', "Check the host in url, and this machine's DNS."];
  const detail = code === undefined ? reason : `${reason}, ${code}`;
  return new NorthError('BROKER_UNRESOLVED', `The name ${host} could not be resolved (${detail}).`, {
    cause: error ?? undefined,
    remedy,
  });
}

const DIAL_PROBLEMS: Readonly<Record<string, [ErrorCode, string, string?]>> = {
  ECONNREFUSED: ['BROKER_REFUSED', 'refused the connection', 'Check the port in url, and that the broker is running.'],
  ECONNRESET: ['BROKER_CLOSED', 'closed the connection while it was being opened'],
  ETIMEDOUT: ['BROKER_TIMEOUT', 'did not answer', 'Check host and port in url, and the firewalls on the way.'],
  EHOSTUNREACH: ['BROKER_UNREACHABLE', 'cannot be reached: no route to the host'],
  ENETUNREACH: ['BROKER_UNREACHABLE', 'cannot be reached: no route to its network'],
  EHOSTDOWN: ['BROKER_UNREACHABLE', 'cannot be reached: the host is down'],
  ENETDOWN: ['BROKER_UNREACHABLE', "cannot be reached: this machine's network is down"],
  EADDRNOTAVAIL: ['BROKER_UNREACHABLE', 'cannot be reached: this machine has no free address or port for it'],
  EACCES: ['BROKER_UNREACHABLE', 'may not be dialled', 'A firewall of this machine forbids it; allow host and port.'],
  EPERM: ['BROKER_UNREACHABLE', 'may not be dialled', 'A firewall of this machine forbids it; allow host and port.'],
  EMFILE: ['INTERNAL', 'was not dialled: this process has too many open files', 'Raise the limit with "ulimit -n".'],
  ENFILE: [
    'INTERNAL',
    'was not dialled: this machine has too many open files',
    'Look for the process that holds them.',
  ],
};

export function dialError(error: unknown, host: string, port: number): NorthError {
  const place = addressText(host, port);
  const code = systemCode(error);
  const known = code === undefined ? undefined : DIAL_PROBLEMS[code];
  if (known === undefined) {
    return new NorthError('BROKER_UNREACHABLE', `${place} cannot be reached: ${errorText(error)}.`, { cause: error });
  }
  const [northCode, text, remedy] = known;
  return new NorthError(northCode, `${place} ${text}.`, { cause: error, ...(remedy === undefined ? {} : { remedy }) });
}

/** TLS alerts by which a server says that it does not like the client's certificate [RFC 8446, section 6.2]. */
const CLIENT_CERTIFICATE_ALERTS: Readonly<Record<string, string>> = {
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it wants a client certificate, and got none',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not know the authority that signed our certificate',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'it calls our certificate bad',
  ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: 'it does not support the kind of our certificate',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED: 'our certificate is revoked',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'our certificate has expired',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'it does not accept our certificate',
  ERR_SSL_TLSV1_ALERT_ACCESS_DENIED: 'our certificate is valid, but not allowed',
  ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR: "our certificate's signature could not be verified",
};

const HANDSHAKE_FAILURE = 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE';

const TLS_PROBLEMS: Readonly<Record<string, [string, string]>> = {
  ERR_SSL_WRONG_VERSION_NUMBER: [
    'what answers does not speak TLS',
    'Check the port in url; for a port without TLS the scheme is mqtt or ws.',
  ],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: [
    'what answers does not speak TLS',
    'Check the port in url; for a port without TLS the scheme is mqtt or ws.',
  ],
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: [
    'no version of TLS is allowed on both sides',
    'Lower minTlsVersion if it is 1.3, or update the broker.',
  ],
  ERR_SSL_UNSUPPORTED_PROTOCOL: [
    'no version of TLS is allowed on both sides',
    'Lower minTlsVersion if it is 1.3, or update the broker.',
  ],
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: ['the broker knows none of the protocols in alpn', 'Check alpn.'],
  ERR_SSL_TLSV1_UNRECOGNIZED_NAME: ['the broker does not know this host name', 'Check servername, or the host in url.'],
  [HANDSHAKE_FAILURE]: [
    'no cipher or version is allowed on both sides, or the broker wants a client certificate',
    'Check minTlsVersion and the TLS settings of the broker; set authentication.type to cert if it wants one.',
  ],
};

export interface TlsState {
  /** True once version and cipher were agreed on, so that a failure is about a certificate. */
  isAgreed: boolean;
  /** True when we have a certificate to show. */
  hasCertificate: boolean;
}

/** The client certificate was refused; undefined when the error says something else. TLS 1.3 says it late. */
export function clientCertificateError(error: unknown, state: TlsState): NorthError | undefined {
  const code = systemCode(error);
  const isRefusal = code === HANDSHAKE_FAILURE && state.isAgreed;
  const unshown = 'it wants a client certificate, and got none';
  const reason = isRefusal
    ? state.hasCertificate
      ? 'it does not accept our certificate'
      : unshown
    : code === undefined
      ? undefined
      : CLIENT_CERTIFICATE_ALERTS[code];
  if (reason === undefined) return undefined;
  // What a server that got no certificate says of it differs; without one there is only one thing to do.
  const text = state.hasCertificate ? reason : unshown;
  return new NorthError('TLS_CLIENT_CERTIFICATE', `The broker refused the TLS connection: ${text}.`, {
    cause: error,
    remedy: state.hasCertificate
      ? 'Check authentication.certFilePath and keyFilePath, and that the broker knows the authority that signed them.'
      : 'Set authentication.type to cert, with certFilePath and keyFilePath that the broker knows.',
  });
}

/** The handshake failed, for another reason than the broker's certificate. */
export function handshakeError(error: unknown, state: TlsState): NorthError {
  const refused = clientCertificateError(error, state);
  if (refused !== undefined) return refused;
  const code = systemCode(error);
  if (code === 'ECONNRESET' || code === 'EPIPE') return closedInHandshake(error);
  const known = code === undefined ? undefined : TLS_PROBLEMS[code];
  const [text, remedy] = known ?? [reasonOf(error), undefined];
  return new NorthError('TLS_FAILED', `The TLS handshake failed: ${text}.`, {
    cause: error,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

export function closedInHandshake(cause?: unknown): NorthError {
  return new NorthError('BROKER_CLOSED', 'The broker closed the connection during the TLS handshake.', {
    cause,
    remedy: "Check that the port in url speaks TLS (without TLS the scheme is mqtt or ws), and see the broker's log.",
  });
}

/** An open connection broke. */
export function lostError(error: unknown): NorthError {
  const code = systemCode(error);
  const text =
    code === 'ECONNRESET' || code === 'EPIPE'
      ? 'The connection to the broker was reset'
      : code === 'ETIMEDOUT'
        ? 'The broker no longer answers; the connection was given up'
        : `The connection to the broker was lost: ${reasonOf(error)}`;
  return new NorthError('CONNECTION_LOST', `${text}.`, { cause: error });
}

/**
 * With TLS 1.3 our side of the handshake ends before the broker has seen our certificate [RFC 8446, section 4.4.2]: its
 * refusal comes as an alert when the connection seems to be open, and a reset may overtake that alert.
 *
 * @param isConfirmed the broker has said something since, so that it must have accepted us.
 */
export function lateRefusal(error: NorthError, state: TlsState, isConfirmed: boolean): NorthError {
  const refused = clientCertificateError(error.cause, state);
  if (refused !== undefined) return refused;
  if (isConfirmed || (error.code !== 'BROKER_CLOSED' && error.code !== 'CONNECTION_LOST')) return error;
  const hint = state.hasCertificate
    ? 'The broker may not accept our certificate: check authentication.certFilePath.'
    : 'The broker may want a client certificate: authentication.type cert.';
  return new NorthError(error.code, error.message, { cause: error.cause, remedy: `${error.remedy} ${hint}` });
}

const WAITS: Readonly<Record<string, [string, string]>> = {
  resolving: ['no name server answered', "Check this machine's network and DNS."],
  dialing: ['the address did not answer', 'Check host and port in url, and the firewalls on the way.'],
  securing: [
    'it accepted the connection and did not finish the TLS handshake',
    'Check that the port in url speaks TLS; without TLS the scheme is mqtt or ws.',
  ],
  upgrading: [
    'it accepted the connection and did not open the websocket',
    'Check that the port in url takes websockets, without TLS for ws and with TLS for wss.',
  ],
};

/** @param phase what the transport was doing when its time was over. */
export function timeoutError(phase: string, connectTimeoutMs: number): NorthError {
  const [reason, remedy] = WAITS[phase] ?? ['no connection came to be', undefined];
  const message = `The broker did not answer within the connectTimeout of ${connectTimeoutMs} ms: ${reason}.`;
  return new NorthError('BROKER_TIMEOUT', message, remedy === undefined ? {} : { remedy });
}

/** OpenSSL puts its reason between numbers and names of its functions. */
function reasonOf(error: unknown): string {
  const reason = typeof error === 'object' && error !== null && 'reason' in error ? error.reason : undefined;
  return typeof reason === 'string' ? reason : errorText(error).trim().replace(/\.$/, '');
}
