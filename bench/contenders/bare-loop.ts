/**
 * The limit: a bare socket loop that writes prepared packets from memory and counts acknowledgements, without storage,
 * checks or re-sending. What it gets out of the broker is what there is to get.
 */
import { connect, type Socket } from 'node:net';
import mqttPacket from 'mqtt-packet';
import { type Arrival, watchArrival } from './arrival.js';
import { measure, type Publisher } from './measurement.js';
import { readTask, type Task } from './task.js';

const ID_COUNT = 65_535;
const BATCH_MAX = 500;
const CONNACK_SIZE_BYTES = 4;
const PUBACK = 4;
const PUBREC = 5;
const PUBCOMP = 7;
/** PUBREL with its remaining length, in front of the packet identifier. */
const PUBREL_HEADER = 0x6202_0000;

class BareLoop implements Publisher {
  readonly #task: Task;
  readonly #arrival: Arrival | undefined;
  readonly #socket: Socket;
  readonly #template: Buffer;
  readonly #idAt: number;
  #sent = 0;
  #done = 0;
  #wanted = 0;
  #isConnected = false;
  #isWritable = true;
  #rest: Buffer | undefined;
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(task: Task, arrival: Arrival | undefined) {
    const { port, qos, payloadSizeBytes } = task;
    this.#task = task;
    this.#arrival = arrival;
    const payload = Buffer.alloc(payloadSizeBytes, 0x61);
    const topic = 'bench/bare-loop';
    this.#template = mqttPacket.generate({
      cmd: 'publish',
      topic,
      payload,
      qos,
      dup: false,
      retain: false,
      messageId: 1,
    });
    this.#idAt = this.#template.length - payload.length - 2;
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.write(
      mqttPacket.generate({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clientId: 'bench-bare-loop',
        clean: true,
        keepalive: 0,
      }),
    );
    this.#socket.on('drain', () => {
      this.#isWritable = true;
      this.#pump();
    });
    this.#socket.on('data', (chunk) => this.#read(chunk));
    this.#socket.on('error', (error) => this.#reject(error));
    this.#socket.on('close', () => this.#reject(new Error('The broker has closed the connection.')));
  }

  acknowledged(): number {
    return this.#done;
  }

  publish(count: number): Promise<void> {
    this.#wanted += count;
    const arrived = this.#arrival?.reach(this.#wanted);
    const acknowledged = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#pump();
    });
    return arrived === undefined ? acknowledged : Promise.race([arrived, acknowledged]);
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    if (!this.#isConnected) {
      this.#isConnected = true;
      bytes = bytes.subarray(CONNACK_SIZE_BYTES);
    }
    const releases: number[] = [];
    let at = 0;
    for (; at + 2 <= bytes.length && at + 2 + bytes[at + 1]! <= bytes.length; at += bytes[at + 1]! + 2) {
      const type = bytes[at]! >> 4;
      if (type === PUBACK || type === PUBCOMP) this.#done++;
      else if (type === PUBREC) releases.push((bytes[at + 2]! << 8) | bytes[at + 3]!);
    }
    if (at < bytes.length) this.#rest = Buffer.from(bytes.subarray(at));
    if (releases.length > 0) {
      const out = Buffer.allocUnsafe(releases.length * 4);
      for (const [index, id] of releases.entries()) out.writeUInt32BE(PUBREL_HEADER + id, index * 4);
      this.#socket.write(out);
    }
    if (this.#done >= this.#wanted) this.#resolve();
    else this.#pump();
  }

  #pump(): void {
    const { qos, window } = this.#task;
    while (this.#isConnected && this.#isWritable && this.#sent < this.#wanted) {
      const room = qos === 0 ? BATCH_MAX : window - (this.#sent - this.#done);
      const batch = Math.min(room, this.#wanted - this.#sent, BATCH_MAX);
      if (batch <= 0) return;
      const out = Buffer.allocUnsafe(batch * this.#template.length);
      for (let i = 0; i < batch; i++) {
        this.#template.copy(out, i * this.#template.length);
        if (qos > 0) out.writeUInt16BE((this.#sent % ID_COUNT) + 1, i * this.#template.length + this.#idAt);
        this.#sent++;
      }
      this.#isWritable = this.#socket.write(out);
    }
  }
}

const task = readTask();
await measure(new BareLoop(task, task.qos === 0 ? await watchArrival(task) : undefined));
process.exit(0);
