import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NorthError } from '../../src/core/error.js';
import { packetIdOf } from '../simulation/key.js';
import { Stage } from './stage.js';

const KEPT = { sessionPresent: true };

/** Five messages of QoS 2: t0 is complete, t1 and t2 are released, t3 has its PUBREC, t4 and the command have none. */
function interrupted(): Stage {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 5, { qos: 2 });
  stage.accept('command', 1, { qos: 2 });
  stage.acknowledge('pubrec', ['t0', 't2', 't1']);
  stage.acknowledge('pubcomp', ['t0']);
  stage.acknowledge('pubrec', ['t3']);
  return stage;
}

test('with its session kept, first the PUBRELs go out in the order of the PUBRECs, then what may have been sent, with DUP', () => {
  const stage = interrupted();
  stage.lose();
  stage.accept('telemetry', 1, { qos: 2 });
  stage.accept('command', 1, { qos: 2 });
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), [
    'PUBREL t2',
    'PUBREL t1',
    'PUBREL t3',
    'PUBLISH c0 dup',
    'PUBLISH t4 dup',
    'PUBLISH c1',
    'PUBLISH t5',
  ]);
  assert.equal(stage.session.countsOf('telemetry').possibleDuplicates, 0);
});

test('a new process does the same from what is stored', () => {
  const stage = interrupted();
  stage.crash();
  stage.online(KEPT);
  const words = stage.sentWords();
  assert.deepEqual(words.slice(0, 3), ['PUBREL t2', 'PUBREL t1', 'PUBREL t3']);
  assert.deepEqual(words.slice(3), ['PUBLISH c0 dup', 'PUBLISH t4 dup']);
});

test('with its session lost, all that is not complete is sent as new, without DUP, and counted as a possible duplicate', () => {
  for (const isNewProcess of [false, true]) {
    const stage = interrupted();
    if (isNewProcess) stage.crash();
    else stage.lose();
    stage.online();
    assert.deepEqual(stage.sentWords(), ['PUBLISH c0', 'PUBLISH t1', 'PUBLISH t2', 'PUBLISH t3', 'PUBLISH t4']);
    assert.equal(stage.session.countsOf('telemetry').possibleDuplicates, 4);
    assert.equal(stage.session.countsOf('command').possibleDuplicates, 1);
    assert.ok(stage.reports('granted').at(-1)?.isSessionLost);
    stage.acknowledge('pubrec', ['t1']);
    assert.deepEqual(stage.cache.progress.received, [{ lane: 'telemetry', from: 1, to: 2 }]);
  }
});

test('what was not sent again before the next connection ended goes out there for the first time, without DUP, and counts', () => {
  const stage = new Stage({ inflightMax: 2 });
  stage.online();
  stage.accept('telemetry', 4, { qos: 1 });
  stage.acknowledge('puback', ['t0', 't1']);
  stage.lose();
  stage.isHoldingReads = true;
  stage.online();
  stage.lose();
  stage.isHoldingReads = false;
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t2', 'PUBLISH t3']);
  assert.equal(stage.session.countsOf('telemetry').possibleDuplicates, 2);
  stage.lose(new NorthError('CLIENT_ID_TAKEN', 'Another client came.'));
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t2 dup', 'PUBLISH t3 dup']);
  assert.equal(stage.session.countsOf('telemetry').possibleDuplicates, 2);
});

test('a re-send has the same bytes but for DUP, although less of the life of the message is left', () => {
  const stage = new Stage({ messageIdProperty: 'id' });
  stage.online();
  stage.accept('telemetry', 1, { qos: 2, expirySeconds: 100, properties: { contentType: 'text/plain' } });
  const [first] = stage.published();
  stage.pass(20_000);
  stage.lose();
  stage.online(KEPT);
  const [again] = stage.published();
  assert.equal(first?.properties?.messageExpiryInterval, 100);
  assert.equal(JSON.stringify({ ...again, dup: false }), JSON.stringify({ ...first }));
  assert.equal(again?.dup, true);
});

test('what may have been sent is sent again however old it is, and what was certainly not is dropped when it has expired', () => {
  const stage = new Stage({ inflightMax: 1 });
  stage.online();
  stage.accept('telemetry', 3, { expirySeconds: 10 });
  assert.deepEqual(stage.publishedKeys(), ['t0']);
  stage.lose();
  stage.pass(20_000);
  stage.online(KEPT);
  const [again] = stage.published();
  assert.equal(again?.dup, true);
  stage.acknowledge('puback', ['t0']);
  assert.deepEqual(stage.publishedKeys(), []);
  assert.equal(stage.session.countsOf('telemetry').dropped, 2);
  assert.equal(stage.session.cursorOf('telemetry').head, 3);
});

test('commands that were accepted while nothing was connected still expire after a crash', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('command', 2);
  stage.acknowledge('puback', ['c0', 'c1']);
  stage.lose();
  stage.accept('command', 3, { expirySeconds: 10 });
  stage.crash();
  stage.pass(60_000);
  stage.online(KEPT);
  assert.deepEqual(stage.publishedKeys(), []);
  assert.equal(stage.session.countsOf('command').dropped, 3);
});

test('nothing new of a higher lane goes out before all that the broker may hold has been sent again', () => {
  const stage = new Stage({});
  stage.online({ properties: { receiveMaximum: 6 } });
  stage.accept('telemetry', 3, { qos: 2 });
  stage.lose();
  stage.accept('command', 10, { qos: 2 });
  stage.isHoldingReads = true;
  stage.online({ ...KEPT, properties: { receiveMaximum: 6 } });
  assert.deepEqual(stage.sentWords(), []);
  stage.isHoldingReads = false;
  stage.flush();
  const again = ['PUBLISH t0 dup', 'PUBLISH t1 dup', 'PUBLISH t2 dup'];
  assert.deepEqual(stage.sentWords(), [...again, 'PUBLISH c0', 'PUBLISH c1']);
});

