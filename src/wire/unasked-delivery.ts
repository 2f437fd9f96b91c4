/**
 * Messages that a broker sends us although we never subscribe: some subscribe their clients to topics by themselves. We
 * have no use for them, but the broker waits for an answer [MQTT-4.3.2-4, MQTT-4.3.3-8].
 */
import mqttPacket, { type Packet } from 'mqtt-packet';

/** The bytes to answer with; undefined: none are due. `malformed`: it came without the identifier that it must have. */
export function answerToUnasked(packet: Packet, protocolVersion: 4 | 5): Buffer | 'malformed' | undefined {
  const answer = answerOf(packet);
  if (answer === undefined) return undefined;
  return (answer.messageId ?? 0) < 1 ? 'malformed' : mqttPacket.generate(answer, { protocolVersion });
}

function answerOf(packet: Packet): Packet | undefined {
  const messageId = packet.messageId ?? 0;
  if (packet.cmd === 'publish' && packet.qos === 1) return { cmd: 'puback', messageId };
  if (packet.cmd === 'publish' && packet.qos === 2) return { cmd: 'pubrec', messageId };
  return packet.cmd === 'pubrel' ? { cmd: 'pubcomp', messageId } : undefined;
}
