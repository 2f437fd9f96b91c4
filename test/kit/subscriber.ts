/** A subscriber that shares no code with the product: what it has received is what has arrived. */
import { Socket } from 'node:net';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { eventually, within } from './deadline.js';

export interface ReceivedMessage {
  topic: string;
  /** The payload as UTF-8. */
  text: string;
  payload: Buffer;
  qos: 0 | 1 | 2;
  retain: boolean;
  dup: boolean;
  /** MQTT 5 only. */
  properties: {
    messageExpiryInterval?: number;
    contentType?: string;
    responseTopic?: string;
    correlationData?: Buffer;
    payloadFormatIndicator?: boolean;
    userProperties?: Readonly<Record<string, string | string[]>>;
  };
}

export interface SubscriberOptions {
  url: string;
  /** Topic filters; everything by default. */
  topics?: string | string[];
  /** Of the subscription; 2 by default, so that each message keeps the QoS of its publisher. */
  qos?: 0 | 1 | 2;
  protocolVersion?: 4 | 5;
  /** A session of this client id outlives connections and the broker's restart: nothing is missed in between. */
  persistentClientId?: string;
  onMessage?: (message: ReceivedMessage) => void;
  /** Anything else of mqtt.js: `username`, `password`, `ca`, `rejectUnauthorized`. */
  client?: IClientOptions;
}

export interface Subscriber {
  /** All messages so far, in the order of their arrival. */
  readonly messages: readonly ReceivedMessage[];
  /** Times that it has connected. */
  readonly connectionCount: number;
  /** The payloads of all messages, of those with this topic when one is given. */
  texts(topic?: string): string[];
  /** Waits for at least so many messages, or until the condition holds; gives all messages. */
  waitFor(
    enough: number | ((messages: readonly ReceivedMessage[]) => boolean),
    timeoutMs?: number,
  ): Promise<readonly ReceivedMessage[]>;
  clear(): void;
  /** Publishes by itself, to set or to remove what the broker retains for example. */
  publish(topic: string, payload: string | Buffer, options?: { qos?: 0 | 1 | 2; retain?: boolean }): Promise<void>;
  close(): Promise<void>;
}

const RECONNECT_MS = 100;

const UNREFERENCED_TIMERS = {
  set: (callback: () => void, intervalMs: number): number => Number(setInterval(callback, intervalMs).unref()),
  clear: (timer: number): void => clearInterval(timer),
};

/** Resolves when the broker has granted the subscription. It reconnects by itself until it is closed. */
export async function openSubscriber(options: SubscriberOptions): Promise<Subscriber> {
  const { persistentClientId, protocolVersion = 5, qos = 2, topics = '#' } = options;
  const messages: ReceivedMessage[] = [];
  let connectionCount = 0;
  let lastFailure = 'nothing';
  /** The client itself forgets that it was ended, and its stores are closed then. */
  let isClosed = false;

  const client: MqttClient = connect(options.url, {
    protocolVersion,
    // Its own timers would keep the process alive after a test that failed before it could close this.
    reconnectPeriod: 0,
    timerVariant: UNREFERENCED_TIMERS,
    clean: persistentClientId === undefined,
    clientId: persistentClientId ?? `subscriber-${process.pid}-${Math.random().toString(16).slice(2)}`,
    ...(persistentClientId !== undefined && protocolVersion === 5
      ? { properties: { sessionExpiryInterval: 86_400 } }
      : {}),
    ...options.client,
  });
  client.on('connect', ({ sessionPresent }) => {
    connectionCount++;
    // The client itself does so only when it reconnects by itself, too.
    if (connectionCount > 1 && !sessionPresent) client.subscribe(topics, { qos });
    // The stream over TCP or TLS is a socket; that over a websocket has no handle of its own.
    if (client.stream instanceof Socket) client.stream.unref();
  });
  client.on('close', () => {
    setTimeout(() => {
      // Without its stores it would forget what it has answered with PUBREC and not been given yet [MQTT-4.3.3-10].
      const { incomingStore, outgoingStore } = client;
      if (!isClosed && !client.disconnecting) client.reconnect({ incomingStore, outgoingStore });
    }, RECONNECT_MS).unref();
  });
  client.on('error', (error) => {
    lastFailure = error.message;
  });
  client.on('message', (topic, payload, packet) => {
    // The packet's properties are of its type's own interface, which differs in what may be undefined only.
    const properties = (packet.properties ?? {}) as ReceivedMessage['properties'];
    const { qos: receivedQos, retain, dup } = packet;
    const message = { topic, text: payload.toString(), payload, qos: receivedQos, retain, dup, properties };
    messages.push(message);
    options.onMessage?.(message);
  });
  try {
    await within(client.subscribeAsync(topics, { qos }), () => `the subscription; last failure: ${lastFailure}`);
  } catch (error) {
    client.end(true);
    throw error;
  }

  return {
    messages,
    get connectionCount() {
      return connectionCount;
    },
    texts: (topic) => messages.filter((each) => topic === undefined || each.topic === topic).map(({ text }) => text),
    async waitFor(enough, timeoutMs) {
      await eventually(
        () => (typeof enough === 'number' ? messages.length >= enough : enough(messages)),
        () => `${typeof enough === 'number' ? enough : 'the wanted'} messages. ${describeMessages(messages)}`,
        timeoutMs,
      );
      return messages;
    },
    clear: () => void messages.splice(0),
    publish: async (topic, payload, publishOptions = {}) => {
      await within(client.publishAsync(topic, payload, publishOptions), `the acknowledgement of ${topic}`);
    },
    close: () => {
      isClosed = true;
      return within(client.endAsync(true), 'the subscriber to close');
    },
  };
}

export function describeMessages(messages: readonly ReceivedMessage[]): string {
  const last = messages.slice(-5).map(({ topic, text }) => `${topic} = ${text.slice(0, 100)}`);
  return `It has ${messages.length}${last.length === 0 ? '' : `, the last: ${last.join(' | ')}`}`;
}
