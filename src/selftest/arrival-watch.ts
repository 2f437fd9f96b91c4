/**
 * A subscriber of its own, on a connection of its own: what it has received is what the broker has delivered.
 *
 * It receives at QoS 2 by method B of the specification: a message counts when its PUBLISH comes, and its packet
 * identifier is remembered until PUBREL [MQTT-4.3.3-9]. Its session outlives a lost connection, so that nothing is
 * missed meanwhile; when the broker does not keep it, that is told, because then an absence proves nothing.
 */
import mqttPacket, { type Packet } from 'mqtt-packet';
import type { BrokerUrl } from '../config/broker-url.js';
import type { ConnectionSettings } from '../config/settings.js';
import { transportOptions } from '../connector/settings-of.js';
import { systemClock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import type { QoS } from '../core/message.js';
import { connackError } from '../session/connect-error.js';
import { openTransport, type Transport } from '../transport/transport.js';
import { encodeConnect, encodeDisconnect, PINGREQ } from '../wire/control-packets.js';
import { PacketReader } from '../wire/packet-reader.js';
import { stoppedError } from './stopped.js';

const KEEPALIVE_SECONDS = 30;
/** Longer than any pause of the run, and short enough to leave no session behind for long if the run is killed. */
const SESSION_EXPIRY_SECONDS = 3600;
const RECONNECT_MS = 1000;
const REFUSED_FROM = 0x80;

export interface WatchOptions {
  settings: ConnectionSettings;
  broker: BrokerUrl;
  protocolVersion: 4 | 5;
  clientId: string;
  filter: string;
  /** Ends it while it is being opened. */
  signal: AbortSignal;
  arrived(topic: string, payload: Buffer): void;
}

export interface ArrivalWatch {
  /** The QoS that the broker has granted to the subscription. */
  readonly grantedQos: QoS;
  /** The broker forgot the subscription at a reconnect: what came meanwhile was not seen. */
  readonly isBroken: boolean;
  close(): void;
}

/** Resolves when the broker has granted the subscription; rejects with why it did not. */
export async function openArrivalWatch(options: WatchOptions): Promise<ArrivalWatch> {
  const watch = new BrokerWatch(options);
  const stop = (): void => watch.fail(stoppedError());
  options.signal.addEventListener('abort', stop);
  try {
    if (options.signal.aborted) stop();
    await watch.opened;
    return watch;
  } finally {
    options.signal.removeEventListener('abort', stop);
  }
}

class BrokerWatch implements ArrivalWatch {
  readonly opened: Promise<void>;
  grantedQos: QoS = 0;
  isBroken = false;
  readonly #options: WatchOptions;
  readonly #clock = systemClock({ unref: true });
  #settle: { resolve(): void; reject(error: NorthError): void } | undefined;
  #transport: Transport | undefined;
  #isClosed = false;
  /** Packet identifiers of QoS 2 messages that have come and are not released. */
  readonly #held = new Set<number>();
  #cancelTimer: (() => void) | undefined;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.opened = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#connect(true);
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#transport?.write(encodeDisconnect(this.#options.protocolVersion));
    this.#transport?.end();
  }

  #connect(isFirst: boolean): void {
    const { settings, broker, protocolVersion } = this.#options;
    const reader = new PacketReader(protocolVersion, {
      acknowledged: () => this.fail(new NorthError('BROKER_PROTOCOL', 'An acknowledgement came for nothing.')),
      malformed: (problem) => this.fail(new NorthError('BROKER_NOT_MQTT', `What answers is no MQTT: ${problem}.`)),
      packet: (packet) => this.#read(packet, isFirst),
    });
    const timeoutMs = settings.connectTimeout;
    const transport = openTransport(transportOptions(settings, broker, timeoutMs), {
      opened: () => {
        transport.write(connectPacket(this.#options, isFirst));
        this.#cancelTimer = this.#clock.schedule(timeoutMs, () =>
          this.fail(new NorthError('BROKER_TIMEOUT', `The broker did not answer within ${timeoutMs} ms.`)),
        );
      },
      received: (bytes) => reader.read(bytes),
      drained: () => undefined,
      closed: (error) => this.fail(error ?? new NorthError('BROKER_CLOSED', 'The broker closed the connection.')),
    });
    this.#transport = transport;
  }

  #read(packet: Packet, isFirst: boolean): void {
    switch (packet.cmd) {
      case 'connack': {
        const refused = connackError(packet, this.#options.protocolVersion);
        if (refused !== undefined) this.fail(refused);
        else if (isFirst) this.#send({ cmd: 'subscribe', messageId: 1, subscriptions: [this.#subscription()] });
        else {
          if (!packet.sessionPresent) {
            // What was held belongs to the session; a new one knows nothing of it, nor of the subscription.
            this.isBroken = true;
            this.#held.clear();
            this.#send({ cmd: 'subscribe', messageId: 1, subscriptions: [this.#subscription()] });
          }
          this.#beat();
        }
        return;
      }
      case 'suback': {
        const granted = Number(packet.granted[0]);
        if (granted >= REFUSED_FROM) {
          this.fail(
            new NorthError('BROKER_NOT_AUTHORIZED', `The broker refuses the subscription to ${this.#options.filter}.`, {
              remedy: 'Allow this user to publish and to subscribe below that topic, or name another one with --topic.',
            }),
          );
          return;
        }
        this.grantedQos = granted === 0 || granted === 1 ? granted : 2;
        this.#settle?.resolve();
        this.#settle = undefined;
        this.#beat();
        return;
      }
      case 'publish': {
        const { qos, messageId = 0, topic, payload } = packet;
        if (qos < 2 || !this.#held.has(messageId)) {
          this.#options.arrived(topic, Buffer.isBuffer(payload) ? payload : Buffer.from(payload));
        }
        if (qos === 1) this.#send({ cmd: 'puback', messageId });
        else if (qos === 2) {
          this.#held.add(messageId);
          this.#send({ cmd: 'pubrec', messageId });
        }
        return;
      }
      case 'pubrel': {
        const { messageId = 0 } = packet;
        this.#held.delete(messageId);
        this.#send({ cmd: 'pubcomp', messageId });
        return;
      }
      case 'disconnect':
        this.fail(new NorthError('CONNECTION_LOST', 'The broker ended the connection of the subscriber.'));
        return;
    }
  }

  #subscription(): { topic: string; qos: 2 } {
    return { topic: this.#options.filter, qos: 2 };
  }

  #send(packet: Packet): void {
    const { protocolVersion } = this.#options;
    this.#transport?.write(mqttPacket.generate(packet, { protocolVersion }));
  }

  #beat(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#clock.schedule((KEEPALIVE_SECONDS * 1000) / 2, () => {
      this.#transport?.write(PINGREQ);
      this.#beat();
    });
  }

  /** The connection has ended or is of no use; before it was open, nothing more is tried. */
  fail(error: NorthError): void {
    this.#cancelTimer?.();
    this.#transport?.destroy();
    this.#transport = undefined;
    if (this.#settle !== undefined) {
      this.#settle.reject(error);
      this.#settle = undefined;
    } else if (!this.#isClosed) this.#cancelTimer = this.#clock.schedule(RECONNECT_MS, () => this.#connect(false));
  }
}

function connectPacket(options: WatchOptions, isFirst: boolean): Buffer {
  const { settings, protocolVersion, clientId } = options;
  const basic = settings.authentication.type === 'basic' ? settings.authentication : undefined;
  return encodeConnect({
    protocolVersion,
    clientId,
    // Under MQTT 3.1.1 a clean session would end with the connection; the client id is new in any case.
    cleanStart: isFirst && protocolVersion === 5,
    sessionExpirySeconds: SESSION_EXPIRY_SECONDS,
    keepaliveSeconds: KEEPALIVE_SECONDS,
    username: basic?.username,
    password: basic?.password.reveal(),
    will: undefined,
  });
}
