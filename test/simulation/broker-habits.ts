/** The habits of the broker in a plan. */
import type { IPublishPacket } from 'mqtt-packet';

import { type AckFault, type BrokerTraits, ORDINARY_BROKER } from './broker-traits.js';
import { type Key, keyIn } from './key.js';
import type { WorldPlan } from './plan.js';
import { Random } from './random.js';

/** @param unusedId gives a packet identifier that means nothing. */
export function traitsOf(plan: WorldPlan, unusedId: () => number): BrokerTraits {
  const { refusalShare, poison, ignored, refused = [], receiveMaxima: _, ...traits } = plan.broker;
  const refusalCodes = new Map(refused.map(({ key, code }) => [key, code]));
  const { faults } = plan;
  return {
    ...ORDINARY_BROKER,
    ...traits,
    codeOf: (publish, attempt) => {
      if (refusalShare === 0 && refusalCodes.size === 0) return 0;
      const name = keyOfPublish(publish);
      const code = refusalCodes.get(name);
      if (code !== undefined) return code;
      if (refusalShare === 0 || attempt > 2) return 0;
      const roll = new Random(hashOf(name) ^ attempt).next();
      return roll < refusalShare ? (attempt === 1 ? 0x97 : 0x80) : 0;
    },
    closesOn: (publish) => poison.length > 0 && publish.qos > 0 && poison.includes(keyOfPublish(publish)),
    ignores: (publish) => ignored.length > 0 && ignored.includes(keyOfPublish(publish)),
    ackFaultOf: (ack): AckFault | undefined => {
      const fault = faults.find((one) => one.kind === 'ack' && one.ack === ack);
      if (fault?.kind !== 'ack') return undefined;
      return { how: fault.how, delayMs: fault.delayMs, unknownId: unusedId() };
    },
    connectCodeOf: (connection, version) => {
      if (plan.fallsBack === true && version === 5) return connection % 2 === 0 ? 1 : 'close';
      const fault = faults.find((one) => one.kind === 'refuse' && one.connection === connection);
      if (fault?.kind !== 'refuse') return 0;
      if (fault.isSilent) return 'close';
      return version === 5 ? 0x88 : 3;
    },
  };
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
