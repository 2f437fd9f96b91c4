/** What must hold at the end of every world: the guarantees of DESIGN, for this plan. */
import { LANES } from '../../src/core/lane.js';
import { type Key, placeOf } from './key.js';
import type { World } from './world.js';

export function verdictOf(world: World): string[] {
  const problems: string[] = [];
  const { broker, cache, plan, watcher, connector } = world;
  const losesSessions =
    !plan.isPersistent || plan.faults.some((fault) => fault.kind === 'brokerCrash' && !fault.keepsSessions);
  const restarts = plan.faults.filter((fault) => fault.kind === 'restart' && !fault.isSameProcess);
  const newProcessCount = connector.crashCount + restarts.length;
  // When connection after connection dies under it, an innocent message cannot be told from one that the broker refuses.
  const looksPoisonous = plan.faults.filter(({ kind }) => ['cut', 'cutAt', 'brokerCrash'].includes(kind)).length >= 4;
  const isAtQos0 = plan.broker.maximumQos === 0;
  const poison = new Set([...plan.broker.poison, ...plan.broker.ignored]);
  let repeatedCount = 0;
  for (const { key, message } of world.accepted.values()) {
    const count = broker.deliveredCount.get(key) ?? 0;
    const qos = Math.min(message.qos, plan.broker.maximumQos, plan.broker.downgrades ? 1 : 2);
    const isQuarantined = cache.quarantine.has(key);
    const mayBeMissing =
      isQuarantined || cache.dropped.has(key) || message.expirySeconds > 0 || qos === 0 || world.isExcused(key);
    if (count === 0 && !mayBeMissing) problems.push(`${key} is lost.`);
    if (qos === 2 && count > 1) {
      repeatedCount += count - 1;
      if (!losesSessions) problems.push(`${key} was delivered ${count} times at QoS 2.`);
    }
    if (isQuarantined && !poison.has(key) && !looksPoisonous) {
      problems.push(`${key} is in quarantine: ${JSON.stringify(cache.quarantine.get(key))}`);
    }
    if (poison.has(key) && !isQuarantined && !cache.dropped.has(key) && !isAtQos0)
      problems.push(`${key} is poison and not in quarantine.`);
    const isExpiring = message.expirySeconds > 0;
    const isCalm = plan.faults.length === 0 && plan.broker.poison.length + plan.broker.ignored.length === 0;
    if (qos === 0 && count === 0 && !isExpiring && isCalm) problems.push(`${key} is lost without any fault.`);
  }
  for (const key of broker.deliveredCount.keys()) {
    if (!world.accepted.has(key)) problems.push(`${key} was delivered and never accepted.`);
  }
  // A broker that sends a PUBREC late sends it out of order after a reconnect, and the PUBRELs follow the PUBRECs.
  const isBrokersOrder = plan.broker.pubrecsMax !== undefined && plan.broker.deliversAt === 'pubrel';
  if (!isBrokersOrder) problems.push(...orderProblems(world));
  // Only a new process cannot know what the broker holds.
  if (newProcessCount === 0) problems.push(...broker.overruns);
  let possibleDuplicates = connector.counts.possibleDuplicates;
  for (const lane of LANES) possibleDuplicates += connector.session.countsOf(lane).possibleDuplicates;
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
  for (const { key, qos } of world.broker.deliveries) {
    const isExpiring = (world.accepted.get(key)?.message.expirySeconds ?? 0) > 0;
    // At QoS 0 a message that a cut has swallowed may come after others once the process is a new one.
    const isLoose = isExpiring || qos === 0;
    if (isLoose || seen.has(key) || world.broker.refused.has(key)) continue;
    seen.add(key);
    const { lane, offset } = placeOf(key);
    const name = `${lane} ${qos}`;
    if (offset < (last.get(name) ?? -1)) problems.push(`${key} was delivered after offset ${last.get(name)}.`);
    last.set(name, Math.max(offset, last.get(name) ?? -1));
  }
  return problems;
}
