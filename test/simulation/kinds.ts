/** What kinds of worlds there were, so that a figure says what it is about. A world is of several kinds. */
import type { PlannedFault, WorldPlan } from './plan.js';

export function kindsOf(plan: WorldPlan): string[] {
  const { faults, broker, cache } = plan;
  const has = (...kinds: PlannedFault['kind'][]): boolean => faults.some(({ kind }) => kinds.includes(kind));
  const kinds = [
    plan.protocolVersion === 5 ? 'MQTT 5' : 'MQTT 3.1.1',
    qosKind(plan),
    plan.isPersistent ? 'session that lasts' : 'session that ends with its connection',
    broker.deliversAt === 'publish' ? 'broker delivers at PUBLISH' : 'broker delivers at PUBREL',
  ];
  const add = (isSo: boolean, kind: string): void => void (isSo && kinds.push(kind));
  add(has('crashAt', 'crashAtCommit'), 'the process is killed');
  add(has('restart'), 'stopped and started in order');
  add(has('brokerCrash'), 'the broker is killed');
  add(
    faults.some((fault) => fault.kind === 'brokerCrash' && !fault.keepsSessions),
    'the broker loses its sessions',
  );
  add(has('cut', 'cutAt'), 'connection cut');
  add(has('halfOpen', 'stall'), 'connection half open or stalled');
  add(has('latency'), 'delay changes');
  add(has('dial', 'refuse', 'kick') || plan.fallsBack === true, 'dial or CONNECT refused, or kicked out');
  add(has('ack') || broker.saysInUse, 'acknowledgement late, never, twice or wrong');
  add(has('commitsFail', 'diskFull'), 'disk full');
  add(has('slowCommits'), 'slow disk');
  add(has('clockJump'), 'clock jumps');
  add(cache?.maxSizeBytes !== undefined, 'small cache');
  add(broker.poison.length + broker.ignored.length > 0, 'poison message');
  add(broker.refusalShare > 0, 'messages refused for a time');
  add((broker.refused?.length ?? 0) > 0, 'messages refused for good');
  add(broker.maximumPacketSizeBytes !== undefined, "messages above the broker's limit");
  add(broker.receiveMaxima !== undefined, 'Receive Maximum changes');
  add(broker.heldMax !== undefined, 'broker drops more than 20 at QoS 2');
  add(plan.endsStopped === true, 'stopped at the end');
  add(faults.length === 0, 'no fault');
  return kinds;
}

function qosKind({ appends }: WorldPlan): string {
  const found = new Set(appends.flatMap(({ messages }) => messages.map(({ qos }) => qos)));
  const [only] = found;
  return found.size === 1 ? `QoS ${only}` : 'QoS mixed';
}
