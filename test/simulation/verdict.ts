/** What must hold at the end of every world: the guarantees of DESIGN, for this plan. */
import { LANES } from '../../src/core/lane.js';
import { type Key, keyOf } from './key.js';
import { total } from './simulated-process.js';
import type { World } from './world.js';

/** Faults that end a connection under what is in flight. */
const KILLS = ['cut', 'cutAt', 'brokerCrash', 'kick', 'halfOpen', 'ack', 'stall', 'latency'];

export function verdictOf(world: World): string[] {
  const problems: string[] = [];
  const { broker, stored, places, plan, newProcessCount } = world;
  const losesSessions =
    !plan.isPersistent || plan.faults.some((fault) => fault.kind === 'brokerCrash' && !fault.keepsSessions);
  // When connection after connection dies under it, an innocent message cannot be told from one that the broker refuses.
  const looksPoisonous = plan.faults.filter(({ kind }) => KILLS.includes(kind)).length >= 4;
  const isAtQos0 = plan.broker.maximumQos === 0;
  const poison = new Set([...plan.broker.poison, ...plan.broker.ignored]);
  const isCalm =
    plan.faults.length === 0 && poison.size === 0 && newProcessCount === 0 && world.process.onlineCount === 1;
  const refused = new Set(plan.broker.refused?.map(({ key }) => key));
  // Who may not publish to a topic once is not tried there for a minute: what follows goes to quarantine unsent.
  const isTopicRefused = plan.broker.refused?.some(({ code }) => code === 0x87) === true;
  let repeatedCount = 0;
  for (const { name, message, producer } of world.messages.values()) {
    const count = broker.deliveredCount.get(name) ?? 0;
    if (!places.has(name)) {
      if (producer.outcome === 'accepted') problems.push(`${name} was accepted and is not stored.`);
      if (count > 0) problems.push(`${name} was delivered and never stored.`);
      continue;
    }
    // What was refused with an answer is not stored, unless an earlier attempt with the same key had no answer.
    if (producer.outcome === 'refused' && !producer.isKeyed) problems.push(`${name} was refused and is stored.`);
    const key = places.keyOf(name);
    const qos = Math.min(message.qos, plan.broker.maximumQos, plan.broker.downgrades ? 1 : 2);
    const isQuarantined = stored.quarantine.has(key);
    const isDropped = stored.dropped.has(key);
    const isExpiring = message.expirySeconds > 0;
    const mayBeMissing = isQuarantined || isDropped || isExpiring || qos === 0 || world.expectations.isExcused(name);
    if (count === 0 && !mayBeMissing) problems.push(`${name} is lost.`);
    if (count > 0 && isDropped) problems.push(`${name} was dropped and delivered.`);
    if (qos === 2 && count > 1) {
      repeatedCount += count - 1;
      if (!losesSessions) problems.push(`${name} was delivered ${count} times at QoS 2.`);
    }
    const isTooLarge = message.payload.length > (plan.broker.maximumPacketSizeBytes ?? Number.POSITIVE_INFINITY);
    const isRefused = refused.has(name) && qos > 0;
    const reason = stored.quarantine.get(key);
    if (reason !== undefined && !poison.has(name) && !looksPoisonous && !isRefused) {
      const isPaused = reason.code === 'PUBLISH_NOT_AUTHORIZED' && isTopicRefused;
      const mayBeTooLarge = reason.code === 'PUBLISH_TOO_LARGE' && plan.broker.maximumPacketSizeBytes !== undefined;
      if (!isPaused && !mayBeTooLarge) problems.push(`${name} is in quarantine: ${JSON.stringify(reason)}`);
    }
    if ((isRefused || isTooLarge) && !isQuarantined && !isDropped && !isExpiring) {
      problems.push(`${name} cannot be taken by the broker, and is not in quarantine.`);
    }
    if (isRefused && count > 0) problems.push(`${name} was refused by the broker and delivered.`);
    if (poison.has(name) && !isQuarantined && !isDropped && !isAtQos0) {
      problems.push(`${name} is poison and not in quarantine.`);
    }
    // QoS 0 promises nothing once a connection dies; without any fault it arrives.
    if (qos === 0 && count === 0 && !isExpiring && !isDropped && !isQuarantined && isCalm) {
      problems.push(`${name} is lost without any fault.`);
    }
  }
  for (const name of broker.deliveredCount.keys()) {
    if (!world.messages.has(name)) problems.push(`${name} was delivered and never handed in.`);
  }
  // A broker that sends a PUBREC late, or not before a reconnect, sends it out of order, and the PUBRELs follow the PUBRECs.
  const isLate =
    plan.broker.pubrecsMax !== undefined ||
    plan.faults.some((fault) => fault.kind === 'ack' && (fault.how === 'never' || fault.how === 'wrongType'));
  if (!(isLate && plan.broker.deliversAt === 'pubrel')) problems.push(...orderProblems(world));
  // Only a new process cannot know what the broker holds, and no process knows what a smaller quota leaves of it.
  if (newProcessCount === 0 && plan.broker.receiveMaxima === undefined) problems.push(...broker.overruns);
  problems.push(...countProblems(world, repeatedCount));
  return problems;
}

