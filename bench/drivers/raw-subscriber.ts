/**
 * A subscriber over a bare socket: it shares no code with the product, and takes so little of a core that it can count
 * every message of a broker that shares the machine with all the others. MQTT 3.1.1, QoS 0 to 2; it connects again by
 * itself, and with a persistent session it misses nothing in between.
 */
import { connect, type Socket } from 'node:net';
import mqttPacket from 'mqtt-packet';

export interface RawSubscriberOptions {
  port: number;
  clientId: string;
  /** The session outlives connections. */
  isPersistent: boolean;
  filter: string;
  qos: 0 | 1 | 2;
  /** Called for each message; the bytes are those of the socket and only valid during the call. */
  onPayload(bytes: Buffer, at: number, end: number): void;
}

const RECONNECT_MS = 100;
const ID_COUNT = 65_536;
const SUBSCRIBE_ID = 1;
const TYPE = { connack: 2, publish: 3, pubrel: 6, suback: 9 } as const;
const PUBACK = 0x4002_0000;
const PUBREC = 0x5002_0000;
const PUBCOMP = 0x7002_0000;

export class RawSubscriber {
  /** Resolves when the broker has granted the subscription; rejects when it refuses it. */
  readonly ready: Promise<void>;
  connectionsCount = 0;
  /** Times that the broker had forgotten the session when it was connected to again. */
  lostSessionsCount = 0;
  readonly #options: RawSubscriberOptions;
  /** Identifiers of QoS 2 whose PUBREL is still to come: a PUBLISH with one of these is a repetition [MQTT-4.3.3-10]. */
  readonly #unreleased = new Uint8Array(ID_COUNT);
  #socket: Socket | undefined;
  #rest: Buffer | undefined;
  #isClosed = false;
  #becomeReady: () => void = () => undefined;
  #refuse: (error: Error) => void = () => undefined;
  /** What is to be answered to the chunk that is being read. */
  #answers: number[] = [];

  constructor(options: RawSubscriberOptions) {
    this.#options = options;
    this.ready = new Promise((resolve, reject) => {
      this.#becomeReady = resolve;
      this.#refuse = reject;
    });
    this.#connect();
  }

  close(): void {
    this.#isClosed = true;
    this.#socket?.destroy();
  }

  #connect(): void {
    const { port, clientId, isPersistent } = this.#options;
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket = socket;
    this.#rest = undefined;
    const packet = { protocolId: 'MQTT', protocolVersion: 4, clientId, clean: !isPersistent, keepalive: 0 } as const;
    socket.write(mqttPacket.generate({ cmd: 'connect', ...packet }));
    socket.on('data', (chunk) => this.#read(chunk));
    // What ends a connection is followed by its close, and that by the next one.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (!this.#isClosed) setTimeout(() => this.#connect(), RECONNECT_MS);
    });
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    let at = 0;
    while (at + 2 <= bytes.length) {
      let size = 0;
      let bodyAt = at + 1;
      // A length has its low seven bits first, and a set eighth bit where more follow [MQTT 3.1.1 §2.2.3].
      for (let shift = 0; ; shift += 7) {
        const byte = bytes[bodyAt++];
        if (byte === undefined) break;
        size |= (byte & 0x7f) << shift;
        if (byte < 0x80) break;
      }
      if (bodyAt + size > bytes.length) break;
      this.#take(bytes, at, bodyAt, bodyAt + size);
      at = bodyAt + size;
    }
    if (at < bytes.length) this.#rest = bytes.subarray(at);
    this.#answer();
  }

  #take(bytes: Buffer, at: number, bodyAt: number, end: number): void {
    const type = bytes[at]! >> 4;
    if (type === TYPE.publish) this.#takePublish(bytes, (bytes[at]! >> 1) & 3, bodyAt, end);
    else if (type === TYPE.pubrel) {
      const id = bytes.readUInt16BE(bodyAt);
      this.#unreleased[id] = 0;
      this.#answers.push(PUBCOMP + id);
    } else if (type === TYPE.connack) this.#takeConnack(bytes[bodyAt] === 1, bytes[bodyAt + 1]!);
    else if (type === TYPE.suback) {
      if (bytes[bodyAt + 2] === this.#options.qos) this.#becomeReady();
      else this.#refuse(new Error(`The broker granted QoS ${bytes[bodyAt + 2]} to the subscription.`));
    }
  }

  #takePublish(bytes: Buffer, qos: number, bodyAt: number, end: number): void {
    const idAt = bodyAt + 2 + bytes.readUInt16BE(bodyAt);
    if (qos === 0) {
      this.#options.onPayload(bytes, idAt, end);
      return;
    }
    const id = bytes.readUInt16BE(idAt);
    if (qos === 1) {
      this.#options.onPayload(bytes, idAt + 2, end);
      this.#answers.push(PUBACK + id);
      return;
    }
    if (this.#unreleased[id] === 0) this.#options.onPayload(bytes, idAt + 2, end);
    this.#unreleased[id] = 1;
    this.#answers.push(PUBREC + id);
  }

  #takeConnack(isSessionPresent: boolean, code: number): void {
    if (code !== 0) {
      this.#refuse(new Error(`The broker refused the subscriber with code ${code}.`));
      return;
    }
    this.connectionsCount++;
    if (isSessionPresent) {
      this.#becomeReady();
      return;
    }
    if (this.connectionsCount > 1) this.lostSessionsCount++;
    this.#unreleased.fill(0);
    const { filter, qos } = this.#options;
    this.#socket?.write(
      mqttPacket.generate({ cmd: 'subscribe', messageId: SUBSCRIBE_ID, subscriptions: [{ topic: filter, qos }] }),
    );
  }

  #answer(): void {
    const answers = this.#answers;
    if (answers.length === 0) return;
    const out = Buffer.allocUnsafe(answers.length * 4);
    for (let index = 0; index < answers.length; index++) out.writeUInt32BE(answers[index]!, index * 4);
    answers.length = 0;
    this.#socket?.write(out);
  }
}
