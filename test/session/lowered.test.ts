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

test('a message that is never answered does not keep a session from being given up', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 2, { qos: 2 });
  stage.online();
  stage.lose();
  // The first one does not count, because something gets done on it.
  for (let i = 0; i < 4; i++) {
    stage.online(LOWERED);
    assert.deepEqual(stage.publishedKeys(), i === 0 ? ['t0', 't1'] : ['t1']);
    if (i === 0) stage.acknowledge('puback', ['t0']);
    stage.pass(600_000);
    assert.equal(stage.reports('ended').at(-1)?.error?.code, 'ACK_OVERDUE');
  }
  assert.equal(stage.connect().clean, true);
  assert.equal(stage.cache.quarantine.size, 0);
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

test('a PUBACK that comes before its message is sent again leaves the exchange behind, too', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.lose();
  stage.online(LOWERED);
  stage.lose();
  stage.connect();
  stage.answer(
    { cmd: 'connack', reasonCode: 0, ...LOWERED },
    { cmd: 'puback', messageId: packetIdOf('t0'), reasonCode: 0 },
  );
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), ['DISCONNECT']);
  assert.equal(stage.connect().clean, true);
});

test('a new process does not take a PUBACK before its message is sent again, because it may be one of QoS 2', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.crash();
  stage.connect();
  stage.answer(
    { cmd: 'connack', reasonCode: 0, ...LOWERED },
    { cmd: 'puback', messageId: packetIdOf('t0'), reasonCode: 0 },
  );
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup']);
});

test('a PUBACK of the lower QoS that comes when the broker takes QoS 2 again leaves the exchange behind', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.lose();
  stage.online(LOWERED);
  stage.lose();
  stage.online({ sessionPresent: true });
  stage.acknowledge('puback', ['t0']);
  stage.pass(500);
  assert.deepEqual(stage.reports('downgraded'), []);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup', 'DISCONNECT']);
});

test('a PUBREC of the exchange that began at QoS 2 is no breach when the message went out again at QoS 1', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.lose();
  stage.online(LOWERED);
  stage.acknowledge('pubrec', ['t0']);
  assert.equal(stage.session.state, 'online');
  stage.acknowledge('puback', ['t0']);
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup', 'DISCONNECT']);
});

test('a PUBREC of QoS 1 that was never sent at QoS 2 is a breach', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online({ properties: { maximumQoS: 1 } });
  stage.acknowledge('pubrec', ['t0']);
  assert.equal(stage.endCode(), 'BROKER_PROTOCOL');
});

test('what is left behind is not released when the broker asks for it', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 2, { qos: 2 });
  stage.online();
  stage.lose();
  stage.online(LOWERED);
  stage.acknowledge('puback', ['t0']);
  stage.sent();
  stage.acknowledge('pubrec', ['t0']);
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), []);
});

test('nobody is to blame when connections end while the session is to be given up', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 5, { qos: 2 });
  stage.online();
  stage.acknowledge('pubrec', ['t1', 't2', 't3', 't4']);
  stage.lose();
  for (let i = 0; i < 6; i++) {
    stage.online(LOWERED);
    if (i === 0) stage.acknowledge('puback', ['t0']);
    stage.pass(100);
    stage.answer({ cmd: 'disconnect', reasonCode: 0x8b });
  }
  stage.online(LOWERED);
  stage.acknowledge('pubcomp', ['t1', 't2', 't3', 't4']);
  stage.pass(500);
  assert.equal(stage.cache.quarantine.size, 0);
  assert.equal(stage.sentWords().at(-1), 'DISCONNECT');
});

test('a session in which a part of an older one waits is given up, too, when a refused message finds no room', () => {
  const stage = new Stage({});
  const end = (): void => {
    stage.session.close(stage.nowMs, stage.wallMs);
    stage.flush();
  };
  stage.accept('telemetry', 18, { qos: 2 });
  stage.online();
  end();
  // The session is lost, and only a part of what is in doubt goes out in the new one.
  stage.online({ properties: { receiveMaximum: 10 } });
  end();
  stage.online({ sessionPresent: true, properties: { maximumQoS: 1, receiveMaximum: 10 } });
  stage.acknowledge('puback', ['t2'], 0x97);
  stage.pass(600);
  for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
    stage.acknowledge(
      'puback',
      keys.filter((key) => key !== 't2'),
    );
  }
  stage.pass(1000);
  assert.equal(stage.session.state, 'offline');
  assert.equal(stage.connect().clean, true);
});

