import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NorthError } from '../../src/core/error.js';
import { type Key, packetIdOf } from '../simulation/key.js';
import { Stage } from './stage.js';

/** Answers everything, but closes when it sees one of these. Gives how many connections it took until all went through. */
function playAgainst(stage: Stage, poison: readonly Key[], connections: number): Map<Key, number> {
  const delivered = new Map<Key, number>();
  for (let i = 0; i < connections; i++) {
    stage.online({ sessionPresent: i > 0 });
    // A connection that looks for the culprit is quiet at first.
    if (stage.session.narrowedTo === 1) stage.pass(1000);
    for (let isOpen = true; isOpen; ) {
      const keys = stage.publishedKeys();
      if (keys.length === 0) return delivered;
      const good = [...keys];
      const at = keys.findIndex((key) => poison.includes(key));
      if (at >= 0) good.length = at;
      for (const key of good) delivered.set(key, (delivered.get(key) ?? 0) + 1);
      isOpen = at < 0;
      if (isOpen) stage.acknowledge('puback', good);
    }
    stage.lose();
  }
  return delivered;
}

test('a message that makes the broker close is in quarantine after a few connections; the others arrive, and the window is wide again', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.accept('telemetry', 200);
  stage.accept('alert', 3);
  const delivered = playAgainst(stage, ['t57'], 12);
  assert.equal(stage.cache.quarantine.get('t57')?.code, 'PUBLISH_POISONOUS');
  assert.equal(stage.cache.quarantine.size, 1);
  assert.equal(delivered.size, 202);
  assert.equal(stage.session.state, 'online');
  assert.ok(stage.session.window >= 20);
  assert.ok(stage.reports('narrowed').some(({ window }) => window === 1));
});

test('two messages that make the broker close are both found, also when one follows the other', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.accept('telemetry', 60);
  const delivered = playAgainst(stage, ['t20', 't21'], 30);
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t20', 't21']);
  assert.equal(delivered.size, 58);
});

test('a message is found that makes the broker close at QoS 2 among messages that are released', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.accept('telemetry', 5, { qos: 2 });
  stage.online();
  stage.acknowledge('pubrec', ['t0', 't1']);
  for (let i = 0; i < 10 && !stage.cache.quarantine.has('t3'); i++) {
    stage.lose();
    stage.online({ sessionPresent: true });
    stage.pass(1000);
    for (const packet of stage.sent()) {
      if (packet.cmd === 'pubrel') stage.answer({ cmd: 'pubcomp', messageId: packet.messageId ?? 0 });
      else if (packet.cmd === 'publish') {
        if (packet.messageId === packetIdOf('t3')) break;
        stage.answer({ cmd: 'pubrec', messageId: packet.messageId ?? 0 });
      }
    }
  }
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t3']);
});

test('connections that die for reasons of their own narrow nothing', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 50);
  for (let i = 0; i < 6; i++) {
    stage.online({ sessionPresent: i > 0 });
    stage.lose(new NorthError('CLIENT_ID_TAKEN', 'It ended.'));
  }
  assert.equal(stage.reports('narrowed').length, 0);
  assert.equal(stage.cache.quarantine.size, 0);
});

test('a message that is never answered while later ones are goes to quarantine after three connections, and none waits for it', () => {
  const stage = new Stage({ ackTimeoutMs: 10_000 });
  stage.online();
  stage.accept('telemetry', 1, { qos: 2 });
  for (let i = 0; i < 3; i++) {
    assert.equal(stage.cache.quarantine.size, 0);
    const [key] = stage.accept('telemetry', 1);
    stage.acknowledge('puback', [key ?? '']);
    stage.pass(10_000);
    assert.equal(stage.endCode(), 'ACK_OVERDUE');
    stage.online({ sessionPresent: true });
  }
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t0']);
  assert.equal(stage.session.countsOf('telemetry').published, 3);
});

test('a broker that answers nothing at all sends nothing to quarantine, however often it is tried', () => {
  const stage = new Stage({ ackTimeoutMs: 10_000 });
  stage.accept('telemetry', 30);
  for (let i = 0; i < 20; i++) {
    stage.online({ sessionPresent: i > 0 });
    if (i === 3) stage.acknowledge('puback', ['t0', 't1']);
    stage.pass(700_000);
    assert.equal(stage.session.state, 'offline');
  }
  assert.equal(stage.cache.quarantine.size, 0);
  stage.online({ sessionPresent: true });
  assert.ok(stage.publishedKeys().length > 10, 'the window is not narrow');
});

test('a narrow window is given up when the broker does not answer in it, because it may wait for the others', () => {
  const stage = new Stage({ ackTimeoutMs: 10_000 });
  stage.accept('telemetry', 10);
  for (let i = 0; i < 3; i++) {
    stage.online({ sessionPresent: i > 0 });
    stage.lose();
  }
  stage.online({ sessionPresent: true });
  assert.equal(stage.session.window, 1);
  stage.pass(11_000);
  assert.equal(stage.endCode(), 'ACK_OVERDUE');
  stage.online({ sessionPresent: true });
  assert.equal(stage.session.window, 20);
});

test('a connection that dies before the suspect is sent speaks for the suspect', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.accept('telemetry', 5);
  for (let i = 0; i < 40; i++) {
    stage.online({ sessionPresent: i > 0 });
    // Somebody throws us out again and again, before anything was answered.
    stage.pass(600);
    stage.lose();
  }
  assert.equal(stage.cache.quarantine.size, 0);
  stage.online({ sessionPresent: true });
  stage.pass(1000);
  for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys())
    stage.acknowledge('puback', keys);
  assert.equal(stage.session.inflight, 0);
});

test('a 3.1.1 broker that closes at every message of QoS 2 is named, and few messages go to quarantine for it', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.accept('telemetry', 30, { qos: 2 });
  for (let i = 0; i < 200; i++) {
    stage.online({ sessionPresent: i > 0 });
    stage.pass(2000);
    if (i < 20) assert.equal(stage.cache.quarantine.size, 0);
    stage.lose();
  }
  assert.ok(stage.reports('qos2Refused').length > 0);
  assert.ok(stage.cache.quarantine.size <= 3, `${stage.cache.quarantine.size} are in quarantine`);
  assert.equal(stage.session.isQos2Proven, false);
});
