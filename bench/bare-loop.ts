/**
 * The limit: a bare socket loop that publishes from memory and waits for acknowledgements, without storage, checks or
 * re-sending. Prints one line of JSON.
 */
import { connect } from 'node:net';
import mqttPacket from 'mqtt-packet';
import { readTask, report } from './task.js';

const task = readTask();
const { port, count, qos, window, payloadSizeBytes } = task;
const topic = 'bench/bare';
const payload = Buffer.alloc(payloadSizeBytes, 0x61);
const ID_COUNT = 60_000;

const template = mqttPacket.generate({ cmd: 'publish', topic, payload, qos, dup: false, retain: false, messageId: 1 });
const idAt = qos === 0 ? -1 : template.length - payload.length - 2;
const socket = connect({ port, host: '127.0.0.1', noDelay: true });
let sent = 0;
let done = 0;
let startMs = 0;
let isWritable = true;
let rest: Buffer | undefined;

socket.write(
  mqttPacket.generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: 'bare',
    clean: true,
    keepalive: 0,
  }),
);
socket.on('drain', () => {
  isWritable = true;
  pump();
});
socket.on('data', (chunk) => {
  let bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
  rest = undefined;
  if (startMs === 0) {
    bytes = bytes.subarray(4);
    startMs = performance.now();
  }
  const releases: number[] = [];
  let at = 0;
  for (; at + 2 + (bytes[at + 1] ?? 0) <= bytes.length && at + 2 <= bytes.length; at += bytes[at + 1]! + 2) {
    const type = bytes[at]! >> 4;
    if (type === 4 || type === 7) done++;
    else if (type === 5) releases.push((bytes[at + 2]! << 8) | bytes[at + 3]!);
    else if (type === 13) {
      done = count;
      break;
    }
  }
  if (at < bytes.length) rest = Buffer.from(bytes.subarray(at));
  if (releases.length > 0) {
    const out = Buffer.allocUnsafe(releases.length * 4);
    releases.forEach((id, index) => {
      out.writeUInt32BE(0x6202_0000 + id, index * 4);
    });
    socket.write(out);
  }
  if (done >= count) {
    report({ count, elapsedMs: performance.now() - startMs });
    socket.destroy();
    return;
  }
  pump();
});

function pump(): void {
  while (isWritable && sent < count) {
    const room = qos === 0 ? 500 : window - (sent - done);
    const batch = Math.min(room, count - sent, 500);
    if (batch <= 0) return;
    const out = Buffer.allocUnsafe(batch * template.length);
    for (let i = 0; i < batch; i++) {
      template.copy(out, i * template.length);
      if (idAt >= 0) out.writeUInt16BE((sent % ID_COUNT) + 1, i * template.length + idAt);
      sent++;
    }
    isWritable = socket.write(out);
    // The broker answers a ping after it has read everything before it: the end of a QoS 0 run.
    if (qos === 0 && sent === count) socket.write(Buffer.of(0xc0, 0));
  }
}
