/** What went over the wire, read by a parser that is not ours. */
import { type IConnectPacket, type IPublishPacket, type Packet, parser } from 'mqtt-packet';
import type { Direction, Proxy as TcpProxy } from '../kit/proxy.js';

/** The packets in the bytes of one direction; CONNECT tells the version of those after it. */
export function packetsIn(bytes: Buffer, protocolVersion: 4 | 5 = 5): Packet[] {
  const packets: Packet[] = [];
  const settings: { protocolVersion: number } = { protocolVersion };
  const reader = parser(settings);
  reader.on('packet', (packet) => {
    if (packet.cmd === 'connect') settings.protocolVersion = packet.protocolVersion ?? 4;
    packets.push(packet);
  });
  let problem: Error | undefined;
  reader.on('error', (error) => {
    problem = error;
  });
  reader.parse(bytes);
  if (problem !== undefined) throw problem;
  return packets;
}

export function recordedPackets(proxy: TcpProxy, direction: Direction, protocolVersion: 4 | 5 = 5): Packet[] {
  return packetsIn(proxy.recorded(direction), protocolVersion);
}

export function isConnect(packet: Packet): packet is IConnectPacket {
  return packet.cmd === 'connect';
}

export function isPublish(packet: Packet): packet is IPublishPacket {
  return packet.cmd === 'publish';
}
