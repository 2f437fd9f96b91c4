/** A new process, and a broker that still holds what the former one had in flight. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packetIdOf } from '../simulation/key.js';
import { Stage } from './stage.js';

const KEPT = { sessionPresent: true };
const OVERRUN = { cmd: 'disconnect', reasonCode: 0x93 } as const;

/** All was sent, of the command nothing has arrived, and the process ended. */
function afterCrash(protocolVersion: 4 | 5, properties = {}): Stage {
  const stage = new Stage({ protocolVersion });
  stage.online({ properties });
  stage.accept('telemetry', 2, { qos: 2 });
  stage.accept('alert', 1, { qos: 1 });
  stage.accept('command', 1, { qos: 2 });
  stage.crash();
  return stage;
}

function exchange(stage: Stage, key: string): void {
  stage.acknowledge('pubrec', [key]);
  stage.acknowledge('pubcomp', [key]);
}

for (const protocolVersion of [4, 5] as const) {
  test(`a broker with a small quota gets the first QoS 2 messages of each lane one at a time (MQTT ${protocolVersion})`, () => {
    const stage = afterCrash(protocolVersion, { receiveMaximum: 20 });
    stage.online({ ...KEPT, properties: { receiveMaximum: 20 } });
    assert.deepEqual(stage.sentWords(), ['PUBLISH c0 dup']);
    exchange(stage, 'c0');
    assert.deepEqual(stage.sentWords(), ['PUBREL c0', 'PUBLISH a0 dup']);
    stage.acknowledge('puback', ['a0']);
    assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup']);
    exchange(stage, 't0');
    assert.deepEqual(stage.sentWords(), ['PUBREL t0', 'PUBLISH t1 dup']);
    exchange(stage, 't1');
    stage.accept('telemetry', 3, { qos: 2 });
    assert.deepEqual(stage.sentWords(), ['PUBREL t1', 'PUBLISH t2', 'PUBLISH t3', 'PUBLISH t4']);
  });
}

test('with a large quota there is room for what is held and what is sent again together', () => {
  const stage = new Stage({});
  const properties = { receiveMaximum: 200 };
  stage.online({ properties });
  stage.accept('telemetry', 200, { qos: 2 });
  stage.crash();
  stage.online({ ...KEPT, properties });
  const { length } = stage.publishedKeys();
  assert.ok(length > 10 && length <= 50, `${length} are sent again together`);
});

test('the same process knows what it has sent, and sends it again together', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.online();
  stage.accept('telemetry', 3, { qos: 2 });
  stage.lose();
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup', 'PUBLISH t1 dup', 'PUBLISH t2 dup']);
});

test('a full broker that refuses even the first message is offered another candidate with each connection, until one makes room', () => {
  const stage = afterCrash(5, { receiveMaximum: 2 });
  stage.online({ ...KEPT, properties: { receiveMaximum: 2 } });
  assert.deepEqual(stage.sentWords(), ['PUBLISH c0 dup']);
  for (const key of ['c0', 'c0', 't0']) {
    stage.answer(OVERRUN);
    stage.online({ ...KEPT, properties: { receiveMaximum: 2 } });
    assert.deepEqual(stage.sentWords(), [`PUBLISH ${key} dup`]);
  }
  exchange(stage, 't0');
  // There is room now, and everything goes in order.
  assert.deepEqual(stage.sentWords(), ['PUBREL t0', 'PUBLISH c0 dup']);
  exchange(stage, 'c0');
  assert.deepEqual(stage.sentWords(), ['PUBREL c0', 'PUBLISH a0 dup']);
  stage.acknowledge('puback', ['a0']);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t1 dup']);
  exchange(stage, 't1');
  assert.equal(stage.cache.quarantine.size, 0, 'that it was too much is the fault of no message');
});

test('an overrun is no reason to suspect a message, however often it happens', () => {
  const stage = afterCrash(5, { receiveMaximum: 2 });
  for (let i = 0; i < 30; i++) {
    stage.online({ ...KEPT, properties: { receiveMaximum: 2 } });
    stage.answer(OVERRUN);
  }
  assert.equal(stage.cache.quarantine.size, 0);
  assert.equal(stage.session.narrowedTo, undefined);
});

test('a message that a 3.1.1 broker never answers does not hold up the others for ever, although each goes with care', () => {
  const stage = new Stage({ protocolVersion: 4, ackTimeoutMs: 1000 });
  stage.online();
  stage.accept('telemetry', 6, { qos: 2 });
  stage.crash();
  for (let connection = 0; connection < 8 && stage.cache.quarantine.size === 0; connection++) {
    stage.accept('telemetry', 2, { qos: 2 });
    stage.online(KEPT);
    for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
      stage.pass(10);
      for (const key of keys.filter((one) => one !== 't2')) exchange(stage, key);
    }
    stage.pass(1100);
    stage.lose();
  }
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t2']);
});

test('a broker that takes less after its restart than it holds is offered what it may hold, one candidate after the other', () => {
  const stage = new Stage({});
  stage.online({ properties: { receiveMaximum: 10 } });
  stage.accept('telemetry', 1);
  stage.accept('telemetry', 1, { qos: 2 });
  stage.lose();
  const restarted = { ...KEPT, properties: { receiveMaximum: 1 } };
  stage.online(restarted);
  // It holds t1, so that t0 is one too many each time.
  const tries = [stage.sentWords()];
  while (!tries.at(-1)?.includes('PUBLISH t1 dup') && tries.length < 10) {
    stage.answer(OVERRUN);
    stage.online(restarted);
    tries.push(stage.sentWords());
  }
  assert.deepEqual(tries.at(-1), ['PUBLISH t1 dup']);
  exchange(stage, 't1');
  assert.deepEqual(stage.sentWords(), ['PUBREL t1', 'PUBLISH t0 dup']);
});

test('a broker for which every single message is too much gets a new session in the end', () => {
  const stage = new Stage({});
  stage.online({ properties: { receiveMaximum: 1 } });
  stage.accept('telemetry', 3, { qos: 2 });
  let isClean = false;
  for (let connection = 0; connection < 400 && !isClean; connection++) {
    stage.answer(OVERRUN);
    stage.flush();
    stage.pass(5000);
    isClean = stage.connect().clean === true;
    stage.answer({ cmd: 'connack', sessionPresent: !isClean, reasonCode: 0, properties: { receiveMaximum: 1 } });
    stage.pass(10);
  }
  assert.ok(isClean);
});

test('what went to quarantine while the broker holds it takes a place of its quota until it is released', () => {
  const stage = new Stage({});
  stage.accept('alert', 1, { qos: 2, payload: Buffer.from('a0|'.padEnd(1000, '.')) });
  stage.accept('telemetry', 2, { qos: 1 });
  stage.online({ properties: { receiveMaximum: 1 } });
  assert.deepEqual(stage.sentWords(), ['PUBLISH a0']);
  stage.lose();
  stage.isHoldingSaves = true;
  stage.online({ ...KEPT, properties: { receiveMaximum: 1, maximumPacketSize: 300 } });
  assert.deepEqual(stage.sentWords(), []);
  stage.isHoldingSaves = false;
  stage.flush();
  assert.deepEqual([...stage.cache.quarantine.keys()], ['a0']);
  assert.deepEqual(stage.sentWords(), [`PUBREL ${packetIdOf('a0')}`, 'PUBLISH t0']);
});
