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
  'unaskedPubrel',
];

/** Client id taken over, shutting down, administrative action, quota exceeded, unspecified. */
const KICK_CODES = [0x8e, 0x8b, 0x98, 0x97, 0x80];

type Draw = (random: Random, atMs: number, losesSessions: boolean) => PlannedFault;

/** Each kind with its weight. */
const KINDS: readonly (readonly [weight: number, draw: Draw])[] = [
  [
    4,
    (random) => ({
      kind: 'cut',
      connection: random.between(0, 5),
      to: random.pick(['broker', 'client'] as const),
      afterSizeBytes: random.chance(0.5) ? random.between(0, 200) : random.between(0, 4000),
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
    1,
    (random, atMs, losesSessions) => ({
      kind: 'brokerCrash',
      atMs,
      keepsSessions: !losesSessions || random.chance(0.5),
      downMs: random.between(0, 1000),
    }),
  ],
  [1, (random, atMs) => ({ kind: 'stall', atMs, durationMs: random.pick([50, 500, 8000]) })],
  [1, (random) => ({ kind: 'commitsFail', from: random.between(0, 20), count: random.between(1, 3) })],
  [1, (random, atMs) => ({ kind: 'diskFull', atMs, durationMs: random.pick([50, 500, 4000]) })],
  [1, (random, atMs) => ({ kind: 'slowCommits', atMs, durationMs: 1000, delayMs: random.between(100, 1500) })],
  [1, (random, atMs) => ({ kind: 'clockJump', atMs, byMs: random.between(-10_000, 10_000) })],
  [1, (random, atMs) => ({ kind: 'restart', atMs, isSameProcess: random.chance(0.5) })],
];

const DRAWS = KINDS.flatMap(([weight, draw]) => Array.from({ length: weight }, () => draw));

export function faultsOf(random: Random): PlannedFault[] {
  const count = random.chance(0.15) ? 0 : random.between(1, 8);
  const losesSessions = random.chance(0.4);
  return Array.from({ length: count }, () =>
    random.pick(DRAWS)(random, random.between(0, TRAFFIC_MS + 1000), losesSessions),
  );
}
