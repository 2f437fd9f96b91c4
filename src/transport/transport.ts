/**
 * One connection to a broker: over TCP, TLS or a websocket, behind one face.
 *
 * A transport carries bytes and knows nothing of MQTT. It is used once: after `closed` a new one is opened.
 */
import type { Clock } from '../core/clock.js';
import type { NorthError } from '../core/error.js';
import type { Lookup } from './dial.js';
import { SocketTransport } from './socket-transport.js';
import type { TlsInfo } from './tls-upgrade.js';

export type { BrokerCertificate } from './broker-certificate.js';
export type { TlsInfo } from './tls-upgrade.js';

export interface TransportOptions {
  /** TLS. */
  secure: boolean;
  websocket: boolean;
  /** A name or an address; an IPv6 address without brackets. */
  host: string;
  port: number;
  /** Of the websocket, with its query. */
  path: string;
  /** For everything up to `opened`: resolving, dialling, TLS and websocket together. */
  connectTimeoutMs: number;
  rejectUnauthorized: boolean;
  certFilePath?: string;
  keyFilePath?: string;
  /** When given, only what is in it is trusted. */
  caFilePath?: string;
  keyPassphrase?: string;
  /** Asked for and expected in place of the host. */
  servername?: string;
  alpn?: readonly string[];
  minTlsVersion?: 'TLSv1.2' | 'TLSv1.3';
  clock?: Clock;
  lookup?: Lookup;
}

export interface OpenedInfo {
  /** `127.0.0.1:50312`. */
  localAddress: string;
  /** The address that answered. */
  remoteAddress: string;
  lookupMs: number;
  dialMs: number;
  /** Of TLS; zero without. */
  handshakeMs: number;
  /** Of the websocket; zero without. */
  upgradeMs: number;
  tls?: TlsInfo;
}

/** What a transport does before it is open, in this order; the last two only with TLS and for websockets. */
export type OpeningPhase = 'resolving' | 'dialing' | 'securing' | 'upgrading';

export interface TransportEvents {
  /** A phase begins, so that those before it have succeeded. */
  entered?(phase: OpeningPhase): void;
  opened(info: OpenedInfo): void;
  /** The bytes belong to the receiver. */
  received(bytes: Buffer): void;
  /** After `write` has returned false: more may be written. */
  drained(): void;
  /** The last event, and given exactly once unless `destroy` was called; undefined when `end` was. */
  closed(error: NorthError | undefined): void;
}

export interface Transport {
  /** True when more may be written at once; false: wait for `drained`. Only after `opened`; later it does nothing. */
  write(bytes: Uint8Array): boolean;
  /** Sends what was written, then closes. `closed` follows, also when the broker does not take it. */
  end(): void;
  /** At once; what was not sent is lost. No event is given after it. */
  destroy(): void;
  /** Written and not yet taken by the operating system. */
  readonly bufferedSizeBytes: number;
}

/** Returns at once, whatever the options are; every event comes later. */
export function openTransport(options: TransportOptions, events: TransportEvents): Transport {
  const transport = new SocketTransport(options, events);
  transport.open();
  return transport;
}
