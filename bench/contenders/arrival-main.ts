/** The process of `watchArrival`: counts PUBLISH packets by their fixed headers, and does nothing else with them. */
import { connect } from 'node:net';
import mqttPacket from 'mqtt-packet';

const PUBLISH = 3;
const SUBACK = 9;
const READ_SIZE_BYTES = 256 * 1024;

let count = 0;
let wantedCount = Number.POSITIVE_INFINITY;
/** Bytes of the current packet that are still to come. */
let remainingBytes = 0;
/** The beginning of a fixed header whose end is in the next chunk. */
let header = Buffer.alloc(0);

const socket = connect({
  port: Number(process.argv[2]),
  host: '127.0.0.1',
  onread: {
    buffer: Buffer.alloc(READ_SIZE_BYTES),
    callback: (size, buffer) => {
      read(Buffer.from(buffer.buffer, buffer.byteOffset, size));
      if (count >= wantedCount) tellReached();
      return true;
    },
  },
});
socket.write(
  Buffer.concat([
    mqttPacket.generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId: 'bench-arrival',
      clean: true,
      keepalive: 0,
    }),
    mqttPacket.generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'bench/#', qos: 0 }] }),
  ]),
);
socket.on('close', () => {
  throw new Error('The broker has closed the connection of the subscriber.');
});

process.on('message', (wanted: number) => {
  wantedCount = wanted;
  if (count >= wantedCount) tellReached();
});
process.on('disconnect', () => process.exit(0));

function tellReached(): void {
  wantedCount = Number.POSITIVE_INFINITY;
  process.send?.('reached');
}

function read(chunk: Buffer): void {
  let bytes = chunk;
  if (header.length > 0) {
    bytes = Buffer.concat([header, chunk]);
    header = Buffer.alloc(0);
  }
  let at = 0;
  while (at < bytes.length) {
    if (remainingBytes > 0) {
      const taken = Math.min(remainingBytes, bytes.length - at);
      remainingBytes -= taken;
      at += taken;
      continue;
    }
    // The remaining length has at most four bytes, of which only the last one has no continuation bit.
    let lengthEnd = at + 1;
    while (lengthEnd < bytes.length && bytes[lengthEnd]! >= 0x80) lengthEnd++;
    if (lengthEnd >= bytes.length) {
      header = Buffer.from(bytes.subarray(at));
      return;
    }
    let factor = 1;
    for (let i = at + 1; i <= lengthEnd; i++) {
      remainingBytes += (bytes[i]! & 0x7f) * factor;
      factor *= 128;
    }
    const type = bytes[at]! >> 4;
    if (type === PUBLISH) count++;
    else if (type === SUBACK) process.send?.('subscribed');
    at = lengthEnd + 1;
  }
}
