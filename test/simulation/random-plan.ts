/** A plan from a seed. */
import { LANES } from '../../src/core/lane.js';
import type { QoS } from '../../src/core/message.js';
import type { Grant } from './broker-traits.js';
import { keyOf } from './key.js';
import { appendOf, calmPlan, type PlannedAppend, type PlannedFault, type WorldPlan } from './plan.js';
import { Random } from './random.js';
import { type Flow, faultsOf, TRAFFIC_MS } from './random-faults.js';

/** Not authorized, topic name invalid, payload format invalid, and one that no specification knows. */
const REFUSAL_CODES = [0x87, 0x90, 0x99, 0xbb];

/** In how many ways a broker does not bear a message. */
const BADNESSES = [
  'poison',
  'poison',
  'poison',
  'ignored',
  'ignored',
  'ignored',
  'silencing',
  'poisonPubrel',
  'ignoredPubrel',
] as const;

/** The lane has 2047 identifiers; so many commands cost as much as twenty other worlds. */
const MANY_COMMANDS_SHARE = 0.0015;
const COMMAND_APPENDS = 22;
const COMMANDS_EACH = 100;

/** What a PUBLISH has beside its payload, more or less. */
const PUBLISH_BYTES = 28;

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
  const hasManyCommands = random.chance(MANY_COMMANDS_SHARE);
  if (hasManyCommands) addManyCommands(random, appends);
  const cache = cacheOf(random);
  const hasSpare = random.chance(0.15);
  const dealt = faultsOf(random, hasSpare, flowOf(appends));
  if (hasSpare) switchBrokers(random, dealt);
  if (cache?.maxSizeBytes !== undefined) fillUp(random, appends, dealt);
  appends.sort((a, b) => a.atMs - b.atMs);
  const saveDelay = random.pick([1, 1, 5, 40]);
  const isRefusing = protocolVersion === 5 && random.chance(0.15);
  const isCrashing = dealt.some(
    (fault) => fault.kind.startsWith('crash') || (fault.kind === 'restart' && !fault.isSameProcess),
  );
  let receiveMaxima = [1, 2, 3, 10, 20, 50];
  const heldMax = protocolVersion === 4 && random.chance(0.3) ? 20 : undefined;
  let inflightMax = random.pick([1, 2, 5, 20, 20, 100, 1000, 65_535]);
  const firstOffset = random.pick([0, 0, 2047 - 5, 6144 - 9, 57_344 - 7, 3 * 57_344 - 30]);
  const badness = random.chance(0.1) ? random.pick(BADNESSES) : undefined;
  const isSilentlyBad = badness === 'ignored' || badness === 'ignoredPubrel';
  const badMessages = badness === undefined ? [] : badKeys(random, appends, firstOffset);
  if (hasManyCommands) inflightMax = Math.max(inflightMax, 100);
  const faults = isSilentlyBad || hasManyCommands ? dealt.filter(({ kind }) => kind !== 'reconfigure') : dealt;
  if (isSilentlyBad) {
    // That a message is passed over shows only when there are others, and room for them beside it.
    inflightMax = Math.max(inflightMax, 20);
    receiveMaxima = receiveMaxima.filter((max) => max >= 10);
    for (let atMs = 4000; atMs < 240_000; atMs += 3000) appends.push(appendOf('telemetry', 1, 1, atMs));
  }
  const limits: Partial<WorldPlan['broker']> = protocolVersion === 5 ? limitsOf(random, appends, firstOffset) : {};
  // In a window of one, what is never answered holds back everything by which that could be told.
  if (isSilentlyBad) delete limits.grants;
  if (badness !== undefined || Object.keys(limits).length > 0) attend(random, faults);
  return calmPlan(seed, {
    protocolVersion,
    isPersistent: random.chance(0.85),
    inflightMax,
    messagesPerSecond: random.chance(0.05) && !hasManyCommands ? random.between(20, 200) : 0,
    messageIdProperty: random.chance(0.3) ? 'id' : undefined,
    firstOffset,
    latencyMs: hasManyCommands ? 5 : random.pick([0, 1, 5, 50, 200]),
    bufferSizeMax: random.pick([100, 2000, 16_384, 1_000_000]),
    saveDelayMs: [0, saveDelay],
    ...(random.chance(0.5) ? { readAheadBytes: random.pick([100, 400, 2000, 20_000]) } : {}),
    ...(protocolVersion === 4 && random.chance(0.15) ? { fallsBack: true } : {}),
    reconnectPeriodMs: random.pick([100, 100, 300, 1000]),
    dialDelayMs: random.pick([
      [0, 0],
      [0, 5],
      [0, 100],
    ] as const),
    ...(random.chance(0.1) ? { pieceSizeMax: random.between(1, 3) } : {}),
    // A cache that is full of what is never answered takes nothing else by which that could be told.
    ...(cache === undefined || isSilentlyBad ? {} : { cache }),
    ...(hasSpare ? { hasSpare } : {}),
    ...(random.chance(0.1) ? { keyRetentionMs: random.pick([2000, 60_000]) } : {}),
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
        !isCrashing && badness === undefined && inflightMax <= 20 && random.chance(0.2)
          ? random.between(1, 10)
          : undefined,
      unknownPubrelCode: random.pick([0, 0x92] as const),
      saysInUse: protocolVersion === 5 && random.chance(0.1),
      downgrades: random.chance(0.05),
      heldMax,
      refusalShare: isRefusing ? random.pick([0.05, 0.5]) : 0,
      poison: [],
      ignored: [],
      ...(badness === undefined ? {} : { [badness]: badMessages }),
      ...limits,
    },
    appends,
    faults,
  });
}

