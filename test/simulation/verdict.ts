/** What must hold at the end of every world: the guarantees of DESIGN, for this plan. */
import { LANES } from '../../src/core/lane.js';
import { arrivalProblems, orderProblems, repetitionProblems } from './arrivals.js';
import type { Key } from './key.js';
import type { HandedMessage } from './producer.js';
import { total } from './simulated-process.js';
import type { World } from './world.js';

/** Faults that end a connection under what is in flight. */
const KILLS = ['cut', 'cutAt', 'brokerCrash', 'kick', 'halfOpen', 'ack', 'stall', 'latency'] as const;
/** When so many of them have happened, an innocent message cannot be told from one that the broker does not bear. */
const KILLS_LIKE_POISON = 4;

/** So many PUBLISHes above the quota there are at most for each new process and each connection with another quota. */
const OVERRUNS_EACH_MAX = 60;

export function verdictOf(world: World): string[] {
  const { places, reception, messages } = world;
  const problems: string[] = [];
  for (const handed of messages.values()) {
    const { name, producer } = handed;
    if (places.has(name)) {
      // What was refused with an answer is not stored, unless an earlier attempt with the same key had no answer.
      if (producer.outcome === 'refused' && !producer.isKeyed) problems.push(`${name} was refused and is stored.`);
      problems.push(...fateProblems(world, handed), ...quarantineProblems(world, name));
      continue;
    }
    if (producer.outcome === 'accepted') problems.push(`${name} was accepted and is not stored.`);
    if (reception.deliveredCount.has(name)) problems.push(`${name} was delivered and never stored.`);
  }
  problems.push(...arrivalProblems(world), ...orderProblems(world), ...repetitionProblems(world));
  // A 3.1.1 broker says neither how much it takes nor what it has dropped: nobody may ever send it that much.
  problems.push(...reception.droppedSilently.map((key) => `${key} was too much for the broker, which has dropped it.`));
  problems.push(...overrunProblems(world), ...countProblems(world));
  return problems;
}

/** What has become of a message that is stored. */
function fateProblems(world: World, { name, message }: HandedMessage): string[] {
  const { reception, stored, places, plan, watcher, expectations, newProcessCount } = world;
  const problems: string[] = [];
  const key = places.keyOf(name);
  const count = reception.deliveredCount.get(name) ?? 0;
  const qos = Math.min(message.qos, expectations.lowestQos);
  const isQuarantined = stored.quarantine.has(key);
  const isDropped = stored.dropped.has(key);
  // What may have been sent is sent again until it is answered, however old it is.
  const mayExpire = message.expirySeconds > 0 && !watcher.sentToBeAnswered.has(key);
  const hasEnd = isQuarantined || isDropped || mayExpire;
  if (count === 0 && !hasEnd && qos > 0 && !expectations.isExcused(name)) problems.push(`${name} is lost.`);
  if (count > 0 && isDropped && !places.isMoved(name)) problems.push(`${name} was dropped and delivered.`);
  const isRefused = qos > 0 && !places.isMoved(name) && plan.broker.refused?.some((one) => one.key === name) === true;
  const sizeMax = Math.max(
    0,
    ...reception.grants.map((grant) => grant.maximumPacketSizeBytes ?? Number.POSITIVE_INFINITY),
  );
  if ((isRefused || message.payload.length > sizeMax) && !hasEnd) {
    problems.push(`${name} cannot be taken by the broker, and is not in quarantine.`);
  }
  if (isRefused && count > 0) problems.push(`${name} was refused by the broker and delivered.`);
  const { poison, ignored, silencing = [] } = plan.broker;
  const isPoison = !places.isMoved(name) && [poison, ignored, silencing].some((names) => names.includes(name));
  if (isPoison && !hasEnd && qos > 0) problems.push(`${name} is poison and not in quarantine.`);
  // QoS 0 promises nothing once a connection dies; without any fault it arrives.
  const isCalm =
    plan.faults.length === 0 && !hasPoison(world) && newProcessCount === 0 && world.process.onlineCount === 1;
  if (qos === 0 && count === 0 && !hasEnd && isCalm) problems.push(`${name} is lost without any fault.`);
  return problems;
}

function hasPoison({ plan }: World): boolean {
  const { poison, ignored, silencing, poisonPubrel, ignoredPubrel } = plan.broker;
  return [poison, ignored, silencing, poisonPubrel, ignoredPubrel].some((names) => (names?.length ?? 0) > 0);
}

