/**
 * A bare connection to the broker, without cache and session: what one thing at a time takes, from its first byte until
 * its answer is complete. It is clean, so that nothing of it stays at the broker.
 */
import mqttPacket, { type Packet } from 'mqtt-packet';
import type { BrokerUrl } from '../config/broker-url.js';
import type { ConnectionSettings } from '../config/settings.js';
import { readConnack } from '../connector/connack.js';
import { handshakeFailure } from '../connector/handshake-failure.js';
import { transportOptions } from '../connector/settings-of.js';
import { systemClock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { reasonName } from '../core/reason-codes.js';
import { disconnectError } from '../session/connect-error.js';
import { refusalOf } from '../session/refusal.js';
import { openTransport, type Transport } from '../transport/transport.js';
import { type ConnackGrant, encodeConnect, encodeDisconnect, PINGREQ, writePubrel } from '../wire/control-packets.js';
import { type AcknowledgementType, PacketReader, PUBACK, PUBCOMP, PUBREC } from '../wire/packet-reader.js';

const KEEPALIVE_SECONDS = 60;
const PACKET_ID_MAX = 65_535;

export interface ProbeOptions {
  settings: ConnectionSettings;
  broker: BrokerUrl;
  protocolVersion: 4 | 5;
  clientId: string;
  /** Longest wait for the answer to a ping or a message. */
  timeoutMs: number;
  signal: AbortSignal;
}

export interface Probe {
  readonly grant: ConnackGrant;
  readonly protocolVersion: 4 | 5;
  /** From looking up the name until the broker has accepted us. */
  readonly connectMs: number;
  /** Resolves with the milliseconds until the answer. */
  ping(): Promise<number>;
  /** Resolves with the milliseconds until PUBACK or PUBCOMP; rejects with the broker's reason when it refuses. */
  publish(topic: string, payload: Buffer, qos: 1 | 2): Promise<number>;
  /** Resolves when the connection has ended. */
  close(): Promise<void>;
}

/**
 * Resolves when the broker has accepted us; rejects with why it did not, or with SERVICE_STOPPING when the signal came.
 * Without a fixed version, a broker that does not take MQTT 5 is asked again with 3.1.1.
 */
export async function openProbe(options: Omit<ProbeOptions, 'protocolVersion'>): Promise<Probe> {
  const wanted = options.settings.protocolVersion;
  const attempt = async (protocolVersion: 4 | 5): Promise<Probe> => {
    const probe = new SocketProbe({ ...options, protocolVersion });
    await probe.opened;
    return probe;
  };
  if (wanted === '3.1.1') return attempt(4);
  try {
    return await attempt(5);
  } catch (error) {
    const code = error instanceof NorthError ? error.code : undefined;
    const mayBeOld = code === 'BROKER_VERSION' || code === 'BROKER_CLOSED' || code === 'BROKER_NOT_MQTT';
    if (wanted !== 'auto' || !mayBeOld) throw error;
    return attempt(4).catch((oldError: unknown) => {
      throw code === 'BROKER_VERSION' ? oldError : error;
    });
  }
}

interface Awaited {
  packetId: number;
  qos: 1 | 2 | undefined;
  startMs: number;
  cancelTimeout: () => void;
  resolve(elapsedMs: number): void;
  reject(error: NorthError): void;
}

class SocketProbe implements Probe {
  readonly opened: Promise<void>;
  readonly protocolVersion: 4 | 5;
  connectMs = 0;
  readonly #options: ProbeOptions;
  readonly #clock = systemClock();
  readonly #startMs = performance.now();
  readonly #reader: PacketReader;
  readonly #transport: Transport;
  readonly #abort = (): void => this.#fail(new NorthError('SERVICE_STOPPING', 'The measurement was stopped.'));
  #grant: ConnackGrant | undefined;
  #opening: { resolve(): void; reject(error: NorthError): void } | undefined;
  #cancelTimeout: (() => void) | undefined;
  #awaited: Awaited | undefined;
  #failure: NorthError | undefined;
  #packetId = 0;
  #ended: Promise<void>;
  #noteEnd: () => void = () => undefined;

  constructor(options: ProbeOptions) {
    this.#options = options;
    this.protocolVersion = options.protocolVersion;
    this.opened = new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
    });
    this.#ended = new Promise((resolve) => {
      this.#noteEnd = resolve;
    });
    this.#reader = new PacketReader(options.protocolVersion, {
      acknowledged: (type, packetId, reasonCode, text) => this.#acknowledged(type, packetId, reasonCode, text),
      packet: (packet) => this.#read(packet),
      malformed: (problem) =>
        this.#fail(new NorthError('BROKER_NOT_MQTT', `What answers does not speak MQTT: ${problem}.`)),
    });
    this.#transport = this.#open();
    options.signal.addEventListener('abort', this.#abort);
    if (options.signal.aborted) this.#abort();
  }

  get grant(): ConnackGrant {
    if (this.#grant === undefined) throw new NorthError('INTERNAL', 'The probe has not been accepted yet.');
    return this.#grant;
  }

  ping(): Promise<number> {
    return this.#await(0, undefined, PINGREQ);
  }

  publish(topic: string, payload: Buffer, qos: 1 | 2): Promise<number> {
    this.#packetId = (this.#packetId % PACKET_ID_MAX) + 1;
    const { protocolVersion } = this;
    const messageId = this.#packetId;
    const packet = { cmd: 'publish', topic, payload, qos, messageId, dup: false, retain: false } as const;
    return this.#await(messageId, qos, mqttPacket.generate(packet, { protocolVersion }));
  }

  async close(): Promise<void> {
    this.#options.signal.removeEventListener('abort', this.#abort);
    if (this.#failure === undefined) {
      this.#transport.write(encodeDisconnect(this.protocolVersion));
      this.#transport.end();
    }
    await this.#ended;
  }

  #open(): Transport {
    const { settings, broker } = this.#options;
    const timeoutMs = settings.connectTimeout;
    return openTransport(transportOptions(settings, broker, timeoutMs), {
      opened: () => {
        const leftMs = Math.max(0, this.#startMs + timeoutMs - performance.now());
        this.#cancelTimeout = this.#clock.schedule(leftMs, () => {
          const text = `The broker did not answer within ${timeoutMs} ms: the connection is open, but no CONNACK came.`;
          this.#fail(new NorthError('BROKER_TIMEOUT', text));
        });
        this.#transport.write(this.#connectPacket());
      },
      received: (bytes) => this.#reader.read(bytes),
      drained: () => undefined,
      closed: (error) => {
        const lost = error ?? new NorthError('CONNECTION_LOST', 'The broker closed the connection.');
        this.#fail(this.#grant === undefined ? handshakeFailure(error) : lost);
        this.#noteEnd();
      },
    });
  }

  #connectPacket(): Buffer {
    const { settings, clientId } = this.#options;
    const basic = settings.authentication.type === 'basic' ? settings.authentication : undefined;
    return encodeConnect({
      protocolVersion: this.protocolVersion,
      clientId,
      cleanStart: true,
      sessionExpirySeconds: 0,
      keepaliveSeconds: KEEPALIVE_SECONDS,
      username: basic?.username,
      password: basic?.password.reveal(),
      will: undefined,
    });
  }

  #await(packetId: number, qos: 1 | 2 | undefined, bytes: Uint8Array): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { timeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const cancelTimeout = this.#clock.schedule(timeoutMs, () => {
        const what = qos === undefined ? 'a ping' : `a message of QoS ${qos}`;
        this.#fail(new NorthError('ACK_OVERDUE', `The broker did not acknowledge ${what} within ${timeoutMs} ms.`));
      });
      this.#awaited = { packetId, qos, startMs: performance.now(), cancelTimeout, resolve, reject };
      this.#transport.write(bytes);
    });
  }

  #acknowledged(type: AcknowledgementType, packetId: number, reasonCode: number, text: string | undefined): void {
    const awaited = this.#awaited;
    if (awaited?.qos === undefined || awaited.packetId !== packetId) return;
    if (reasonCode >= 0x80) {
      this.#refuse(awaited, reasonCode, text);
      return;
    }
    if (type === PUBREC) {
      const pubrel = Buffer.alloc(4);
      writePubrel(pubrel, 0, packetId, 0);
      this.#transport.write(pubrel);
    } else if (type === PUBCOMP || type === PUBACK) this.#answered();
  }

  /** The connection stays: a refusal is about the message. */
  #refuse({ cancelTimeout, reject }: Awaited, reasonCode: number, text: string | undefined): void {
    this.#awaited = undefined;
    cancelTimeout();
    const refusal = refusalOf(reasonCode);
    const name = `0x${reasonCode.toString(16)} ${reasonName(reasonCode)}`;
    const message = `The broker refused a message: ${text === undefined ? name : `${name}, "${text}"`}.`;
    reject(
      new NorthError(refusal.action === 'retry' ? 'PUBLISH_REFUSED' : refusal.code, message, {
        remedy:
          refusal.action === 'retry'
            ? 'Wait for the quota of the broker, or stay below it with --rate.'
            : 'Allow this user to publish to the topic of the measurement, or name another one with --topic.',
      }),
    );
  }

  #answered(): void {
    const awaited = this.#awaited;
    this.#awaited = undefined;
    awaited?.cancelTimeout();
    awaited?.resolve(performance.now() - awaited.startMs);
  }

  #read(packet: Packet): void {
    if (packet.cmd === 'pingresp') {
      if (this.#awaited?.qos === undefined) this.#answered();
    } else if (packet.cmd === 'disconnect') {
      this.#fail(disconnectError(packet.reasonCode ?? 0, packet.properties?.reasonString));
    } else if (packet.cmd === 'connack' && this.#grant === undefined) {
      const granted = readConnack(packet, this.protocolVersion);
      if (granted instanceof NorthError) {
        this.#fail(granted);
        return;
      }
      this.#cancelTimeout?.();
      this.connectMs = performance.now() - this.#startMs;
      this.#grant = granted;
      this.#opening?.resolve();
      this.#opening = undefined;
    }
  }

  #fail(error: NorthError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#options.signal.removeEventListener('abort', this.#abort);
    this.#cancelTimeout?.();
    this.#transport.destroy();
    this.#noteEnd();
    this.#opening?.reject(error);
    this.#opening = undefined;
    const awaited = this.#awaited;
    this.#awaited = undefined;
    awaited?.cancelTimeout();
    awaited?.reject(error);
  }
}
