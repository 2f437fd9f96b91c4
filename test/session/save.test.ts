import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placeOf } from '../simulation/key.js';
import { Stage } from './stage.js';

const KEPT = { sessionPresent: true };

test('nothing is published before it is stored whose session it is, also when storing fails at first', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 2);
  stage.isHoldingSaves = true;
  stage.online();
  assert.deepEqual(stage.sentWords(), []);
  stage.store(false);
  stage.pass(999);
  assert.equal(stage.saves.length, 0, 'a failed save is not tried again at once');
  stage.pass(1);
  assert.deepEqual(stage.sentWords(), []);
  stage.store();
  stage.flush();
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0', 'PUBLISH t1']);
});

test('a PUBREL goes out only when its PUBREC is stored', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 2, { qos: 2 });
  stage.sent();
  stage.isHoldingSaves = true;
  stage.acknowledge('pubrec', ['t0']);
  stage.acknowledge('pubrec', ['t1']);
  assert.deepEqual(stage.sent(), []);
  stage.store();
  assert.deepEqual(stage.sentWords(), ['PUBREL t0']);
  stage.store();
  assert.deepEqual(stage.sentWords(), ['PUBREL t1']);
});

test('while nothing can be stored, saves are tried once a second, and all that was held back goes out afterwards', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 3, { qos: 2 });
  stage.sent();
  stage.isHoldingSaves = true;
  stage.acknowledge('pubrec', ['t0', 't1', 't2']);
  const { saveCount } = stage;
  for (let i = 0; i < 100; i++) {
    if (stage.saves.length > 0) stage.store(false);
    stage.pass(100);
  }
  assert.ok(stage.saveCount - saveCount <= 11, `${stage.saveCount - saveCount} tries in ten seconds`);
  assert.deepEqual(stage.sent(), []);
  stage.isHoldingSaves = false;
  stage.flush();
  stage.pass(1000);
  assert.deepEqual(stage.sentWords(), ['PUBREL t0', 'PUBREL t1', 'PUBREL t2']);
});

test('a quarantine that could not be stored is stored later, once, and reported then', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1);
  stage.isHoldingSaves = true;
  stage.acknowledge('puback', ['t0'], 0x99);
  stage.store(false);
  assert.equal(stage.reports('quarantined').length, 0);
  stage.isHoldingSaves = false;
  stage.pass(1000);
  assert.equal(stage.reports('quarantined').length, 1);
  assert.equal(stage.cache.quarantine.size, 1);
});

test('settlements at QoS 1 are stored together, within a tenth of a second', () => {
  const stage = new Stage({});
  stage.online();
  const { saveCount } = stage;
  for (let i = 0; i < 50; i++) {
    const [key] = stage.accept('telemetry', 1);
    stage.acknowledge('puback', [key ?? '']);
    stage.pass(1);
  }
  assert.equal(stage.saveCount, saveCount);
  stage.pass(50);
  assert.equal(stage.saveCount, saveCount + 1);
  assert.equal(stage.cache.progress.lanes.telemetry.firstUnsettled, 50);
});

test('so few settlements lag behind that a crash repeats no more than them and what is in flight', () => {
  const stage = new Stage({});
  stage.online();
  stage.isHoldingSaves = true;
  stage.accept('telemetry', 4000);
  let acknowledged = 0;
  let isAsked = false;
  for (let keys = stage.publishedKeys(); keys.length > 0 && !isAsked; keys = stage.publishedKeys()) {
    stage.acknowledge('puback', keys);
    acknowledged += keys.length;
    isAsked = stage.saves.length > 0;
  }
  assert.ok(isAsked && acknowledged <= 256 + 20, `${acknowledged} lag behind`);
});

test('nothing is sent beyond the stored bound, and the bound is raised before it is reached', () => {
  const stage = new Stage({});
  stage.online();
  stage.isHoldingSaves = true;
  stage.accept('telemetry', 10_000, { qos: 0 });
  const bound = stage.cache.progress.lanes.telemetry.boundOffset;
  assert.equal(stage.publishedKeys().length, bound);
  assert.equal(stage.saves.length, 1);
  stage.isHoldingSaves = false;
  stage.flush();
  assert.equal(stage.publishedKeys().length, 10_000 - bound);
});

test('an identifier is used again only when the settlement of its former message is stored', () => {
  const stage = new Stage({ inflightMax: 5 });
  stage.online();
  stage.accept('command', 3000);
  let last = '';
  for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
    last = keys.at(-1) ?? last;
    stage.acknowledge(
      'puback',
      keys.filter((key) => key !== 'c0'),
    );
  }
  assert.equal(last, 'c2046');
  stage.isHoldingSaves = true;
  stage.acknowledge('puback', ['c0']);
  assert.deepEqual(stage.publishedKeys(), []);
  stage.isHoldingSaves = false;
  stage.flush();
  assert.equal(stage.publishedKeys()[0], 'c2047');
});

test('what counts as sent after a crash is a few hundred messages more than were sent, unless many go out between saves', () => {
  const stage = new Stage({ inflightMax: 5 });
  stage.online();
  stage.accept('telemetry', 5000);
  const boundOf = (): number => stage.cache.progress.lanes.telemetry.boundOffset;
  assert.ok(boundOf() >= 256 && boundOf() <= 300, `the bound is ${boundOf()}`);
  for (let round = 0; round < 20; round++) {
    stage.acknowledge('puback', stage.publishedKeys());
    stage.pass(100);
  }
  assert.ok(boundOf() < 100 + 300, `the bound is ${boundOf()} after about 100`);
  stage.isHoldingSaves = true;
  let sent = 0;
  for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
    sent += keys.length;
    stage.acknowledge('puback', keys);
  }
  assert.ok(sent > 100, `only ${sent} went out while nothing could be stored`);
  stage.isHoldingSaves = false;
  stage.flush();
  assert.ok(boundOf() > 900, `the bound is ${boundOf()} after ${sent} between two saves`);
});

