/** What happens in a world, as plain data: made from a seed, kept when it fails, and shrunk by leaving things out. */
import { LANES, type Lane } from '../../src/core/lane.js';
import type { QoS } from '../../src/core/message.js';
import { keyOf } from './key.js';
import type { AckFault } from './model-broker.js';
import { Random } from './random.js';
import { faultsOf } from './random-faults.js';

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
  | { kind: 'brokerCrash'; atMs: number; keepsSessions: boolean; downMs: number }
  | { kind: 'stall'; atMs: number; durationMs: number }
  | { kind: 'commitsFail'; from: number; count: number }
  /** Nobody leaves any room on the disk. */
  | { kind: 'diskFull'; atMs: number; durationMs: number }
  | { kind: 'slowCommits'; atMs: number; durationMs: number; delayMs: number }
  | { kind: 'clockJump'; atMs: number; byMs: number }
  /** Stopped in order and started again, in the same process or in a new one. */
  | { kind: 'restart'; atMs: number; isSameProcess: boolean };

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
  /** Dialled in MQTT 5 first, which the broker does not know. */
  fallsBack?: boolean;
  reconnectPeriodMs?: number;
  dialDelayMs?: readonly [number, number];
  /** Nothing arrives in larger pieces. */
  pieceSizeMax?: number;
  cache?: { maxSizeBytes?: number; onFull?: 'reject' | 'drop-oldest'; isArchiving?: boolean };
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

/** How long content comes in, in a random world. */
export const TRAFFIC_MS = 3000;

export function planOf(seed: number): WorldPlan {
  const random = new Random(seed);
  const protocolVersion = random.pick([4, 5] as const);
  const qosOfAll = random.pick<QoS | undefined>([1, 2, 2, undefined]);
  const appends: PlannedAppend[] = [];
  const appendCount = random.between(1, 12);
  for (let i = 0; i < appendCount; i++) {
    const count = random.chance(0.2) ? random.between(20, 60) : random.between(1, 10);
    const isMeasured = random.chance(0.2);
    appends.push({
      atMs: random.chance(0.4) ? 0 : random.between(0, TRAFFIC_MS),
      ...(isMeasured ? { content: 'time-values' as const } : {}),
      ...(random.chance(0.3) ? { isKeyed: true } : {}),
      ...(random.chance(0.05) ? { invalidCount: random.between(1, 3) } : {}),
      ...(isMeasured && random.chance(0.2) ? { unmappedCount: random.between(1, 3) } : {}),
      lane: random.chance(0.6) ? 'telemetry' : random.pick(LANES),
      messages: Array.from({ length: count }, () => ({
        qos: qosOfAll ?? random.pick([0, 1, 2] as const),
        sizeBytes: random.chance(0.03) ? random.between(1000, 70_000) : random.between(0, 60),
        expirySeconds: !isMeasured && random.chance(0.05) ? random.between(1, 4) : 0,
        retain: !isMeasured && random.chance(0.1),
      })),
    });
  }
  const cache = cacheOf(random);
  const faults = faultsOf(random);
  if (cache?.maxSizeBytes !== undefined) fill(random, appends, faults);
  appends.sort((a, b) => a.atMs - b.atMs);
  const saveDelay = random.pick([1, 1, 5, 40]);
  const isRefusing = protocolVersion === 5 && random.chance(0.15);
  const isCrashing = faults.some(
    (fault) => fault.kind.startsWith('crash') || (fault.kind === 'restart' && !fault.isSameProcess),
  );
  let receiveMaxima = [1, 2, 3, 10, 20, 50];
  const heldMax = protocolVersion === 4 && random.chance(0.3) ? 20 : undefined;
  let inflightMax = random.pick([1, 2, 5, 20, 20, 100, 1000, 65_535]);
  const firstOffset = random.pick([0, 0, 2047 - 5, 6144 - 9, 57_344 - 7, 3 * 57_344 - 30]);
  const isLoudlyBad = random.chance(0.04);
  const isSilentlyBad = !isLoudlyBad && random.chance(0.04);
  const badMessages = isLoudlyBad || isSilentlyBad ? badKeys(random, appends, firstOffset) : [];
  if (isSilentlyBad) {
    // That a message is passed over shows only when there are others, and room for them beside it.
    inflightMax = Math.max(inflightMax, 20);
    receiveMaxima = receiveMaxima.filter((max) => max >= 10);
    for (let atMs = 4000; atMs < 240_000; atMs += 3000) appends.push(appendOf('telemetry', 1, 1, atMs));
  }
  return calmPlan(seed, {
    protocolVersion,
    isPersistent: random.chance(0.85),
    inflightMax,
    messagesPerSecond: random.chance(0.05) ? random.between(20, 200) : 0,
    messageIdProperty: random.chance(0.3) ? 'id' : undefined,
    firstOffset,
    latencyMs: random.pick([0, 1, 5, 50, 200]),
    bufferSizeMax: random.pick([100, 2000, 16_384, 1_000_000]),
    saveDelayMs: [0, saveDelay],
    ...(protocolVersion === 4 && random.chance(0.15) ? { fallsBack: true } : {}),
    reconnectPeriodMs: random.pick([100, 100, 300, 1000]),
    dialDelayMs: random.pick([
      [0, 0],
      [0, 5],
      [0, 100],
    ] as const),
    ...(random.chance(0.1) ? { pieceSizeMax: random.between(1, 3) } : {}),
    ...(cache === undefined ? {} : { cache }),
    ...(random.chance(0.3) ? { endsStopped: true } : {}),
    broker: {
      deliversAt: random.pick(['publish', 'pubrel'] as const),
      receiveMaximum: protocolVersion === 5 && random.chance(0.6) ? random.pick(receiveMaxima) : undefined,
      ...(protocolVersion === 5 && random.chance(0.2)
        ? { receiveMaxima: Array.from({ length: random.between(1, 4) }, () => random.pick(receiveMaxima)) }
        : {}),
      maximumQos: protocolVersion === 5 && random.chance(0.1) ? random.pick([0, 1] as const) : 2,
      ackDelayMs: random.pick([
        [0, 0],
        [0, 5],
        [1, 60],
      ] as const),
      pubrecsMax:
        !isCrashing && !isLoudlyBad && inflightMax <= 20 && random.chance(0.2) ? random.between(1, 10) : undefined,
      unknownPubrelCode: random.pick([0, 0x92] as const),
      saysInUse: protocolVersion === 5 && random.chance(0.1),
      downgrades: random.chance(0.05),
      heldMax,
      refusalShare: isRefusing ? random.pick([0.05, 0.5]) : 0,
      poison: isLoudlyBad ? badMessages : [],
      ignored: isSilentlyBad ? badMessages : [],
    },
    appends,
    faults,
  });
}

