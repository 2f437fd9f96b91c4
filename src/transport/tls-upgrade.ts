/** TLS over a connection that exists: the handshake, and the broker's certificate. */
import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect, type TLSSocket } from 'node:tls';
import { NorthError } from '../core/error.js';
import { type BrokerCertificate, judgeBrokerCertificate } from './broker-certificate.js';
import type { Certificates } from './certificate-files.js';
import { closedInHandshake, handshakeError, type TlsState } from './connection-error.js';

export interface TlsInfo {
  /** `TLSv1.3`. */
  protocol: string;
  cipher: string;
  /** What the broker chose from `alpn`. */
  alpnProtocol?: string;
  /** True when the broker's certificate was verified. */
  authorized: boolean;
  /** What is wrong with the certificate; only a connection with `rejectUnauthorized: false` gets this far with it. */
  authorizationError?: NorthError;
  certificate: BrokerCertificate | undefined;
}

export interface TlsOptions {
  host: string;
  /** Asked for and expected in place of the host. */
  servername?: string | undefined;
  alpn: readonly string[];
  minTlsVersion: 'TLSv1.2' | 'TLSv1.3';
  rejectUnauthorized: boolean;
  certificates: Certificates;
  caFilePath?: string | undefined;
  nowMs: number;
}

export interface TlsEvents {
  secured(socket: TLSSocket, info: TlsInfo, state: TlsState): void;
  failed(error: NorthError): void;
}

/**
 * Gives exactly one of `secured` and `failed`, never before it has returned. The returned function gives the handshake
 * up and prevents both. After a failure or giving up, the socket is closed.
 */
export function upgradeToTls(raw: Socket, options: TlsOptions, events: TlsEvents): () => void {
  const { certificates, host, alpn, minTlsVersion, rejectUnauthorized, caFilePath, nowMs } = options;
  const expectedName = options.servername ?? host.replace(/%.*$/, '');
  const state: TlsState = { isAgreed: false, hasCertificate: certificates.own.length > 0 };
  const socket = connect({
    socket: raw,
    secureContext: certificates.secureContext(minTlsVersion),
    // An address is no server name [RFC 6066, section 3]; it is compared with the certificate all the same.
    ...(isIP(expectedName) === 0 ? { servername: expectedName } : {}),
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
    checkServerIdentity: (_, certificate) => checkServerIdentity(expectedName, certificate),
    // OpenSSL verifies in any case. Node.js would close the socket before the certificate could be looked at, and so
    // the decision is taken below, before anybody else gets the socket.
    rejectUnauthorized: false,
  });
  let isOver = false;
  const end = (): boolean => {
    if (isOver) return false;
    isOver = true;
    socket.off('end', closed);
    socket.off('close', closed);
    return true;
  };
  const fail = (error: NorthError) => {
    if (!end()) return;
    socket.destroy();
    raw.destroy();
    events.failed(error);
  };
  const failed = (error: unknown) => fail(handshakeError(error, state));
  const closed = () => fail(closedInHandshake());
  // These stay on the sockets: an error that comes when nobody listens any more would end the process.
  socket.on('error', failed);
  raw.on('error', failed);
  socket.on('end', closed);
  socket.on('close', closed);
  // Key material first exists when the broker has chosen version and cipher. It is not looked at here.
  socket.once('keylog', () => {
    state.isAgreed = true;
  });
  socket.once('secureConnect', () => {
    if (isOver) return;
    const { certificate, error } = judgeBrokerCertificate(socket, {
      expectedName,
      authorities: certificates.authorities,
      caFilePath,
      nowMs,
    });
    if (rejectUnauthorized && (error !== undefined || !socket.authorized)) {
      fail(error ?? new NorthError('TLS_UNTRUSTED', "The broker's certificate was refused."));
      return;
    }
    if (!end()) return;
    const { alpnProtocol } = socket;
    const info: TlsInfo = {
      protocol: socket.getProtocol() ?? 'unknown',
      cipher: socket.getCipher().standardName,
      authorized: socket.authorized,
      certificate,
      ...(typeof alpnProtocol === 'string' ? { alpnProtocol } : {}),
      ...(error === undefined ? {} : { authorizationError: error }),
    };
    events.secured(socket, info, state);
  });
  return () => {
    if (!end()) return;
    socket.destroy();
    raw.destroy();
  };
}