test('after a crash, a message whose identifier is taken by an open exchange is not taken for one that was sent', () => {
  const stage = new Stage({});
  stage.accept('command', 2300, { qos: 2 });
  stage.online();
  // The first one hangs; the others go on.
  for (;;) {
    const keys = stage.publishedKeys().filter((key) => key !== 'c0' && Number(key.slice(1)) < 1900);
    if (keys.length === 0) break;
    stage.acknowledge('pubrec', keys);
    stage.acknowledge('pubcomp', keys);
  }
  stage.pass(200);
  stage.lose();
  stage.online(LOWERED);
  stage.acknowledge('puback', ['c0']);
  stage.pass(200);
  stage.crash();
  // Its PUBREL is not answered, and the session is to be given up for another one that was lowered.
  stage.online(LOWERED);
  const [first = ''] = stage.publishedKeys();
  stage.acknowledge('puback', [first]);
  stage.session.close(stage.nowMs, stage.wallMs);
  stage.flush();
  stage.online(LOWERED);
  for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys())
    stage.acknowledge('puback', keys);
  stage.pass(5000);
  assert.equal(stage.session.state, 'offline');
  assert.equal(stage.connect().clean, true);
});

test('an identifier is as good as new for the next message that has it', () => {
  const stage = new Stage({});
  stage.accept('command', 2047, { qos: 2 });
  stage.online();
  for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
    stage.acknowledge('pubrec', keys);
    stage.acknowledge('pubcomp', keys);
    stage.pass(200);
  }
  stage.lose();
  stage.online(LOWERED);
  stage.accept('command', 1, { qos: 2 });
  assert.equal(packetIdOf('c2047'), packetIdOf('c0'));
  stage.acknowledge('puback', ['c2047']);
  stage.pass(500);
  assert.equal(stage.session.state, 'online');
});

test('a session that the broker has lost holds nothing', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.lose();
  stage.online({ properties: { maximumQoS: 1 } });
  stage.acknowledge('puback', ['t0']);
  stage.pass(500);
  assert.equal(stage.session.state, 'online');
});

test('what a former process had released and the broker cannot bear may be delivered, and its reason says so', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.acknowledge('pubrec', ['t0']);
  stage.crash();
  for (let i = 0; i < 20 && stage.cache.quarantine.size === 0; i++) {
    stage.online({ sessionPresent: true });
    stage.pass(2000);
    stage.lose(new NorthError('BROKER_CLOSED', 'The broker has closed the connection.'));
  }
  assert.match(stage.cache.quarantine.get('t0')?.reason ?? '', /The broker may have it/);
});

test('what a former process had sent and cannot be read any more may be delivered, too', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 2, { qos: 2 });
  stage.online();
  const [batch] = stage.cache.read('telemetry', 0, 1);
  assert.ok(batch !== undefined);
  // The size of the first record says more than there is.
  batch.data.fill(0xff, 0, 4);
  stage.crash();
  stage.online({ sessionPresent: true });
  stage.pass(200);
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t0', 't1']);
  assert.match(stage.cache.quarantine.get('t0')?.reason ?? '', /The broker may have it/);
  assert.deepEqual(
    stage.sent().map(({ cmd, messageId }) => [cmd, messageId]),
    [
      ['pubrel', packetIdOf('t0')],
      ['pubrel', packetIdOf('t1')],
    ],
  );
});

test('a refusal at the lower QoS does not end the exchange of QoS 2', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.lose();
  stage.online(LOWERED);
  stage.acknowledge('puback', ['t0'], 0x97);
  stage.pass(5000);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup', 'PUBLISH t0']);
  stage.acknowledge('puback', ['t0']);
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), ['DISCONNECT']);
});