test('while the identifiers of a lane have come round to a message that waits for its retry, the disk is left in peace', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('command', 3000);
  let keys = stage.publishedKeys();
  stage.acknowledge('puback', ['c0'], 0x80);
  stage.acknowledge('puback', ['c0'], 0x80);
  keys = keys.filter((key) => key !== 'c0');
  while (keys.length > 0) {
    stage.acknowledge('puback', keys);
    keys = stage.publishedKeys();
  }
  const { saveCount } = stage;
  stage.pass(400);
  assert.ok(stage.saveCount - saveCount <= 1);
  stage.pass(200);
  assert.deepEqual(stage.publishedKeys(), ['c0']);
  stage.acknowledge('puback', ['c0']);
  assert.equal(stage.publishedKeys()[0], 'c2047');
});

test('a bound that lies further ahead than there are identifiers settles nothing that was not sent', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('command', 5000);
  stage.acknowledge('puback', ['c1', 'c2', 'c3']);
  stage.pass(1000);
  stage.crash();
  stage.online(KEPT);
  stage.acknowledge('puback', ['c4']);
  stage.pass(1000);
  const { firstUnsettled, settled } = stage.cache.progress.lanes.command;
  assert.equal(firstUnsettled, 0);
  assert.deepEqual(settled, [{ from: 1, to: 5 }]);
});

test('a PUBREC that is stored counts once, also when the bound lies further ahead than there are identifiers', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('command', 5000, { qos: 2 });
  stage.acknowledge('pubrec', ['c1']);
  stage.crash();
  stage.isHoldingReads = true;
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), ['PUBREL c1']);
  assert.equal(stage.session.inflight, 1);
});

test('tens of thousands of messages through each lane, with crashes, reuse identifiers without a mistake', () => {
  const stage = new Stage({});
  const counts = { command: 5000, alert: 14_000, telemetry: 66_000 };
  const delivered = new Set<string>();
  stage.online();
  for (const lane of ['telemetry', 'alert', 'command'] as const) {
    for (let i = 0; i < counts[lane]; i += 1000) stage.accept(lane, 1000);
  }
  let turns = 0;
  for (let keys = stage.publishedKeys(); ; keys = stage.publishedKeys()) {
    for (const key of keys) {
      const { lane, offset } = placeOf(key);
      assert.ok(!stage.cache.isSettled(lane, offset), `${key} is settled and sent again`);
      delivered.add(key);
    }
    turns++;
    if (turns % 1500 === 0) {
      stage.crash();
      stage.online(KEPT);
    } else if (keys.length === 0) break;
    else {
      stage.pass(1);
      // In pieces, and not in the order of sending.
      stage.acknowledge('puback', keys.slice(3));
      stage.acknowledge('puback', keys.slice(0, 3));
    }
  }
  assert.equal(delivered.size, 85_000);
  stage.pass(1000);
  for (const lane of ['telemetry', 'alert', 'command'] as const) {
    assert.equal(stage.cache.progress.lanes[lane].firstUnsettled, counts[lane]);
  }
});

test('what went out at QoS 0 stays settled when the walk through its lane goes back to a message that is tried again', () => {
  const stage = new Stage({ inflightMax: 1 });
  stage.online();
  stage.accept('telemetry', 1);
  stage.acknowledge('puback', ['t0'], 0x80);
  stage.accept('telemetry', 3, { qos: 0 });
  stage.accept('command', 1);
  stage.pass(200);
  assert.deepEqual(stage.cache.progress.lanes.telemetry.settled, [{ from: 1, to: 4 }]);
  // The command fills the window when t0 is due again, so that the walk stands before it.
  stage.pass(400);
  stage.lose();
  assert.deepEqual(stage.cache.progress.lanes.telemetry.settled, [{ from: 1, to: 4 }]);
});

test('when a connection ends, the bounds are stored as they are, so that a new process knows what was certainly not sent', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 3);
  stage.lose();
  stage.accept('telemetry', 2);
  assert.equal(stage.cache.progress.lanes.telemetry.boundOffset, 3);
  stage.crash();
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), [
    'PUBLISH t0 dup',
    'PUBLISH t1 dup',
    'PUBLISH t2 dup',
    'PUBLISH t3',
    'PUBLISH t4',
  ]);
});

test('a bound that is being lowered is kept to at once, although the connection is back before it is stored', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 2);
  stage.isHoldingSaves = true;
  stage.lose();
  stage.accept('telemetry', 2);
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup', 'PUBLISH t1 dup']);
  stage.store();
  assert.deepEqual(stage.sentWords(), []);
  stage.isHoldingSaves = false;
  stage.flush();
  assert.deepEqual(stage.sentWords(), ['PUBLISH t2', 'PUBLISH t3']);
});

test('a stop after a save that failed tries it again', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 2);
  stage.isHoldingSaves = true;
  stage.acknowledge('puback', ['t0', 't1']);
  stage.pass(200);
  stage.store(false);
  stage.session.drain(stage.nowMs, stage.wallMs);
  stage.flush();
  stage.wakeMs = undefined;
  stage.session.settleAccounts(stage.nowMs);
  stage.isHoldingSaves = false;
  stage.pass(2000);
  assert.equal(stage.cache.progress.lanes.telemetry.firstUnsettled, 2);
});
