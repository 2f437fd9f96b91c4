/** What happens in a world, as plain data: made from a seed, kept when it fails, and shrunk by leaving things out. */
import { LANES, type Lane } from '../../src/core/lane.js';
import type { QoS } from '../../src/core/message.js';
import { keyOf } from './key.js';
import { Random } from './random.js';

export interface PlannedAppend {
  atMs: number;
  lane: Lane;
  messages: readonly { qos: QoS; sizeBytes: number; expirySeconds: number; retain: boolean }[];
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
  /** The process ends before or after the save with this number is stored, or after it was told so. */
  | { kind: 'crashAtSave'; save: number; when: 'before' | 'after' | 'told' }
  | { kind: 'crashAt'; atMs: number; arrivingSizeBytes: number }
  | { kind: 'brokerCrash'; atMs: number; keepsSessions: boolean; downMs: number }
  | { kind: 'stall'; atMs: number; durationMs: number }
  | { kind: 'savesFail'; from: number; count: number }
  | { kind: 'slowSaves'; atMs: number; durationMs: number; delayMs: number }
  | { kind: 'dropOldest'; atMs: number }
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
  broker: {
    deliversAt: 'publish' | 'pubrel';
    receiveMaximum: number | undefined;
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

const TRAFFIC_MS = 3000;

export function planOf(seed: number): WorldPlan {
  const random = new Random(seed);
  const protocolVersion = random.pick([4, 5] as const);
  const qosOfAll = random.pick<QoS | undefined>([1, 2, 2, undefined]);
  const appends: PlannedAppend[] = [];
  const appendCount = random.between(1, 12);
  for (let i = 0; i < appendCount; i++) {
    const count = random.chance(0.2) ? random.between(20, 60) : random.between(1, 10);
    appends.push({
      atMs: random.chance(0.4) ? 0 : random.between(0, TRAFFIC_MS),
      lane: random.chance(0.6) ? 'telemetry' : random.pick(LANES),
      messages: Array.from({ length: count }, () => ({
        qos: qosOfAll ?? random.pick([0, 1, 2] as const),
        sizeBytes: random.chance(0.03) ? random.between(1000, 70_000) : random.between(0, 60),
        expirySeconds: random.chance(0.05) ? random.between(1, 4) : 0,
        retain: random.chance(0.1),
      })),
    });
  }
  appends.sort((a, b) => a.atMs - b.atMs);
  const saveDelay = random.pick([1, 1, 5, 40]);
  const isRefusing = protocolVersion === 5 && random.chance(0.15);
  const faults = faultsOf(random);
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
    broker: {
      deliversAt: random.pick(['publish', 'pubrel'] as const),
      receiveMaximum: protocolVersion === 5 && random.chance(0.6) ? random.pick(receiveMaxima) : undefined,
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

function faultsOf(random: Random): PlannedFault[] {
  const faults: PlannedFault[] = [];
  const count = random.chance(0.15) ? 0 : random.between(1, 8);
  const losesSessions = random.chance(0.25);
  for (let i = 0; i < count; i++) {
    const atMs = random.between(0, TRAFFIC_MS + 1000);
    const kind = random.between(0, 13);
    if (kind <= 3) {
      faults.push({
        kind: 'cut',
        connection: random.between(0, 5),
        to: random.pick(['broker', 'client'] as const),
        afterSizeBytes: random.chance(0.5) ? random.between(0, 200) : random.between(0, 4000),
        ...(random.chance(0.9) ? { clientNoticeMs: random.between(0, 100) } : {}),
        brokerNoticeMs: random.between(0, 2000),
      });
    } else if (kind === 4) faults.push({ kind: 'cutAt', atMs });
    else if (kind <= 6) {
      faults.push({
        kind: 'crashAtSave',
        save: random.between(0, 40),
        when: random.pick(['before', 'after', 'told'] as const),
      });
    } else if (kind === 7) {
      faults.push({ kind: 'crashAt', atMs, arrivingSizeBytes: random.pick([0, random.between(1, 2000), 1_000_000]) });
    } else if (kind === 8) {
      faults.push({
        kind: 'brokerCrash',
        atMs,
        keepsSessions: !losesSessions || random.chance(0.5),
        downMs: random.between(0, 1000),
      });
    } else if (kind === 9) faults.push({ kind: 'stall', atMs, durationMs: random.pick([50, 500, 8000]) });
    else if (kind === 10) faults.push({ kind: 'savesFail', from: random.between(0, 20), count: random.between(1, 3) });
    else if (kind === 11)
      faults.push({ kind: 'slowSaves', atMs, durationMs: 1000, delayMs: random.between(100, 1500) });
    else if (kind === 12) faults.push({ kind: 'clockJump', atMs, byMs: random.between(-10_000, 10_000) });
    else
      faults.push(
        random.chance(0.5)
          ? { kind: 'dropOldest', atMs }
          : { kind: 'restart', atMs, isSameProcess: random.chance(0.5) },
      );
  }
  return faults;
}
