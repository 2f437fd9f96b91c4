import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkBroker } from '../../src/selftest/broker-check.js';

const RUN = { quarantined: undefined, isDrained: true, isQos2Refused: false };
const found = 'mqtt://b';

describe('what the self-test says of the broker', () => {
  test('a broker with QoS 2 and kept sessions passes', () => {
    assert.equal(checkBroker(RUN, { found, guarantee: 'exactly once' }).verdict, 'PASS');
  });

  test('a broker that closes at every message of QoS 2 is told as such, and nobody is sent to its access rules', () => {
    const check = checkBroker({ ...RUN, isDrained: false, isQos2Refused: true }, { found });
    assert.equal(check.verdict, 'FAIL');
    assert.match(check.found, /closes the connection at every message of QoS 2/);
    assert.match(check.meaning, /waits on the disk, but nothing gets through/);
    assert.match(check.remedy ?? '', /^Set qos to 1/);
    // One that has taken everything in the end has QoS 2.
    assert.equal(checkBroker({ ...RUN, isQos2Refused: true }, { found }).verdict, 'PASS');
  });

  test('a refusal has the remedy of its reason, and says truly whether something waits behind it', () => {
    const refused = (code: string, isDrained: boolean) =>
      checkBroker({ ...RUN, isDrained, quarantined: { count: 1, code, reason: 'no' } }, { found });
    const topic = refused('PUBLISH_NOT_AUTHORIZED', true);
    assert.match(topic.found, /it refused 1 message: PUBLISH_NOT_AUTHORIZED, no$/);
    assert.match(topic.meaning, /nothing behind it waits/);
    assert.match(topic.remedy ?? '', /^Allow this user to publish/);
    const poison = refused('PUBLISH_POISONOUS', false);
    assert.doesNotMatch(poison.meaning, /nothing behind it waits/);
    assert.match(poison.meaning, /which waits/);
    assert.match(poison.remedy ?? '', /^Look at the log of the broker: it closes/);
    assert.match(refused('PUBLISH_TOO_LARGE', true).remedy ?? '', /limit/);
  });

  test('a weakness is a warning in the words of the connection test, where that has found it', () => {
    const weak = (guarantee: string | undefined, mayRefuseQos2 = false) =>
      checkBroker(RUN, { found, weakness: 'this broker grants QoS 1', guarantee, mayRefuseQos2 });
    const bounded = 'exactly once while connected: this broker keeps no session';
    assert.equal(weak(bounded).meaning, `It gives ${bounded}.`);
    for (const guarantee of [undefined, 'exactly once', 'not known yet whether exactly once: …']) {
      assert.equal(weak(guarantee).meaning, 'At least once is what it gives.');
    }
    assert.doesNotMatch(weak(undefined).remedy ?? '', /Set qos/);
    assert.match(weak(undefined, true).remedy ?? '', /^Set qos to 1/);
  });
});
