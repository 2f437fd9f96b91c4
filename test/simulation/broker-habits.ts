/** The habits of the broker in a plan. */
import type { IPublishPacket } from 'mqtt-packet';

import { type AckFault, type BrokerTraits, type Grant, ORDINARY_BROKER, ORDINARY_GRANT } from './broker-traits.js';
import { type Key, keyIn } from './key.js';
import type { PlannedFault, WorldPlan } from './plan.js';
import { Random } from './random.js';

/**
 * @param unusedId gives a packet identifier that means nothing.
 * @param happened is told of every planned fault that the broker commits.
 * @param isMended whether somebody has put the message back from quarantine, and mended first why the broker refused it.
 */
export function traitsOf(
  plan: WorldPlan,
  unusedId: () => number,
  happened: (fault: PlannedFault) => void,
  isMended: (name: Key) => boolean,
): BrokerTraits {
  const { deliversAt, ackDelayMs, heldMax, pubrecsMax, unknownPubrelCode, saysInUse, downgrades } = plan.broker;
  const {
    refusalShare,
    poison,
    ignored,
    refused = [],
    silencing = [],
    poisonPubrel = [],
    ignoredPubrel = [],
  } = plan.broker;
  const refusalCodes = new Map(refused.map(({ key, code }) => [key, code]));
  const { faults } = plan;
  const isAmong = (names: readonly Key[], name: Key): boolean =>
    names.length > 0 && names.includes(name) && !isMended(name);
  return {
    ...ORDINARY_BROKER,
    deliversAt,
    ackDelayMs,
    heldMax,
    pubrecsMax,
    unknownPubrelCode,
    saysInUse,
    downgrades,
    grantOf: (connection) => grantOf(plan, connection),
    codeOf: (publish, attempt) => {
      if (refusalShare === 0 && refusalCodes.size === 0) return 0;
      const name = keyOfPublish(publish);
      const code = refusalCodes.get(name);
      if (code !== undefined) return isMended(name) ? 0 : code;
      if (refusalShare === 0 || attempt > 2) return 0;
      const roll = new Random(hashOf(name) ^ attempt).next();
      return roll < refusalShare ? (attempt === 1 ? 0x97 : 0x80) : 0;
    },
    closesOn: (publish) => publish.qos > 0 && isAmong(poison, keyOfPublish(publish)),
    ignores: (publish) => isAmong(ignored, keyOfPublish(publish)),
    fallsSilentOn: (publish) => publish.qos > 0 && isAmong(silencing, keyOfPublish(publish)),
    pubrelFateOf: (key) => {
      if (isAmong(poisonPubrel, key)) return 'closes';
      return isAmong(ignoredPubrel, key) ? 'ignored' : 'taken';
    },
    ackFaultOf: (ack): AckFault | undefined => {
      const fault = faults.find((one) => one.kind === 'ack' && one.ack === ack);
      if (fault?.kind !== 'ack') return undefined;
      return { how: fault.how, delayMs: fault.delayMs, unknownId: unusedId(), happened: () => happened(fault) };
    },
    connectCodeOf: (connection, version) => {
      if (plan.fallsBack === true && version === 5) return connection % 2 === 0 ? 1 : 'close';
      const fault = faults.find((one) => one.kind === 'refuse' && one.connection === connection);
      if (fault?.kind !== 'refuse') return 0;
      happened(fault);
      if (fault.isSilent) return 'close';
      return version === 5 ? 0x88 : 3;
    },
  };
}

/** What is announced on a connection: the first one as the broker is, those after it one after the other as planned. */
export function grantOf({ broker }: WorldPlan, connection: number): Grant {
  const { receiveMaximum, receiveMaxima, maximumQos, maximumPacketSizeBytes, retainAvailable = true, grants } = broker;
  const grant = { ...ORDINARY_GRANT, receiveMaximum, maximumQos, maximumPacketSizeBytes, retainAvailable };
  if (connection === 0) return grant;
  const later = <T>(list: readonly T[] | undefined): T | undefined => list?.[Math.min(connection, list.length) - 1];
  return { ...grant, receiveMaximum: later(receiveMaxima) ?? receiveMaximum, ...later(grants) };
}

/** The key of the message in a PUBLISH. */
export function keyOfPublish({ payload }: IPublishPacket): Key {
  return keyIn(typeof payload === 'string' ? Buffer.from(payload) : payload);
}

function hashOf(text: string): number {
  let hash = 0;
  for (const char of text) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) | 0;
  return hash;
}