/** A message is in quarantine for a reason that there is. */
function quarantineProblems(world: World, name: Key): string[] {
  const { stored, places, plan, faults } = world;
  const reason = stored.quarantine.get(places.keyOf(name));
  if (reason === undefined) return [];
  const { refused = [], poison, ignored, silencing = [], poisonPubrel = [], ignoredPubrel = [] } = plan.broker;
  const refusal = refused.find(({ key }) => key === name)?.code;
  const isJust = (): boolean => {
    switch (reason.code) {
      case 'PUBLISH_POISONOUS':
        return (
          [poison, ignored, silencing, poisonPubrel, ignoredPubrel].some((names) => names.includes(name)) ||
          faults.countHappened(...KILLS) >= KILLS_LIKE_POISON
        );
      case 'PUBLISH_NOT_AUTHORIZED':
        // Who may not publish to a topic once is not tried there for a minute: what follows goes to quarantine unsent.
        return refusal === 0x87 || (refusal === undefined && refused.some(({ code }) => code === 0x87));
      case 'PUBLISH_REFUSED':
        return refusal !== undefined && refusal !== 0x87;
      case 'PUBLISH_TOO_LARGE':
        return world.expectations.hasSizeLimit;
      default:
        return false;
    }
  };
  return isJust() ? [] : [`${name} is in quarantine: ${JSON.stringify(reason)}`];
}

/** Only a new process cannot know what the broker holds, and no process knows what a smaller quota leaves of it. */
function overrunProblems({ reception, newProcessCount }: World): string[] {
  const { overruns, grants } = reception;
  let shrinkCount = 0;
  for (const [i, grant] of grants.entries()) {
    const former = grants[i - 1];
    if (former !== undefined && (grant.receiveMaximum ?? 65_535) < (former.receiveMaximum ?? 65_535)) shrinkCount++;
  }
  // What was under way at QoS 2 is sent again at less when the broker takes no more, and stays open in its old exchange.
  if (grants.some(({ maximumQos }) => maximumQos < (grants[0]?.maximumQos ?? 2))) return [];
  const permittedCount = OVERRUNS_EACH_MAX * (newProcessCount + shrinkCount);
  return overruns.length > permittedCount ? [...overruns] : [];
}

/** What the connector says of itself, against what happened. It counts from the start of its process. */
function countProblems(world: World): string[] {
  const { finalStatus: status, process, reception, watcher, stored, disk, newProcessCount } = world;
  if (status === undefined) return ['There is no status.'];
  const problems: string[] = [];
  const { counts } = status;
  for (const lane of LANES) {
    const { accepted, published, quarantined, dropped } = counts[lane];
    if (accepted !== process.accepted[lane]) {
      problems.push(`${accepted} are counted as accepted in ${lane}; the receipts say ${process.accepted[lane]}.`);
    }
    const came = process.waitingAtStart[lane] + accepted + process.retried[lane];
    if (came !== published + quarantined + dropped) {
      const ends = `${published} were published, ${quarantined} quarantined and ${dropped} dropped`;
      problems.push(`Of ${came} in ${lane}, ${ends}.`);
    }
  }
  const quarantinedCount = stored.quarantined.size + disk.quarantine.draftCount;
  if (status.cache.quarantinedCount !== quarantinedCount) {
    problems.push(`${status.cache.quarantinedCount} are in quarantine; ${quarantinedCount} should be.`);
  }
  if (total(status.cache.waitingCounts) + status.inflight > 0) problems.push('It says that something waits.');
  const reconnects = process.onlineCount - 1;
  if (status.reconnects !== reconnects) {
    problems.push(`${status.reconnects} reconnects are counted, and ${reconnects} were made.`);
  }
  const possibleDuplicates = LANES.reduce((sum, lane) => sum + counts[lane].possibleDuplicates, 0);
  // A new process takes everything below its bound for sent, and does not know that it was in an older session.
  if (newProcessCount === 0 && reception.maskedLossCount === 0) {
    if (watcher.repeatedInNewSession !== possibleDuplicates) {
      problems.push(
        `${watcher.repeatedInNewSession} were sent again in a new session and ${possibleDuplicates} are counted.`,
      );
    }
  }
  return problems;
}
