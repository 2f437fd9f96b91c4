/** The packets in `bytes` as `mqtt-packet` reads them; fails when they are not whole packets and nothing else. */
import assert from 'node:assert/strict';
import mqttPacket, { type IPublishPacket, type Packet } from 'mqtt-packet';

export function parsePackets(bytes: Buffer, protocolVersion: 4 | 5): Packet[] {
  const packets: Packet[] = [];
  const parser = mqttPacket.parser({ protocolVersion });
  parser.on('packet', (packet) => packets.push(packet));
  parser.on('error', (error: unknown) => {
    throw error;
  });
  assert.equal(parser.parse(bytes), 0, 'bytes are left over');
  return packets;
}

export function parsePublish(bytes: Buffer, protocolVersion: 4 | 5): IPublishPacket {
  const packets = parsePackets(bytes, protocolVersion);
  assert.equal(packets.length, 1);
  const packet = packets[0]!;
  assert.equal(packet.cmd, 'publish');
  return packet as IPublishPacket;
}
