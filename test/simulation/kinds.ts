/**
 * What kinds of worlds there were, so that a figure says what it is about: as they were planned, and as they happened, for
 * a fault may find nothing to happen to. A world is of several kinds.
 */
import { LANES } from '../../src/core/lane.js';
import { rangeSizeOf } from './key.js';
import type { PlannedFault, WorldPlan } from './plan.js';
import type { World } from './world.js';

const FAULTS: readonly (readonly [name: string, kinds: readonly PlannedFault['kind'][]])[] = [
  ['the process is killed', ['crashAt', 'crashAtCommit']],
  ['stopped and started in order', ['restart', 'reconfigure']],
  ['started with other settings', ['reconfigure']],
  ['the broker is killed', ['brokerCrash']],
  ['connection cut', ['cut', 'cutAt']],
  ['connection cut after an exact number of bytes', ['cut']],
  ['connection half open or stalled', ['halfOpen', 'stall']],
  ['delay changes', ['latency']],
  ['dial or CONNECT refused, or kicked out', ['dial', 'refuse', 'kick']],
  ['acknowledgement late, never, early, twice or wrong', ['ack']],
  ['disk full', ['commitsFail', 'diskFull']],
  ['slow disk', ['slowCommits']],
  ['clock jumps', ['clockJump']],
  ['quarantine is put back or removed', ['retry', 'remove']],
  ['limits of the cache change', ['limits']],
];

const DAY_MS = 24 * 3_600_000;

/** What the plan of a world wants. */
export function plannedKindsOf(plan: WorldPlan): string[] {
  const { faults, broker, cache } = plan;
  const kinds = [...natureOf(plan), ...faultsOf(faults)];
  const add = (isSo: boolean, kind: string): void => void (isSo && kinds.push(kind));
  const losesSessions = faults.some((fault) => fault.kind === 'brokerCrash' && !fault.keepsSessions);
  add(losesSessions || broker.grants?.some((one) => one.sessionExpirySeconds !== undefined) === true, LOST);
  add(broker.saysInUse, 'broker says that an identifier is in use');
  add(cache?.maxSizeBytes !== undefined, 'small cache');
  add(badKeysOf(plan).length > 0, POISON);
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
  add(
    badKeysOf(plan).some((key) => reception.attempts.has(key)),
    POISON,
  );
  add(reception.refused.size > 0, 'messages refused');
  add(stored.quarantine.size > 0, 'something goes to quarantine');
  add(disk.quarantine.retriedCount > 0, 'something is put back from quarantine');
  add(disk.quarantine.goneCount > 0, 'something leaves quarantine for good');
  add(places.repeatedCount > 0, 'a key is forgotten before its producer asks again');
  add(new Set(reception.grants.map((grant) => JSON.stringify(grant))).size > 1, GRANTS);
  add(reception.droppedSilently.length > 0, 'broker drops more than 20 at QoS 2');
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
const POISON = 'poison message';
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
  const hasLongJump = faults.some((fault) => fault.kind === 'clockJump' && Math.abs(fault.byMs) >= DAY_MS);
  return hasLongJump ? [...found, 'clock jumps by days'] : found;
}

/** Messages that the broker does not bear, in whatever way. */
function badKeysOf({ broker }: WorldPlan): readonly string[] {
  const { poison, ignored, silencing = [], poisonPubrel = [], ignoredPubrel = [] } = broker;
  return [...poison, ...ignored, ...silencing, ...poisonPubrel, ...ignoredPubrel];
}

function qosKind({ appends }: WorldPlan): string {
  const found = new Set(appends.flatMap(({ messages }) => messages.map(({ qos }) => qos)));
  const [only] = found;
  return found.size === 1 ? `QoS ${only}` : 'QoS mixed';
}
