/** A broker that has come to take less than QoS 2 while it holds messages of QoS 2. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NorthError } from '../../src/core/error.js';
import { packetIdOf } from '../simulation/key.js';
import { Stage } from './stage.js';

const LOWERED = { sessionPresent: true, properties: { maximumQoS: 1 } } as const;

test('a session is given up in which the broker may hold at QoS 2 what it has taken at QoS 1', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 2, { qos: 2 });
  stage.online();
  stage.lose();
  stage.online(LOWERED);
  assert.deepEqual(
    stage.published().map(({ qos, dup }) => [qos, dup]),
    [
      [1, true],
      [1, true],
    ],
  );
  stage.acknowledge('puback', ['t0']);
  stage.accept('telemetry', 1, { qos: 2 });
  // What is in flight is waited for, and nothing new is sent beside it.
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), []);
  stage.acknowledge('puback', ['t1']);
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), ['DISCONNECT']);
  assert.equal(stage.reports('ended').at(-1)?.redialsAtOnce, true);
  // The wipe, and then the session that lasts.
  assert.equal(stage.connect().clean, true);
  stage.answer({ cmd: 'connack', sessionPresent: false, reasonCode: 0 });
  assert.deepEqual(stage.sentWords(), ['DISCONNECT']);
  stage.online({ properties: { maximumQoS: 1 } });
  assert.deepEqual(stage.publishedKeys(), ['t2']);
});

test('a refused message that waits for its retry does not keep a session from being given up', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 3, { qos: 2 });
  stage.online();
  stage.acknowledge('pubrec', ['t0'], 0x97);
  stage.lose();
  stage.online(LOWERED);
  stage.acknowledge('puback', ['t1']);
  // The pause of the refused one is over before the last is answered.
  stage.pass(5000);
  assert.deepEqual(stage.publishedKeys(), ['t1', 't2']);
  stage.acknowledge('puback', ['t2']);
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), ['DISCONNECT']);
  stage.online();
  assert.deepEqual(stage.sentWords(), ['DISCONNECT']);
  stage.online({ properties: { maximumQoS: 1 } });
  stage.pass(5000);
  assert.deepEqual(stage.publishedKeys(), ['t0']);
});

test('nor does one when the session is given up for a PUBREL that the broker cannot bear', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 4, { qos: 2 });
  stage.online();
  stage.acknowledge('pubrec', ['t0'], 0x97);
  stage.acknowledge('pubrec', ['t1', 't2', 't3']);
  const closed = new NorthError('BROKER_CLOSED', 'The broker has closed the connection.');
  for (let i = 0; i < 30 && stage.cache.quarantine.size === 0; i++) {
    stage.pass(1500);
    if (stage.publishedKeys().includes('t0')) stage.acknowledge('pubrec', ['t0'], 0x97);
    stage.lose(closed);
    stage.online({ sessionPresent: true });
  }
  // The pause of the refused one is over while the PUBRELs go out one at a time.
  for (const key of ['t2', 't3']) {
    stage.pass(1500);
    assert.deepEqual(stage.sentWords(), [`PUBREL ${key}`]);
    stage.acknowledge('pubcomp', [key]);
  }
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t1']);
  assert.equal(stage.reports('ended').at(-1)?.redialsAtOnce, true);
  assert.equal(stage.connect().clean, true);
});

test('a session is kept when nothing in it was ever sent at QoS 2', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online({ properties: { maximumQoS: 1 } });
  stage.lose();
  stage.online(LOWERED);
  stage.acknowledge('puback', ['t0']);
  stage.accept('telemetry', 1, { qos: 2 });
  stage.pass(500);
  assert.deepEqual(stage.publishedKeys(), ['t0', 't1']);
  assert.equal(stage.session.state, 'online');
});

test('a new process does not know at which QoS the former one has sent', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.accept('telemetry', 1, { qos: 1 });
  stage.online();
  stage.crash();
  stage.online(LOWERED);
  stage.acknowledge('puback', ['t0', 't1']);
  stage.pass(500);
  assert.deepEqual(stage.sentWords().at(-1), 'DISCONNECT');
  assert.equal(stage.connect().clean, true);
});

test('after a crash in the middle, what the broker may hold is ended, and its identifier waits for that', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 2, { qos: 2 });
  stage.online();
  stage.lose();
  stage.online(LOWERED);
  stage.acknowledge('puback', ['t0']);
  stage.pass(500);
  assert.equal(stage.cache.progress.lanes.telemetry.firstUnsettled, 1);
  stage.crash();
  stage.online(LOWERED);
  const released = stage.sent().filter(({ cmd }) => cmd === 'pubrel');
  assert.deepEqual(
    released.map(({ messageId }) => messageId),
    [packetIdOf('t0')],
  );
});

test('a message that is sent at QoS 0 now leaves its exchange behind, too', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.lose();
  stage.online({ sessionPresent: true, properties: { maximumQoS: 0 } });
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0', 'DISCONNECT']);
  assert.equal(stage.connect().clean, true);
});