/** What an MQTT 5 broker says that it does not take, at its CONNACK or message by message. */
function limitsOf(
  random: Random,
  appends: readonly PlannedAppend[],
  firstOffset: number,
): Partial<WorldPlan['broker']> {
  const code = random.pick(REFUSAL_CODES);
  return {
    ...(random.chance(0.08) ? { refused: badKeys(random, appends, firstOffset).map((key) => ({ key, code })) } : {}),
    ...(random.chance(0.08) ? { maximumPacketSizeBytes: random.pick([300, 2000, 20_000]) } : {}),
    ...(random.chance(0.08) ? { retainAvailable: false } : {}),
    ...(random.chance(0.12) ? { grants: Array.from({ length: random.between(1, 3) }, () => grantOf(random)) } : {}),
  };
}

/** What a connection is granted that differs from the one before it. */
function grantOf(random: Random): Partial<Grant> {
  return {
    ...(random.chance(0.3) ? { maximumQos: random.pick([0, 1] as const) } : {}),
    ...(random.chance(0.2) ? { maximumPacketSizeBytes: random.pick([300, 2000, 20_000]) } : {}),
    ...(random.chance(0.3) ? { retainAvailable: false } : {}),
    ...(random.chance(0.3) ? { receiveMaximum: random.pick([1, 3, 20, 1000]) } : {}),
    ...(random.chance(0.3) ? { sessionExpirySeconds: random.pick([1, 60]) } : {}),
    ...(random.chance(0.3) ? { serverKeepAliveSeconds: random.pick([5, 15]) } : {}),
  };
}

/** More commands than their lane has identifiers, at little cost. */
function addManyCommands(random: Random, appends: PlannedAppend[]): void {
  const atMs = random.between(0, TRAFFIC_MS);
  for (let i = 0; i < COMMAND_APPENDS; i++) {
    appends.push(appendOf('command', COMMANDS_EACH, random.pick([1, 2] as const), atMs + i * 10));
  }
}

/** Bytes to each side, as far as they can be foreseen. */
function flowOf(appends: readonly PlannedAppend[]): Flow {
  const flow = { broker: 0, client: 0 };
  for (const { messages } of appends) {
    for (const { qos, sizeBytes } of messages) {
      flow.broker += PUBLISH_BYTES + sizeBytes;
      flow.client += 4 * qos;
    }
  }
  return flow;
}

/** The first broker is away for a while, and the connection to the second one ends when it is back. */
function switchBrokers(random: Random, faults: PlannedFault[]): void {
  const atMs = random.between(0, 1500);
  const downMs = random.between(300, 1500);
  faults.push({ kind: 'brokerCrash', atMs, keepsSessions: random.chance(0.8), downMs });
  if (random.chance(0.8)) faults.push({ kind: 'cutAt', atMs: atMs + downMs + random.between(0, 1000) });
}

/** Somebody looks after what is in quarantine. */
function attend(random: Random, faults: PlannedFault[]): void {
  if (random.chance(0.4)) faults.push({ kind: 'retry', atMs: random.between(500, 30_000) });
  if (random.chance(0.2)) faults.push({ kind: 'remove', atMs: random.between(500, 60_000) });
}

/** Most caches never get full; one in eight does, with as little room as a few pages. */
function cacheOf(random: Random): WorldPlan['cache'] {
  const isArchiving = random.chance(0.15);
  const aging = random.chance(0.1) ? { retentionMs: random.pick([2000, 30_000, 24 * 3_600_000]) } : {};
  if (random.chance(0.87))
    return isArchiving || aging.retentionMs !== undefined ? { isArchiving, ...aging } : undefined;
  const maxSizeBytes = random.between(110, 300) * 1024;
  const onFull = random.pick(['reject', 'drop-oldest', 'drop-oldest'] as const);
  return { maxSizeBytes, onFull, isArchiving, ...aging };
}

/** Content that fills a small cache, while the broker is away. */
function fillUp(random: Random, appends: PlannedAppend[], faults: PlannedFault[]): void {
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
