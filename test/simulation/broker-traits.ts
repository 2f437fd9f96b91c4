/** By what one broker differs from another. */
import type { IPublishPacket } from 'mqtt-packet';
import type { Key } from './key.js';

/** What a broker takes, as its CONNACK says under MQTT 5. */
export interface Grant {
  /** Undefined: not announced, here and below. */
  receiveMaximum: number | undefined;
  maximumQos: 0 | 1 | 2;
  maximumPacketSizeBytes: number | undefined;
  retainAvailable: boolean;
  /** How long the session outlives its connection; undefined: as long as was asked for. */
  sessionExpirySeconds: number | undefined;
  serverKeepAliveSeconds: number | undefined;
}

export const ORDINARY_GRANT: Grant = {
  receiveMaximum: undefined,
  maximumQos: 2,
  maximumPacketSizeBytes: undefined,
  retainAvailable: true,
  sessionExpirySeconds: undefined,
  serverKeepAliveSeconds: undefined,
};

export interface BrokerTraits {
  deliversAt: 'publish' | 'pubrel';
  /** What it announces on the connection with this number, counted from 0; MQTT 3.1.1 keeps it to itself. */
  grantOf: (connection: number) => Grant;
  /** Shortest and longest time to an acknowledgement. */
  ackDelayMs: readonly [number, number];
  /** A 3.1.1 broker that holds so many QoS 2 messages acknowledges one more like the others, and drops it (Mosquitto: 20). */
  heldMax: number | undefined;
  /** With more than this many held, a PUBREC waits until others are released, on whatever connection (Mosquitto). */
  pubrecsMax: number | undefined;
  /** What a PUBREL of an unknown identifier is answered with under MQTT 5. */
  unknownPubrelCode: 0 | 0x92;
  /** Answers a repeated PUBLISH of a message that it holds with 0x91 (EMQX before 6.2). */
  saysInUse: boolean;
  /** Acknowledges QoS 2 with PUBACK (RabbitMQ under 3.1.1). */
  downgrades: boolean;
  /** The reason code for a message, or 0; `attempt` counts from 1. */
  codeOf: (publish: IPublishPacket, attempt: number) => number;
  closesOn: (publish: IPublishPacket) => boolean;
  ignores: (publish: IPublishPacket) => boolean;
  /** From this PUBLISH on, nothing is read or answered on its connection any more, pings neither. */
  fallsSilentOn: (publish: IPublishPacket) => boolean;
  /** What becomes of the PUBREL of this message. */
  pubrelFateOf: (key: Key) => 'taken' | 'closes' | 'ignored';
  /** What becomes of the acknowledgement with this number, counted from 0 over all connections; undefined: it is sent. */
  ackFaultOf: (ack: number) => AckFault | undefined;
  /**
   * What the connection with this number, counted from 0, gets in answer to its CONNECT: a reason code, a return code under
   * 3.1.1, or nothing but its end.
   */
  connectCodeOf: (connection: number, version: 4 | 5) => number | 'close';
}

/** What brokers in the field, and the networks of their clusters, do with acknowledgements. */
export interface AckFault {
  how:
    | 'late'
    | 'never'
    | 'twice'
    /** PUBREC for PUBACK and for PUBCOMP, PUBCOMP for PUBREC. */
    | 'wrongType'
    /** One more, for an identifier that is not in use. */
    | 'unknownPuback'
    | 'unknownPubrec'
    | 'unknownPubcomp'
    /** After a PUBREC the PUBCOMP at once, before any PUBREL. */
    | 'earlyPubcomp'
    /** A PUBREL for a message that the broker never sent. */
    | 'unaskedPubrel';
  delayMs: number;
  unknownId: number;
  /** To be called when something comes of it: nothing can be early but the PUBCOMP of a message that has just come. */
  happened: () => void;
}

export const ORDINARY_BROKER: BrokerTraits = {
  deliversAt: 'publish',
  grantOf: () => ORDINARY_GRANT,
  ackDelayMs: [0, 0],
  heldMax: undefined,
  pubrecsMax: undefined,
  unknownPubrelCode: 0x92,
  saysInUse: false,
  downgrades: false,
  codeOf: () => 0,
  closesOn: () => false,
  ignores: () => false,
  fallsSilentOn: () => false,
  pubrelFateOf: () => 'taken',
  ackFaultOf: () => undefined,
  connectCodeOf: () => 0,
};
