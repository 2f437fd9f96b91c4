/** What has arrived, one message after the other: that it is what was handed in, in its order, and once. */
import { type Key, keyOf } from './key.js';
import type { Delivery, Reception } from './reception.js';
import type { World } from './world.js';

/** WHAT arrives is what was handed in, as far as the broker takes it. */
export function arrivalProblems(world: World): string[] {
  const problems: string[] = [];
  for (const delivery of world.reception.deliveries) {
    const problem = arrivalProblem(world, delivery);
    if (problem !== undefined) problems.push(`${delivery.key} ${problem}.`);
  }
  return problems;
}

function arrivalProblem(world: World, { key: name, packet, grant }: Delivery): string | undefined {
  const handed = world.messages.get(name);
  if (handed === undefined) return 'was delivered and never handed in';
  const { message, arriving } = handed;
  // Payloads are bytes here: nothing has told the reader otherwise.
  const payload = packet.payload as Buffer;
  if (!arriving.equals(payload)) return `arrived with another payload: ${payload.toString('latin1', 0, 80)}`;
  if (packet.topic !== message.topic) return `arrived with the topic ${packet.topic}, not ${message.topic}`;
  const qos = Math.min(message.qos, grant.maximumQos);
  if (packet.qos !== qos) return `arrived at QoS ${packet.qos}, not ${qos}`;
  const isRetained = message.retain && grant.retainAvailable;
  if (packet.retain !== isRetained) return `arrived with retain ${packet.retain}`;
  const { messageExpiryInterval: expirySeconds, userProperties } = packet.properties ?? {};
  if (world.plan.protocolVersion === 4) return undefined;
  const isLifeWrong =
    message.expirySeconds === 0
      ? expirySeconds !== undefined
      : expirySeconds === undefined || expirySeconds < 1 || expirySeconds > message.expirySeconds;
  if (isLifeWrong) return `arrived with ${expirySeconds} s to live, of ${message.expirySeconds} s`;
  const { messageIdProperty } = world.plan;
  if (messageIdProperty === undefined) return undefined;
  const id = userProperties?.[messageIdProperty];
  const isIdRight = typeof id === 'string' && world.expectations.idsOf(name).includes(id);
  return isIdRight ? undefined : `arrived with the message id ${id}`;
}

/**
 * At QoS 2 nothing arrives twice in the same session of a broker; and in another one only when a session was lost, was left
 * for that of another broker or client id, or was never to last.
 */
export function repetitionProblems({ reception, plan, places }: World): string[] {
  const mayRepeat =
    !plan.isPersistent ||
    // The session is given up in which the broker may hold what it takes at a lower QoS now, and may yet refuse.
    isQosLowered(reception) ||
    plan.hasSpare === true ||
    reception.lostSessionCount > 0 ||
    // A crash in the middle of the stop before it counts, too.
    plan.faults.some((fault) => fault.kind === 'reconfigure' && fault.clientId !== undefined) ||
    plan.broker.poisonPubrel !== undefined ||
    plan.broker.ignoredPubrel !== undefined;
  const sessions = new Map<Key, Set<number>>();
  const problems: string[] = [];
  for (const { key: name, packet, session } of reception.deliveries) {
    // One that was put back is a new message; what a broker takes as QoS 1 may come twice.
    if (packet.qos < 2 || plan.broker.downgrades || places.isMoved(name)) continue;
    const former = sessions.get(name);
    if (former === undefined) sessions.set(name, new Set([session]));
    else if (former.has(session)) problems.push(`${name} was delivered twice at QoS 2 in the same session.`);
    else {
      if (!mayRepeat) problems.push(`${name} was delivered twice at QoS 2, and no session was lost.`);
      former.add(session);
    }
  }
  return problems;
}

/**
 * Within a lane and a QoS, messages are delivered for the first time in the order in which they were accepted. One that can
 * expire is left out: it may have been dropped when the process ended, and the next one does not know that.
 */
export function orderProblems({ reception, messages, places, plan, newProcessCount, stored }: World): string[] {
  const last = new Map<string, number>();
  const seen = new Set<Key>();
  const problems: string[] = [];
  // What was under way at a higher QoS comes at a lower one then, among what was sent at it in the first place.
  if (isQosLowered(reception)) return [];
  // What we set aside unsent, because of its topic or its size, and had not stored yet, a new process may send after all.
  const { refused, maximumPacketSizeBytes, grants } = plan.broker;
  const setsAside = refused !== undefined || maximumPacketSizeBytes !== undefined || grants !== undefined;
  if (setsAside && newProcessCount > 0) return [];
  for (const { key: name, qos } of reception.deliveries) {
    const isExpiring = (messages.get(name)?.message.expirySeconds ?? 0) > 0;
    // At QoS 0 a message that a cut has swallowed may come after others once the process is a new one.
    const isLoose = isExpiring || qos === 0 || places.isMoved(name) || reception.refused.has(name);
    const place = places.of(name);
    if (place === undefined || isLoose || seen.has(name)) continue;
    seen.add(name);
    // When its PUBREC comes late, or not before a reconnect, its PUBREL does, too: PUBRELs follow the PUBRECs.
    if (plan.broker.deliversAt === 'pubrel' && reception.late.has(name)) continue;
    const { lane, offset } = place;
    // What went to quarantine in the middle of its exchange is delivered when that is ended.
    if (stored.quarantine.has(keyOf(lane, offset))) continue;
    const group = `${lane} ${qos}`;
    const lastOffset = last.get(group) ?? -1;
    if (offset < lastOffset) problems.push(`${keyOf(lane, offset)} was delivered after offset ${lastOffset}.`);
    last.set(group, Math.max(offset, lastOffset));
  }
  return problems;
}

/** Some broker has come to take less than before. */
function isQosLowered({ grants }: Reception): boolean {
  return grants.some(({ maximumQos }, i) => maximumQos < (grants[i - 1]?.maximumQos ?? 0));
}
