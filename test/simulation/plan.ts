/** What happens in a world, as plain data: made from a seed, kept when it fails, and shrunk by leaving things out. */
import type { Lane } from '../../src/core/lane.js';
import type { QoS } from '../../src/core/message.js';
import type { AckFault, Grant } from './broker-traits.js';

export interface PlannedAppend {
  atMs: number;
  lane: Lane;
  messages: readonly { qos: QoS; sizeBytes: number; expirySeconds: number; retain: boolean }[];
  /** Handed in as measured values, through a transformer; as messages when left out. */
  content?: 'time-values';
  /** The producer gives an idempotency key, and hands the same in again until it has a receipt. */
  isKeyed?: boolean;
  /** So many elements more that are not valid. */
  invalidCount?: number;
  /** So many measured values more that no mapping knows. */
  unmappedCount?: number;
}

export type PlannedFault =
  /** The connection with this number, counted from 0, is cut after so many bytes in one direction. */
  | {
      kind: 'cut';
      connection: number;
      to: 'broker' | 'client';
      afterSizeBytes: number;
      clientNoticeMs?: number;
      brokerNoticeMs: number;
    }
  | { kind: 'cutAt'; atMs: number }
  /** From now on nothing that is on its way to this side arrives, and nobody is told. */
  | { kind: 'halfOpen'; atMs: number; to: 'broker' | 'client' }
  | { kind: 'latency'; atMs: number; durationMs: number; latencyMs: number }
  /** The dial with this number, counted from 0, is refused, takes very long or is never answered. */
  | { kind: 'dial'; dial: number; outcome: 'refused' | 'slow' | 'silent' }
  /** The CONNECT of the connection with this number is refused, or answered with the end of the connection. */
  | { kind: 'refuse'; connection: number; isSilent: boolean }
  /** The broker ends all connections with this reason; under 3.1.1 without. */
  | { kind: 'kick'; atMs: number; reasonCode: number }
  /** The acknowledgement with this number, counted from 0 over all connections. */
  | { kind: 'ack'; ack: number; how: AckFault['how']; delayMs: number }
  /**
   * The process ends in the transaction with this number, counted from 0: nothing of it is stored, or all of it and nobody
   * has heard of it, or the connector was just told.
   */
  | { kind: 'crashAtCommit'; commit: number; when: 'before' | 'after' | 'told' }
  | { kind: 'crashAt'; atMs: number; arrivingSizeBytes: number }
  /** The first broker, or the one beside it. */
  | { kind: 'brokerCrash'; atMs: number; keepsSessions: boolean; downMs: number; isSpare?: boolean }
  | { kind: 'stall'; atMs: number; durationMs: number }
  | { kind: 'commitsFail'; from: number; count: number }
  /** Nobody leaves any room on the disk. */
  | { kind: 'diskFull'; atMs: number; durationMs: number }
  | { kind: 'slowCommits'; atMs: number; durationMs: number; delayMs: number }
  | { kind: 'clockJump'; atMs: number; byMs: number }
  /** Stopped in order and started again, in the same process or in a new one. */
  | { kind: 'restart'; atMs: number; isSameProcess: boolean }
  /** Stopped in order, and started as a new process with other settings. */
  | { kind: 'reconfigure'; atMs: number; inflightMax?: number; clientId?: string }
  /** Everything in quarantine is put back, or removed. */
  | { kind: 'retry' | 'remove'; atMs: number }
  /** The cache gets other limits while it is at work. */
  | { kind: 'limits'; atMs: number; onFull?: 'reject' | 'drop-oldest'; quarantineRetentionMs?: number };

