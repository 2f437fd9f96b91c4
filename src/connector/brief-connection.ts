/** A connection that only hears what the broker answers to CONNECT, and perhaps to one SUBSCRIBE, and ends in order. */
import mqttPacket, { type ISubackPacket } from 'mqtt-packet';
import type { BrokerUrl } from '../config/broker-url.js';
import type { ConnectionSettings } from '../config/settings.js';
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import type { QoS } from '../core/message.js';
import { disconnectError } from '../session/connect-error.js';
import { openTransport } from '../transport/transport.js';
import { type ConnackGrant, encodeConnect, encodeDisconnect, encodeLastDisconnect } from '../wire/control-packets.js';
import { PacketReader } from '../wire/packet-reader.js';
import { readConnack } from './connack.js';
import { handshakeFailure } from './handshake-failure.js';
import { transportOptions } from './settings-of.js';

/** From here on a SUBACK refuses [MQTT 3.1.1 §3.9.3, MQTT 5.0 §3.9.3]. */
const REFUSED_FROM = 0x80;
const SUBSCRIBE_ID = 1;
/** Giving a session back is worth a wait, but not a long one. */
const SESSION_END_TIMEOUT_MS = 3000;

export interface BriefConnectionOptions {
  settings: ConnectionSettings;
  broker: BrokerUrl;
  protocolVersion: 4 | 5;
  clientId: string;
  /**
   * `resumed` continues the session that the client id has at the broker, and under MQTT 3.1.1 leaves it there; `ended`
   * wipes it out. After both, MQTT 5 keeps none.
   */
  session: 'resumed' | 'ended';
  /** A topic to subscribe to at QoS 2. */
  topic?: string;
  /** For everything up to the last answer. */
  timeoutMs: number;
  clock: Clock;
  signal?: AbortSignal | undefined;
}

export interface BriefAnswer {
  grant: ConnackGrant;
  /** Granted to the subscription; undefined when there was none. */
  subscribedQos: QoS | undefined;
}

/** Resolves when the connection has ended; rejects with why an answer did not come or was a refusal. */
export function connectBriefly(options: BriefConnectionOptions): Promise<BriefAnswer> {
  const { settings, broker, protocolVersion, topic, timeoutMs, clock, signal } = options;
  return new Promise((resolve, reject) => {
    let grant: ConnackGrant | undefined;
    let answer: BriefAnswer | undefined;
    const startMs = clock.monotonicMs();
    let cancelTimeout: (() => void) | undefined;
    const settle = (): void => {
      cancelTimeout?.();
      signal?.removeEventListener('abort', abort);
    };
    const farewell = (): void => {
      transport.write(protocolVersion === 5 ? encodeLastDisconnect() : encodeDisconnect(4));
      transport.end();
    };
    const fail = (error: NorthError): void => {
      settle();
      if (grant === undefined) transport.destroy();
      else farewell();
      reject(error);
    };
    const abort = (): void => fail(new NorthError('SERVICE_STOPPING', 'The connection was given up.'));
    const complete = (subscribedQos: QoS | undefined): void => {
      if (grant === undefined) return;
      answer = { grant, subscribedQos };
      settle();
      farewell();
    };
    const reader = new PacketReader(protocolVersion, {
      acknowledged: () => fail(new NorthError('BROKER_PROTOCOL', 'An acknowledgement came that belongs to nothing.')),
      malformed: (problem) => fail(new NorthError('BROKER_NOT_MQTT', `What answers does not speak MQTT: ${problem}.`)),
      packet: (packet) => {
        if (answer !== undefined) return;
        if (packet.cmd === 'connack') {
          const judged = readConnack(packet, protocolVersion);
          if (judged instanceof NorthError) fail(judged);
          else {
            grant = judged;
            if (topic === undefined) complete(undefined);
            else transport.write(encodeSubscribe(topic, protocolVersion));
          }
        } else if (packet.cmd === 'suback') {
          const qos = grantedQosOf(packet);
          if (qos !== undefined) complete(qos);
          else fail(new NorthError('BROKER_NOT_AUTHORIZED', 'The broker refuses the subscription.'));
        } else if (packet.cmd === 'disconnect') {
          fail(disconnectError(packet.reasonCode ?? 0, packet.properties?.reasonString));
        }
      },
    });
    const transport = openTransport(
      { ...transportOptions(settings, broker, timeoutMs), clock },
      {
        opened: () => {
          const leftMs = Math.max(0, startMs + timeoutMs - clock.monotonicMs());
          cancelTimeout = clock.schedule(leftMs, () =>
            fail(new NorthError('BROKER_TIMEOUT', `The broker did not answer within ${timeoutMs} ms.`)),
          );
          transport.write(connectPacket(options));
        },
        received: (bytes) => reader.read(bytes),
        drained: () => undefined,
        closed: (error) => {
          if (answer !== undefined) resolve(answer);
          else if (grant === undefined) fail(handshakeFailure(error));
          else fail(error ?? new NorthError('BROKER_CLOSED', 'The broker closed the connection.'));
        },
      },
    );
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort);
  });
}

/**
 * Ends the session that a client id has at the broker. Resolves in any case, and soon: what cannot be ended was of use to
 * nobody, and MQTT 5 lets it expire.
 */
export async function endSession(
  options: Omit<BriefConnectionOptions, 'session' | 'topic' | 'timeoutMs'>,
): Promise<void> {
  const timeoutMs = Math.min(SESSION_END_TIMEOUT_MS, options.settings.connectTimeout);
  try {
    await connectBriefly({ ...options, session: 'ended', timeoutMs });
  } catch (error) {
    if (!(error instanceof NorthError)) throw error;
  }
}

/** No will: the broker would publish it when it takes this connection in place of one that has not quite ended. */
function connectPacket({ settings, protocolVersion, clientId, session }: BriefConnectionOptions): Buffer {
  const basic = settings.authentication.type === 'basic' ? settings.authentication : undefined;
  return encodeConnect({
    protocolVersion,
    clientId,
    cleanStart: session === 'ended',
    sessionExpirySeconds: session === 'ended' ? 0 : settings.sessionExpiryInterval,
    keepaliveSeconds: settings.keepalive,
    username: basic?.username,
    password: basic?.password.reveal(),
    will: undefined,
  });
}

function encodeSubscribe(topic: string, protocolVersion: 4 | 5): Buffer {
  const subscriptions = [{ topic, qos: 2 } as const];
  return mqttPacket.generate({ cmd: 'subscribe', messageId: SUBSCRIBE_ID, subscriptions }, { protocolVersion });
}

function grantedQosOf({ granted }: ISubackPacket): QoS | undefined {
  const code = Number(granted[0]);
  if (code >= REFUSED_FROM) return undefined;
  return code === 0 || code === 1 ? code : 2;
}
