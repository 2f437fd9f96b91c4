/**
 * What kinds of worlds there were, so that a figure says what it is about: as they were planned, and as they happened, for
 * a fault may find nothing to happen to. A world is of several kinds.
 */
import { LANES } from '../../src/core/lane.js';
import type { AckFault } from './broker-traits.js';
import { rangeSizeOf } from './key.js';
import type { PlannedFault, WorldPlan } from './plan.js';
import type { World } from './world.js';

const FAULTS: readonly (readonly [name: string, kinds: readonly PlannedFault['kind'][]])[] = [
  ['the process is killed', ['crashAt', 'crashAtCommit']],
  ['the process is killed at some moment', ['crashAt']],
  ['the process is killed in a transaction', ['crashAtCommit']],
  ['stopped and started in order', ['restart', 'reconfigure']],
  ['started with other settings', ['reconfigure']],
  ['the broker is killed', ['brokerCrash']],
  ['connection cut', ['cut', 'cutAt']],
  ['connection cut at some moment', ['cutAt']],
  ['connection cut after an exact number of bytes', ['cut']],
  ['connection half open', ['halfOpen']],
  ['connection stalled', ['stall']],
  ['delay changes', ['latency']],
  ['dial refused, slow or never answered', ['dial']],
  ['CONNECT refused', ['refuse']],
  ['kicked out', ['kick']],
  ['transactions fail', ['commitsFail']],
  ['disk full', ['diskFull']],
  ['slow disk', ['slowCommits']],
  ['clock jumps', ['clockJump']],
  ['quarantine is put back', ['retry']],
  ['quarantine is removed', ['remove']],
  ['limits of the cache change', ['limits']],
];

const ACKS: Readonly<Record<AckFault['how'], string>> = {
  late: 'acknowledgement late',
  never: 'acknowledgement never',
  twice: 'acknowledgement twice',
  wrongType: 'acknowledgement of a wrong type',
  unknownPuback: 'PUBACK that belongs to nothing',
  unknownPubrec: 'PUBREC that belongs to nothing',
  unknownPubcomp: 'PUBCOMP that belongs to nothing',
  earlyPubcomp: 'PUBCOMP before any PUBREL',
  unaskedPubrel: 'PUBREL that belongs to nothing',
};

const BADNESSES = {
  poison: 'PUBLISH that the broker closes the connection at',
  silencing: 'PUBLISH that silences the connection',
  ignored: 'PUBLISH that the broker never answers',
  poisonPubrel: 'PUBREL that the broker closes the connection at',
  ignoredPubrel: 'PUBREL that the broker never answers',
} as const;

/**
 * What must happen wherever many worlds are run. Not here is what is rare by design: worlds of QoS 0 alone, for nothing is
 * promised in them; identifiers that come round, which cost as much as twenty other worlds; and keys that are forgotten
 * too early, for which a producer must be away for long.
 */
export const EXPECTED_KINDS: readonly string[] = [
  ...FAULTS.map(([name]) => name),
  ...Object.values(ACKS),
  ...Object.values(BADNESSES),
  'clock jumps by days',
  'no room is left for a transaction',
  'the broker loses its sessions',
  'the broker loses a session that holds messages',
  'broker says that an identifier is in use',
  'broker takes QoS 2 for QoS 1',
  'what the broker grants changes',
  'messages refused',
  'cache full',
  'something goes to quarantine',
  'something is put back from quarantine',
  'something leaves quarantine for good',
  'the second broker takes over',
  'and the first one takes over again',
  'stopped at the end',
  'no fault',
];

const DAY_MS = 24 * 3_600_000;

/** What the plan of a world wants. */
export function plannedKindsOf(plan: WorldPlan): string[] {
  const { faults, broker, cache } = plan;
  const kinds = [...natureOf(plan), ...faultsOf(faults)];
  const add = (isSo: boolean, kind: string): void => void (isSo && kinds.push(kind));
  const losesSessions = faults.some((fault) => fault.kind === 'brokerCrash' && !fault.keepsSessions);
  add(losesSessions || broker.grants?.some((one) => one.sessionExpirySeconds !== undefined) === true, LOST);
  add(broker.saysInUse, IN_USE);
  add(broker.downgrades, DOWNGRADED);
  add(cache?.maxSizeBytes !== undefined, 'small cache');
  for (const badness of badnessesOf(plan)) kinds.push(BADNESSES[badness]);
  add(broker.refusalShare > 0 || (broker.refused?.length ?? 0) > 0, 'messages refused');
  add(broker.receiveMaxima !== undefined || broker.grants !== undefined, GRANTS);
  add(broker.heldMax !== undefined, 'broker drops more than 20 at QoS 2');
  add(plan.hasSpare === true, 'two brokers');
  add(plan.endsStopped === true, 'stopped at the end');
  add(faults.length === 0, 'no fault');
  return kinds;
}