export interface WorldPlan {
  seed: number;
  protocolVersion: 4 | 5;
  isPersistent: boolean;
  inflightMax: number;
  messagesPerSecond: number;
  keepaliveSeconds: number;
  messageIdProperty: string | undefined;
  /** The offset of the first message in each lane: near the end of a range of identifiers, they begin anew. */
  firstOffset: number;
  latencyMs: number;
  bufferSizeMax: number;
  saveDelayMs: readonly [number, number];
  /** How much of a lane is read from the cache at once; the usual amount when left out. */
  readAheadBytes?: number;
  /** Dialled in MQTT 5 first, which the broker does not know. */
  fallsBack?: boolean;
  reconnectPeriodMs?: number;
  dialDelayMs?: readonly [number, number];
  /** Nothing arrives in larger pieces. */
  pieceSizeMax?: number;
  cache?: { maxSizeBytes?: number; onFull?: 'reject' | 'drop-oldest'; isArchiving?: boolean; retentionMs?: number };
  /** How long idempotency keys are kept; a day when left out. */
  keyRetentionMs?: number;
  /** There is a second broker, dialled when the first one cannot be reached. */
  hasSpare?: boolean;
  /** It is stopped at its end, and not only idle. */
  endsStopped?: boolean;
  broker: {
    deliversAt: 'publish' | 'pubrel';
    receiveMaximum: number | undefined;
    /** What the connections after the first one get instead, one after the other; the last holds for the rest. */
    receiveMaxima?: readonly number[];
    maximumQos: 0 | 1 | 2;
    ackDelayMs: readonly [number, number];
    pubrecsMax: number | undefined;
    unknownPubrelCode: 0 | 0x92;
    saysInUse: boolean;
    downgrades: boolean;
    /** A 3.1.1 broker acknowledges one more QoS 2 message than this and drops it (Mosquitto: 20). */
    heldMax: number | undefined;
    /** Share of messages that are refused for a passing reason when they come for the first time. */
    refusalShare: number;
    /** The broker closes the connection whenever it sees one of these. */
    poison: readonly string[];
    /** The broker never answers one of these. */
    ignored: readonly string[];
    /** Under MQTT 5 the broker refuses these for good. */
    refused?: readonly { key: string; code: number }[];
    maximumPacketSizeBytes?: number;
    retainAvailable?: boolean;
    /** Under MQTT 5 what the connections after the first one are granted instead, one after the other. */
    grants?: readonly Partial<Grant>[];
    /** The broker says nothing any more on a connection that one of these came on. */
    silencing?: readonly string[];
    /** The broker closes the connection at the PUBREL of one of these. */
    poisonPubrel?: readonly string[];
    /** The broker never answers the PUBREL of one of these. */
    ignoredPubrel?: readonly string[];
  };
  appends: readonly PlannedAppend[];
  faults: readonly PlannedFault[];
}

const CALM: Omit<WorldPlan, 'seed'> = {
  protocolVersion: 5,
  isPersistent: true,
  inflightMax: 1000,
  messagesPerSecond: 0,
  keepaliveSeconds: 20,
  messageIdProperty: undefined,
  firstOffset: 0,
  latencyMs: 5,
  bufferSizeMax: 16_384,
  saveDelayMs: [1, 3],
  broker: {
    deliversAt: 'publish',
    receiveMaximum: undefined,
    maximumQos: 2,
    ackDelayMs: [0, 0],
    pubrecsMax: undefined,
    unknownPubrelCode: 0x92,
    saysInUse: false,
    downgrades: false,
    heldMax: undefined,
    refusalShare: 0,
    poison: [],
    ignored: [],
  },
  appends: [],
  faults: [],
};

/** A world without faults, with what a test sets. */
export function calmPlan(
  seed: number,
  plan: Partial<Omit<WorldPlan, 'broker'>> & { broker?: Partial<WorldPlan['broker']> },
): WorldPlan {
  return { ...CALM, seed, ...plan, broker: { ...CALM.broker, ...plan.broker } };
}

/** So many messages of one QoS, all appended at once. */
export function appendOf(lane: Lane, count: number, qos: QoS, atMs = 0): PlannedAppend {
  return appendOfEach(lane, String(qos).repeat(count), atMs);
}

/** One message for each digit, of that QoS, all appended at once. */
export function appendOfEach(lane: Lane, qosDigits: string, atMs = 0): PlannedAppend {
  const messages = Array.from(qosDigits, (digit) => ({
    qos: Number(digit) as QoS,
    sizeBytes: 0,
    expirySeconds: 0,
    retain: false,
  }));
  return { atMs, lane, messages };
}
