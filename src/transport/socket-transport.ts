/**
 * A transport's life, from its options to its end:
 *
 *     certificates -> resolving -> dialing -> [securing] -> [upgrading] -> open -> [ending] -> closed
 *
 * Each stage before `open` is a function that gives one result or can be given up; afterwards there is a channel.
 */
import type { Socket } from 'node:net';
import { type Clock, systemClock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { type Certificates, readCertificates } from './certificate-files.js';
import { type Channel, type ChannelEvents, streamChannel, webSocketChannel } from './channel.js';
import { addressText, lateRefusal, lostError, type TlsState, timeoutError } from './connection-error.js';
import { dial } from './dial.js';
import { type TlsInfo, upgradeToTls } from './tls-upgrade.js';
import type { OpeningPhase, Transport, TransportEvents, TransportOptions } from './transport.js';
import { upgradeToWebSocket } from './websocket-upgrade.js';

/** How long an ending connection may take to send what is left and to be closed by the broker, too. */
const LINGER_MS = 5000;

type Phase = 'certificates' | OpeningPhase | 'open' | 'ending' | 'closed';

export class SocketTransport implements Transport {
  readonly #options: TransportOptions;
  readonly #events: TransportEvents;
  readonly #clock: Clock;
  readonly #place: string;
  #phase: Phase = 'certificates';
  #phaseStartMs: number;
  /** Gives up the stage that is under way, before the channel exists. */
  #cancelStage: (() => void) | undefined;
  #cancelTimer: (() => void) | undefined;
  #certificates: Certificates | undefined;
  #times = { lookupMs: 0, dialMs: 0, handshakeMs: 0, upgradeMs: 0 };
  #tls: { info: TlsInfo; state: TlsState; isConfirmed: boolean } | undefined;
  #channel: Channel | undefined;
  #isBlocked = false;
  #isFlushed = false;

  constructor(options: TransportOptions, events: TransportEvents) {
    this.#options = options;
    this.#events = events;
    this.#clock = options.clock ?? systemClock();
    this.#place = addressText(options.host, options.port);
    this.#phaseStartMs = this.#clock.monotonicMs();
  }

  get bufferedSizeBytes(): number {
    return this.#channel?.bufferedSizeBytes ?? 0;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#phase !== 'open' || this.#channel === undefined) {
      if (this.#phase === 'ending' || this.#phase === 'closed') return false;
      throw new NorthError('INTERNAL', `Bytes were written to a transport that is still ${this.#phase}.`);
    }
    const hasRoom = this.#channel.write(bytes);
    if (!hasRoom) this.#isBlocked = true;
    return hasRoom;
  }

  end(): void {
    if (this.#phase === 'ending' || this.#phase === 'closed') return;
    const channel = this.#channel;
    this.#phase = 'ending';
    if (channel === undefined) {
      queueMicrotask(() => this.#close(undefined));
      return;
    }
    channel.end(() => {
      this.#isFlushed = true;
    });
    this.#linger(channel);
  }

  destroy(): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#release();
  }

  open(): void {
    const { connectTimeoutMs, secure } = this.#options;
    this.#cancelTimer = this.#clock.schedule(connectTimeoutMs, () => this.#timeOut());
    // Not before the caller has got the transport.
    queueMicrotask(() => {
      if (this.#phase !== 'certificates') return;
      this.#attempt(() => {
        // Before dialling, because a wrong file is found without bothering the broker.
        if (secure) this.#certificates = readCertificates(this.#options);
        this.#dial();
      });
    });
  }

  #dial(): void {
    const { host, port, lookup } = this.#options;
    this.#enter('resolving');
    this.#cancelStage = dial(
      { host, port, lookup, clock: this.#clock },
      {
        resolved: () => this.#enter('dialing'),
        connected: (socket, { lookupMs, dialMs }) => {
          this.#times.lookupMs = lookupMs;
          this.#times.dialMs = dialMs;
          if (this.#certificates === undefined) this.#upgrade(socket);
          else this.#secure(socket, this.#certificates);
        },
        failed: (error) => this.#close(error),
      },
    );
  }

  #secure(raw: Socket, certificates: Certificates): void {
    const { host, servername, alpn = [], minTlsVersion = 'TLSv1.2', rejectUnauthorized, caFilePath } = this.#options;
    const nowMs = this.#clock.wallMs();
    const tlsOptions = { host, servername, alpn, minTlsVersion, rejectUnauthorized, certificates, caFilePath, nowMs };
    this.#enter('securing');
    this.#cancelStage = () => raw.destroy();
    this.#attempt(() => {
      this.#cancelStage = upgradeToTls(raw, tlsOptions, {
        secured: (socket, info, state) => {
          this.#times.handshakeMs = this.#elapsedMs();
          const tls = { info, state, isConfirmed: info.protocol !== 'TLSv1.3' };
          this.#tls = tls;
          // The server's ticket for a later session is the first thing that it sends when it has verified us.
          socket.once('session', () => {
            tls.isConfirmed = true;
          });
          this.#upgrade(socket);
        },
        failed: (error) => this.#close(error),
      });
    });
  }

  #upgrade(socket: Socket): void {
    if (!this.#options.websocket) {
      this.#opened(socket, streamChannel(socket, this.#channelEvents()));
      return;
    }
    const { secure, host, port, path } = this.#options;
    this.#enter('upgrading');
    this.#cancelStage = () => socket.destroy();
    this.#attempt(() => {
      const target = { secure, host, port, path };
      this.#cancelStage = upgradeToWebSocket(socket, target, {
        upgraded: (websocket) => {
          this.#times.upgradeMs = this.#elapsedMs();
          this.#opened(socket, webSocketChannel(websocket, socket, this.#channelEvents()));
        },
        failed: (error) => this.#close(this.#explained(error)),
      });
    });
  }

  #opened(socket: Socket, channel: Channel): void {
    this.#channel = channel;
    this.#cancelStage = undefined;
    this.#cancelTimer?.();
    this.#enter('open');
    this.#events.opened({
      ...this.#times,
      localAddress: addressText(socket.localAddress ?? '', socket.localPort ?? 0),
      remoteAddress: addressText(socket.remoteAddress ?? '', socket.remotePort ?? 0),
      ...(this.#tls === undefined ? {} : { tls: this.#tls.info }),
    });
  }

  #channelEvents(): ChannelEvents {
    return {
      received: (bytes) => {
        if (this.#tls !== undefined) this.#tls.isConfirmed = true;
        if (this.#phase === 'open') this.#events.received(bytes);
      },
      drained: () => {
        if (!this.#isBlocked || this.#phase !== 'open') return;
        this.#isBlocked = false;
        this.#events.drained();
      },
      ended: (reason) => {
        const told = reason === '' ? '' : ` (${reason})`;
        const error = new NorthError('BROKER_CLOSED', `The broker closed the connection${told}.`);
        // A broker answers our farewell by closing, often before the system tells us that it has sent everything.
        this.#close(this.#phase === 'ending' ? undefined : this.#explained(error));
      },
      failed: (cause) => {
        const error = cause instanceof NorthError ? cause : lostError(cause);
        if (this.#phase !== 'ending') this.#close(this.#explained(error));
        else this.#close(this.#isFlushed || this.bufferedSizeBytes === 0 ? undefined : error);
      },
    };
  }

  /** What ends a connection over TLS 1.3 before the broker has said anything may be about our certificate. */
  #explained(error: NorthError): NorthError {
    return this.#tls === undefined ? error : lateRefusal(error, this.#tls.state, this.#tls.isConfirmed);
  }

  #timeOut(): void {
    this.#close(timeoutError(this.#phase, this.#options.connectTimeoutMs));
  }

  /** Destroys an ending connection that does not come to its end. */
  #linger(channel: Channel): void {
    this.#cancelTimer = this.#clock.schedule(LINGER_MS, () => {
      const sizeBytes = channel.bufferedSizeBytes;
      const text = `The broker did not take the last ${sizeBytes} bytes.`;
      this.#close(this.#isFlushed || sizeBytes === 0 ? undefined : new NorthError('CONNECTION_LOST', text));
    });
  }

  #enter(phase: OpeningPhase | 'open'): void {
    this.#phase = phase;
    this.#phaseStartMs = this.#clock.monotonicMs();
    if (phase !== 'open') this.#events.entered?.(phase);
  }

  #elapsedMs(): number {
    return this.#clock.monotonicMs() - this.#phaseStartMs;
  }

  /** What a stage throws at its beginning, because of an option that it cannot take, is a failed dial like any other. */
  #attempt(stage: () => void): void {
    try {
      stage();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      const northError =
        error instanceof NorthError
          ? error
          : new NorthError('INTERNAL', `The connection could not be opened: ${text}.`, { cause: error });
      this.#close(northError);
    }
  }

  #close(error: NorthError | undefined): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#release();
    this.#events.closed(error === undefined ? undefined : placed(error, this.#place));
  }

  #release(): void {
    this.#cancelTimer?.();
    this.#cancelStage?.();
    this.#channel?.destroy();
  }
}

function placed(error: NorthError, place: string): NorthError {
  if (error.place !== undefined) return error;
  return new NorthError(error.code, error.message, { remedy: error.remedy, place, cause: error.cause });
}