/** What has happened in a world. */
export function happenedKindsOf(world: World): string[] {
  const { plan, reception, faults, disk, stored, places } = world;
  const kinds = [...natureOf(plan), ...faultsOf(faults.allHappened)];
  const add = (isSo: boolean, kind: string): void => void (isSo && kinds.push(kind));
  add(reception.lostSessionCount > 0, LOST);
  add(reception.lostInSession.size > 0, 'the broker loses a session that holds messages');
  add(
    disk.droppedCount > 0 || world.workforce.producers.some(({ refusals }) => refusals.has('CACHE_FULL')),
    'cache full',
  );
  for (const badness of badnessesOf(plan)) {
    add(plan.broker[badness]?.some((key) => reception.attempts.has(key)) === true, BADNESSES[badness]);
  }
  add(disk.fullCount > 0, 'no room is left for a transaction');
  add(reception.inUseCount > 0, IN_USE);
  add(reception.downgradedCount > 0, DOWNGRADED);
  add(reception.refused.size > 0, 'messages refused');
  add(stored.quarantine.size > 0, 'something goes to quarantine');
  add(disk.quarantine.retriedCount > 0, 'something is put back from quarantine');
  add(disk.quarantine.goneCount > 0, 'something leaves quarantine for good');
  add(places.repeatedCount > 0, 'a key is forgotten before its producer asks again');
  add(new Set(reception.grants.map((grant) => JSON.stringify(grant))).size > 1, GRANTS);
  add(world.spare.hasServed, 'the second broker takes over');
  add(world.spare.hasServed && world.broker.hasServedAgain, 'and the first one takes over again');
  const { firstOffset } = plan;
  add(
    LANES.some((lane) => stored.nextOffsets[lane] - firstOffset > rangeSizeOf(lane)),
    'identifiers come round',
  );
  add(world.isStopped, 'stopped at the end');
  add(faults.allHappened.length === 0, 'no fault');
  return kinds;
}

const LOST = 'the broker loses its sessions';
const IN_USE = 'broker says that an identifier is in use';
const DOWNGRADED = 'broker takes QoS 2 for QoS 1';
const GRANTS = 'what the broker grants changes';

function natureOf(plan: WorldPlan): string[] {
  return [
    plan.protocolVersion === 5 ? 'MQTT 5' : 'MQTT 3.1.1',
    qosKind(plan),
    plan.isPersistent ? 'session that lasts' : 'session that ends with its connection',
    plan.broker.deliversAt === 'publish' ? 'broker delivers at PUBLISH' : 'broker delivers at PUBREL',
  ];
}

function faultsOf(faults: readonly PlannedFault[]): string[] {
  const found = FAULTS.filter(([, kinds]) => faults.some(({ kind }) => kinds.includes(kind))).map(([name]) => name);
  const hows = new Set(faults.flatMap((fault) => (fault.kind === 'ack' ? [fault.how] : [])));
  for (const how of hows) found.push(ACKS[how]);
  const hasLongJump = faults.some((fault) => fault.kind === 'clockJump' && Math.abs(fault.byMs) >= DAY_MS);
  return hasLongJump ? [...found, 'clock jumps by days'] : found;
}

/** In what ways the broker does not bear a message. */
function badnessesOf({ broker }: WorldPlan): (keyof typeof BADNESSES)[] {
  // The keys of an object that is all its type says.
  const all = Object.keys(BADNESSES) as (keyof typeof BADNESSES)[];
  return all.filter((badness) => (broker[badness]?.length ?? 0) > 0);
}

function qosKind({ appends }: WorldPlan): string {
  const found = new Set(appends.flatMap(({ messages }) => messages.map(({ qos }) => qos)));
  const [only] = found;
  return found.size === 1 ? `QoS ${only}` : 'QoS mixed';
}