/** Most caches never get full; one in eight does, with as little room as a few pages. */
function cacheOf(random: Random): WorldPlan['cache'] {
  const isArchiving = random.chance(0.1);
  if (random.chance(0.87)) return isArchiving ? { isArchiving } : undefined;
  const maxSizeBytes = random.between(110, 300) * 1024;
  return { maxSizeBytes, onFull: random.pick(['reject', 'drop-oldest', 'drop-oldest'] as const), isArchiving };
}

/** Content that fills a small cache, while the broker is away. */
function fill(random: Random, appends: PlannedAppend[], faults: PlannedFault[]): void {
  faults.push({
    kind: 'brokerCrash',
    atMs: random.pick([0, random.between(0, 1000)]),
    keepsSessions: true,
    downMs: random.between(500, 4000),
  });
  const count = random.between(5, 20);
  for (let i = 0; i < count; i++) {
    appends.push({
      atMs: random.between(0, TRAFFIC_MS),
      lane: random.chance(0.8) ? 'telemetry' : 'alert',
      ...(random.chance(0.3) ? { isKeyed: true } : {}),
      messages: Array.from({ length: random.between(1, 4) }, () => ({
        qos: random.pick([1, 2] as const),
        sizeBytes: random.between(100, 8000),
        expirySeconds: 0,
        retain: false,
      })),
    });
  }
}

/** One or two messages that the broker cannot bear, none of them at QoS 0, which no broker has to answer. */
function badKeys(random: Random, appends: readonly PlannedAppend[], firstOffset: number): string[] {
  const keys: string[] = [];
  const next = { command: firstOffset, alert: firstOffset, telemetry: firstOffset };
  for (const { lane, messages } of appends) {
    for (const { qos, expirySeconds } of messages) {
      if (qos > 0 && expirySeconds === 0) keys.push(keyOf(lane, next[lane]));
      next[lane]++;
    }
  }
  return keys.length === 0 ? [] : Array.from({ length: random.between(1, 2) }, () => random.pick(keys));
}