/** What the connector says of itself, against what happened. It counts from the start of its process. */
function countProblems(world: World, repeatedCount: number): string[] {
  const { finalStatus: status, process, broker, watcher, stored, disk, newProcessCount } = world;
  if (status === undefined) return ['There is no status.'];
  const problems: string[] = [];
  const { counts } = status;
  for (const lane of LANES) {
    const { accepted, published, quarantined, dropped } = counts[lane];
    if (accepted !== process.accepted[lane]) {
      problems.push(`${accepted} are counted as accepted in ${lane}; the receipts say ${process.accepted[lane]}.`);
    }
    const came = process.waitingAtStart[lane] + accepted;
    if (came !== published + quarantined + dropped) {
      const ends = `${published} were published, ${quarantined} quarantined and ${dropped} dropped`;
      problems.push(`Of ${came} in ${lane}, ${ends}.`);
    }
  }
  const quarantinedCount = stored.quarantine.size + disk.draftCount;
  if (status.cache.quarantinedCount !== quarantinedCount) {
    problems.push(`${status.cache.quarantinedCount} are in quarantine; ${quarantinedCount} went there.`);
  }
  if (total(status.cache.waitingCounts) + status.inflight > 0) problems.push('It says that something waits.');
  const reconnects = process.onlineCount - 1;
  if (status.reconnects !== reconnects) {
    problems.push(`${status.reconnects} reconnects are counted, and ${reconnects} were made.`);
  }
  const possibleDuplicates = LANES.reduce((sum, lane) => sum + counts[lane].possibleDuplicates, 0);
  // A new process takes everything below its bound for sent, and does not know that it was in an older session.
  if (newProcessCount === 0 && broker.maskedLossCount === 0) {
    if (repeatedCount > possibleDuplicates) {
      problems.push(`${repeatedCount} were repeated and ${possibleDuplicates} counted as possible duplicates.`);
    }
    if (watcher.repeatedInNewSession !== possibleDuplicates) {
      problems.push(
        `${watcher.repeatedInNewSession} were sent again in a new session and ${possibleDuplicates} are counted.`,
      );
    }
  }
  return problems;
}

/**
 * Within a lane and a QoS, messages are delivered for the first time in the order in which they were accepted. One that can
 * expire is left out: it may have been dropped when the process ended, and the next one does not know that.
 */
function orderProblems(world: World): string[] {
  const last = new Map<string, number>();
  const seen = new Set<Key>();
  const problems: string[] = [];
  for (const { key: name, qos } of world.broker.deliveries) {
    const isExpiring = (world.messages.get(name)?.message.expirySeconds ?? 0) > 0;
    // At QoS 0 a message that a cut has swallowed may come after others once the process is a new one.
    const isLoose = isExpiring || qos === 0;
    const place = world.places.of(name);
    if (place === undefined || isLoose || seen.has(name) || world.broker.refused.has(name)) continue;
    seen.add(name);
    const { lane, offset } = place;
    const group = `${lane} ${qos}`;
    const lastOffset = last.get(group) ?? -1;
    if (offset < lastOffset) problems.push(`${keyOf(lane, offset)} was delivered after offset ${lastOffset}.`);
    last.set(group, Math.max(offset, lastOffset));
  }
  return problems;
}
