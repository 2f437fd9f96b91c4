/** What goes wrong in a random world. */
import type { AckFault } from './broker-traits.js';
import type { PlannedFault } from './plan.js';
import type { Random } from './random.js';

/** How long content comes in, in a random world. */
export const TRAFFIC_MS = 3000;

/** All that may happen to an acknowledgement. */
export const ACK_FAULTS: readonly AckFault['how'][] = [
  'late',
  'never',
  'twice',
  'wrongType',
  'unknownPuback',
  'unknownPubrec',
  'unknownPubcomp',
  'earlyPubcomp',
  'unaskedPubrel',
];

/** Client id taken over, shutting down, administrative action, quota exceeded, unspecified. */
const KICK_CODES = [0x8e, 0x8b, 0x98, 0x97, 0x80];

/** How many bytes go to each side in a world without faults, more or less. */
export interface Flow {
  broker: number;
  client: number;
}

interface Circumstances {
  losesSessions: boolean;
  hasSpare: boolean;
  flow: Flow;
}

type Draw = (random: Random, atMs: number, circumstances: Circumstances) => PlannedFault;

const DAY_MS = 24 * 3_600_000;
/** So many bytes a CONNECT and a CONNACK have, more or less. */
const HANDSHAKE_BYTES = { broker: 40, client: 15 };

/** Seconds mostly; sometimes so much that whatever is kept for its time is touched. */
function jumpOf(random: Random): number {
  return random.chance(0.6)
    ? random.between(-10_000, 10_000)
    : random.between(-3, 5) * DAY_MS + random.between(0, 5000);
}

/** Mostly behind the handshake, and before everything is done. */
function placeOf(random: Random, flow: Flow): { to: 'broker' | 'client'; afterSizeBytes: number } {
  const to = random.pick(['broker', 'client'] as const);
  const most = HANDSHAKE_BYTES[to] + flow[to];
  const afterSizeBytes = random.chance(0.3)
    ? random.between(0, Math.min(200, most))
    : random.between(HANDSHAKE_BYTES[to], most);
  return { to, afterSizeBytes };
}

/** Each kind with its weight. */
const KINDS: readonly (readonly [weight: number, draw: Draw])[] = [
  [
    4,
    (random, _atMs, { flow }) => ({
      kind: 'cut',
      connection: random.between(0, 2),
      ...placeOf(random, flow),
      ...(random.chance(0.9) ? { clientNoticeMs: random.between(0, 100) } : {}),
      brokerNoticeMs: random.between(0, 2000),
    }),
  ],
  [1, (_, atMs) => ({ kind: 'cutAt', atMs })],
  [1, (random, atMs) => ({ kind: 'halfOpen', atMs, to: random.pick(['broker', 'client'] as const) })],
  [
    1,
    (random, atMs) => ({
      kind: 'latency',
      atMs,
      durationMs: random.pick([50, 1000, 5000]),
      latencyMs: random.pick([0, 20, 300, 2000]),
    }),
  ],
  [
    1,
    (random) => ({
      kind: 'dial',
      dial: random.between(0, 5),
      outcome: random.pick(['refused', 'slow', 'silent'] as const),
    }),
  ],
  [1, (random) => ({ kind: 'refuse', connection: random.between(0, 4), isSilent: random.chance(0.5) })],
  [1, (random, atMs) => ({ kind: 'kick', atMs, reasonCode: random.pick(KICK_CODES) })],
  [
    3,
    (random) => ({
      kind: 'ack',
      ack: random.chance(0.5) ? random.between(0, 10) : random.between(0, 80),
      how: random.pick(ACK_FAULTS),
      delayMs: random.pick([20, 1000, 7000]),
    }),
  ],
  [
    3,
    (random) => ({
      kind: 'crashAtCommit',
      commit: random.between(0, 40),
      when: random.pick(['before', 'after', 'told'] as const),
    }),
  ],
  [
    1,
    (random, atMs) => ({
      kind: 'crashAt',
      atMs,
      arrivingSizeBytes: random.pick([0, random.between(1, 2000), 1_000_000]),
    }),
  ],
  [
    2,
    (random, atMs, { losesSessions, hasSpare }) => ({
      kind: 'brokerCrash',
      atMs,
      keepsSessions: !losesSessions || random.chance(0.3),
      downMs: random.between(0, 1000),
      ...(hasSpare && random.chance(0.4) ? { isSpare: true } : {}),
    }),
  ],
  [1, (random, atMs) => ({ kind: 'stall', atMs, durationMs: random.pick([50, 500, 8000]) })],
  [1, (random) => ({ kind: 'commitsFail', from: random.between(0, 20), count: random.between(1, 3) })],
  [1, (random, atMs) => ({ kind: 'diskFull', atMs, durationMs: random.pick([50, 500, 4000]) })],
  [1, (random, atMs) => ({ kind: 'slowCommits', atMs, durationMs: 1000, delayMs: random.between(100, 1500) })],
  [1, (random, atMs) => ({ kind: 'clockJump', atMs, byMs: jumpOf(random) })],
  [1, (random, atMs) => ({ kind: 'restart', atMs, isSameProcess: random.chance(0.5) })],
  [
    1,
    (random, atMs) => ({
      kind: 'reconfigure',
      atMs,
      ...(random.chance(0.7) ? { inflightMax: random.pick([1, 5, 20, 1000]) } : { clientId: 'world-2' }),
    }),
  ],
  [
    1,
    (random, atMs) => ({
      kind: 'limits',
      atMs,
      ...(random.chance(0.5) ? { onFull: random.pick(['reject', 'drop-oldest'] as const) } : {}),
      ...(random.chance(0.5) ? { quarantineRetentionMs: random.pick([0, 5000, DAY_MS]) } : {}),
    }),
  ],
];

const DRAWS = KINDS.flatMap(([weight, draw]) => Array.from({ length: weight }, () => draw));

export function faultsOf(random: Random, hasSpare: boolean, flow: Flow): PlannedFault[] {
  const count = random.chance(0.15) ? 0 : random.between(1, 8);
  const circumstances = { losesSessions: random.chance(0.5), hasSpare, flow };
  return Array.from({ length: count }, () =>
    random.pick(DRAWS)(random, random.between(0, TRAFFIC_MS + 1000), circumstances),
  );
}