test('a new process sends nothing new either before that, and what the broker may hold one at a time', () => {
  const stage = new Stage({});
  stage.online({ properties: { receiveMaximum: 6 } });
  stage.accept('telemetry', 3, { qos: 2 });
  stage.crash();
  stage.accept('command', 10, { qos: 2 });
  stage.online({ ...KEPT, properties: { receiveMaximum: 6 } });
  for (const key of ['t0', 't1']) {
    assert.deepEqual(stage.sentWords().at(-1), `PUBLISH ${key} dup`);
    stage.acknowledge('pubrec', [key]);
    stage.acknowledge('pubcomp', [key]);
  }
  assert.deepEqual(stage.sentWords().slice(0, 4), ['PUBREL t1', 'PUBLISH t2 dup', 'PUBLISH c0', 'PUBLISH c1']);
});

test('after a crash the lanes are sent again one after the other, also when the batches of one come late', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('command', 1, { qos: 2 });
  stage.accept('telemetry', 2, { qos: 2 });
  stage.crash();
  stage.isHoldingReads = true;
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), []);
  stage.isHoldingReads = false;
  stage.flush();
  assert.deepEqual(stage.sentWords(), ['PUBLISH c0 dup', 'PUBLISH t0 dup', 'PUBLISH t1 dup']);
});

test('all that was in flight in several lanes finds room again at once', () => {
  const stage = new Stage({ inflightMax: 6 });
  stage.online();
  stage.accept('telemetry', 10, { qos: 2 });
  stage.accept('alert', 10, { qos: 2 });
  stage.accept('command', 10, { qos: 2 });
  const sent = stage.publishedKeys();
  assert.equal(sent.length, 6);
  stage.lose();
  stage.online(KEPT);
  assert.deepEqual(
    stage
      .published()
      .filter(({ dup }) => dup)
      .map(({ messageId }) => messageId)
      .sort(),
    sent.map(packetIdOf).sort(),
  );
});

test('a new process whose re-sends are too much for the broker sends them one at a time', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 5, { qos: 2 });
  stage.crash();
  stage.online(KEPT);
  assert.equal(stage.publishedKeys().length, 5);
  stage.answer({ cmd: 'disconnect', reasonCode: 0x93 });
  stage.online(KEPT);
  assert.deepEqual(stage.publishedKeys(), ['t0']);
  stage.acknowledge('pubrec', ['t0']);
  assert.deepEqual(stage.sentWords(), ['PUBREL t0']);
  stage.acknowledge('pubcomp', ['t0']);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t1 dup']);
});

test('a PUBREC that comes before its message is sent again is not answered, because the re-send will be', () => {
  const stage = new Stage({ inflightMax: 3 });
  stage.online();
  stage.accept('telemetry', 2, { qos: 2 });
  stage.lose();
  stage.isHoldingReads = true;
  stage.online(KEPT);
  stage.acknowledge('pubrec', ['t1']);
  assert.deepEqual(stage.sentWords(), []);
  stage.isHoldingReads = false;
  stage.flush();
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup', 'PUBLISH t1 dup']);
  stage.acknowledge('pubrec', ['t0', 't1']);
  assert.deepEqual(stage.sentWords(), ['PUBREL t0', 'PUBREL t1']);
});

test('a PUBACK that comes before its message is sent again settles it', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 3);
  stage.lose();
  stage.isHoldingReads = true;
  stage.online(KEPT);
  stage.acknowledge('puback', ['t1']);
  stage.isHoldingReads = false;
  stage.flush();
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup', 'PUBLISH t2 dup']);
});

test('"packet identifier in use" in answer to a re-send says that the broker has the message', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1, { qos: 2 });
  stage.lose();
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup']);
  stage.acknowledge('pubrec', ['t0'], 0x91);
  assert.deepEqual(stage.sentWords(), ['PUBREL t0']);
  stage.acknowledge('pubcomp', ['t0']);
  assert.equal(stage.session.countsOf('telemetry').published, 1);
});

test('PUBRELs count against the Receive Maximum of the new connection until their PUBCOMP', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 12, { qos: 2 });
  const sent = stage.publishedKeys();
  stage.acknowledge('pubrec', sent.slice(0, 4));
  stage.lose();
  stage.online({ ...KEPT, properties: { receiveMaximum: 3 } });
  assert.deepEqual(stage.sentWords(), ['PUBREL t0', 'PUBREL t1', 'PUBREL t2', 'PUBREL t3']);
  stage.acknowledge('pubcomp', ['t0', 't1']);
  assert.deepEqual(stage.sentWords(), []);
  stage.acknowledge('pubcomp', ['t2']);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t4 dup']);
});

test('an identifier that the broker has forgotten at PUBCOMP is complete', () => {
  const stage = interrupted();
  stage.lose();
  stage.online(KEPT);
  stage.acknowledge('pubcomp', ['t2', 't1', 't3'], 0x92);
  assert.equal(stage.session.cursorOf('telemetry').head, 4);
});

test('PUBRECs that were on their way to the disk when a short session ended do not mix up the order of the next PUBRELs', () => {
  const stage = new Stage({ persistent: false });
  stage.online();
  stage.accept('telemetry', 2, { qos: 2 });
  stage.isHoldingSaves = true;
  stage.acknowledge('pubrec', ['t1']);
  stage.lose();
  stage.online();
  stage.acknowledge('pubrec', ['t0', 't1']);
  stage.sent();
  stage.isHoldingSaves = false;
  stage.flush();
  assert.deepEqual(stage.sentWords(), ['PUBREL t0', 'PUBREL t1']);
});
