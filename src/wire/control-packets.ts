/** The packets that are sent once in a while: everything but PUBLISH and PUBREL goes through `mqtt-packet`. */
import mqttPacket, { type IConnackPacket, type IConnectPacket } from 'mqtt-packet';
import type { QoS } from '../core/message.js';

export interface Will {
  topic: string;
  payload: Uint8Array;
  qos: QoS;
  retain: boolean;
  delaySeconds: number;
}

export interface ConnectOptions {
  protocolVersion: 4 | 5;
  clientId: string;
  cleanStart: boolean;
  /** 0: the session ends with the connection. Only MQTT 5 sends it. */
  sessionExpirySeconds: number;
  keepaliveSeconds: number;
  username: string | undefined;
  password: string | undefined;
  will: Will | undefined;
}

// Otherwise the first packet makes a buffer for each of the numbers up to 65,535, which take 8 MB for good.
mqttPacket.writeToStream.cacheNumbers = false;

export const PINGREQ = Uint8Array.of(0xc0, 0);

/** CONNECT [MQTT 3.1.1 and 5.0 §3.1]. */
export function encodeConnect(options: ConnectOptions): Buffer {
  const packet: IConnectPacket = {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: options.protocolVersion,
    clientId: options.clientId,
    clean: options.cleanStart,
    keepalive: options.keepaliveSeconds,
  };
  if (options.username !== undefined) packet.username = options.username;
  if (options.password !== undefined) packet.password = Buffer.from(options.password);
  const will = options.will;
  if (will !== undefined) {
    packet.will = { topic: will.topic, payload: Buffer.from(will.payload), qos: will.qos, retain: will.retain };
    if (options.protocolVersion === 5 && will.delaySeconds > 0) {
      packet.will.properties = { willDelayInterval: will.delaySeconds };
    }
  }
  if (options.protocolVersion === 5) packet.properties = { sessionExpiryInterval: options.sessionExpirySeconds };
  return mqttPacket.generate(packet, { protocolVersion: options.protocolVersion });
}

/** DISCONNECT; under MQTT 3.1.1 it has no reason code [MQTT 5.0 §3.14]. */
export function encodeDisconnect(protocolVersion: 4 | 5, reasonCode = 0): Buffer {
  return mqttPacket.generate({ cmd: 'disconnect', reasonCode }, { protocolVersion });
}

/** A DISCONNECT after which the broker forgets the session at once; MQTT 5 only [MQTT 5.0 §3.14.2.2.2]. */
export function encodeLastDisconnect(): Buffer {
  const properties = { sessionExpiryInterval: 0 };
  return mqttPacket.generate({ cmd: 'disconnect', reasonCode: 0, properties }, { protocolVersion: 5 });
}

/** Writes a PUBREL and gives the position after it [MQTT 5.0 §3.6]; a reason code only exists in MQTT 5. */
export function writePubrel(out: Uint8Array, at: number, packetId: number, reasonCode: number): number {
  out[at] = 0x62;
  out[at + 1] = reasonCode === 0 ? 2 : 3;
  out[at + 2] = packetId >> 8;
  out[at + 3] = packetId & 0xff;
  if (reasonCode === 0) return at + 4;
  out[at + 4] = reasonCode;
  return at + 5;
}

/** What a CONNACK grants, with the specification's default for everything that it leaves out [MQTT 5.0 §3.2.2]. */
export interface ConnackGrant {
  sessionPresent: boolean;
  maximumQos: QoS;
  receiveMaximum: number;
  /** Undefined: the broker announces none. */
  maximumPacketSizeBytes: number | undefined;
  retainAvailable: boolean;
  topicAliasMaximum: number;
  /** Undefined: ours is used. */
  serverKeepaliveSeconds: number | undefined;
  assignedClientId: string | undefined;
  /** Undefined: as we asked for. */
  sessionExpirySeconds: number | undefined;
}

/**
 * Says which limit in a CONNACK cannot be one, or gives undefined. Zero and a second occurrence are protocol errors
 * [MQTT 5.0 §3.2.2.3]; taken for limits they would send everything to quarantine, or everything at once.
 */
export function connackProblem(packet: IConnackPacket): string | undefined {
  const properties = packet.properties ?? {};
  // `mqtt-packet` gives a list for what occurs twice, and -1 or null for what is cut off.
  const isCount = (value: unknown, least: number): boolean =>
    value === undefined || (typeof value === 'number' && value >= least);
  if (!isCount(properties.receiveMaximum, 1)) return 'its Receive Maximum is invalid';
  if (!isCount(properties.maximumPacketSize, 1)) return 'its Maximum Packet Size is invalid';
  if (!isCount(properties.maximumQoS, 0)) return 'its Maximum QoS is invalid';
  if (!isCount(properties.topicAliasMaximum, 0)) return 'its Topic Alias Maximum is invalid';
  if (!isCount(properties.serverKeepAlive, 0)) return 'its Server Keep Alive is invalid';
  if (!isCount(properties.sessionExpiryInterval, 0)) return 'its Session Expiry Interval is invalid';
  if (typeof (properties.retainAvailable ?? true) !== 'boolean') return 'its Retain Available is invalid';
  if (typeof (properties.assignedClientIdentifier ?? '') !== 'string')
    return 'its Assigned Client Identifier is invalid';
  return undefined;
}

/** @param packet one in which `connackProblem` finds none. */
export function grantOf(packet: IConnackPacket): ConnackGrant {
  const properties = packet.properties ?? {};
  const maximumQos = properties.maximumQoS;
  return {
    sessionPresent: packet.sessionPresent,
    maximumQos: maximumQos === 0 || maximumQos === 1 ? maximumQos : 2,
    receiveMaximum: properties.receiveMaximum ?? 65_535,
    maximumPacketSizeBytes: properties.maximumPacketSize,
    retainAvailable: properties.retainAvailable ?? true,
    topicAliasMaximum: properties.topicAliasMaximum ?? 0,
    serverKeepaliveSeconds: properties.serverKeepAlive,
    assignedClientId: properties.assignedClientIdentifier,
    sessionExpirySeconds: properties.sessionExpiryInterval,
  };
}
