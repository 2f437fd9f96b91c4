import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubject } from './subject.js';

test('a 3.1.1 broker that closes at every message of QoS 2 is named with a remedy, once, until it takes one', async (t) => {
  let isRefusing = true;
  const broker = await startScriptedBroker({
    connack: (_, peer) => ({ sessionPresent: peer.number > 1 }),
    onPacket: (packet, peer) => {
      if (!isRefusing || packet.cmd !== 'publish' || packet.qos !== 2) return 'default';
      peer.close();
      return undefined;
    },
  });
  t.after(() => broker.close());
  const clock = new ManualClock();
  const settings = { url: broker.url, qos: 2, protocolVersion: '3.1.1', reconnectPeriod: 1000 } as const;
  const subject = await openSubject(t, settings, { clock });
  await subject.send(...Array.from({ length: 30 }, (_unused, index) => `${index}`));
  const refused = await eventually(async () => {
    clock.advance(250);
    const status = await subject.status();
    return status.lastError?.code === 'QOS2_REFUSED' ? status : undefined;
  }, 'the refusal in the status');
  assert.match(refused.description, /; the broker takes no message of QoS 2$/);
  assert.match(
    refused.warnings.join('|'),
    /closes the connection at every message of QoS 2.*Set qos to 1, or ask the op/,
  );

  // It is there still when the next connections have been made and lost.
  const count = broker.peers.length;
  await eventually(() => {
    clock.advance(250);
    return broker.peers.length > count + 3;
  }, 'further connections');
  const later = await subject.status();
  assert.equal(later.lastError?.code, 'QOS2_REFUSED');
  assert.match(later.warnings.join('|'), /QoS 2/);
  assert.equal(subject.log.filter((line) => line.includes('QOS2_REFUSED')).length, 1, subject.log.join('\n'));
  assert.equal(subject.failures.filter(({ code }) => code === 'QOS2_REFUSED').length, 1);

  isRefusing = false;
  const taken = await eventually(async () => {
    clock.advance(250);
    const status = await subject.status();
    return status.state === 'online' && status.lastError === undefined ? status : undefined;
  }, 'the broker to take them');
  assert.doesNotMatch(`${taken.description} ${taken.warnings}`, /takes no message|closes the connection at every/);
});
