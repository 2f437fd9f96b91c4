/** QoS 2 exchanges that end otherwise than they should: at their PUBREL, in another process, or with another broker. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Key, keyIn, packetIdOf } from '../simulation/key.js';
import { Stage } from './stage.js';

const KEPT = { sessionPresent: true };

/** Quarantines c0 at QoS 2: the broker closes at it again and again, and may hold it. */
function condemnFirstCommand(stage: Stage): void {
  // That it takes QoS 2 at all is known.
  stage.online();
  stage.accept('telemetry', 1, { qos: 2 });
  stage.acknowledge('pubrec', ['t0']);
  stage.acknowledge('pubcomp', ['t0']);
  stage.lose();
  stage.accept('command', 1, { qos: 2 });
  for (let i = 0; i < 12 && stage.cache.quarantine.size === 0; i++) {
    stage.online(KEPT);
    stage.pass(1000);
    stage.lose();
  }
  assert.deepEqual([...stage.cache.quarantine.keys()], ['c0']);
}

/** Passes so many commands, and gives the words of what was sent before the identifier of c0 was used again. */
function untilIdentifierIsUsed(stage: Stage): string[] {
  const before: string[] = [];
  stage.accept('command', 2047, { qos: 1 });
  for (let turn = 0; turn < 5000; turn++) {
    const keys: Key[] = [];
    for (const packet of stage.sent()) {
      if (packet.cmd === 'pubrel') before.push(`PUBREL ${packet.messageId}`);
      if (packet.cmd !== 'publish') continue;
      if (packet.messageId === packetIdOf('c0')) return before;
      keys.push(packet.payload.toString().split('|')[0] ?? '');
    }
    if (keys.length > 0) stage.acknowledge('puback', keys);
    else stage.pass(1000);
  }
  return assert.fail('The identifier was never used again.');
}

test('an exchange that a quarantined message left open is ended after a crash, too, before its identifier is used', () => {
  const stage = new Stage({ protocolVersion: 4 });
  condemnFirstCommand(stage);
  assert.match([...stage.cache.quarantine.values()][0]?.reason ?? '', /may be delivered all the same/);
  assert.deepEqual(stage.cache.progress.received, [{ lane: 'command', from: 0, to: 1 }]);
  stage.crash();
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), [`PUBREL ${packetIdOf('c0')}`]);
  stage.acknowledge('pubcomp', ['c0']);
  stage.pass(200);
  assert.deepEqual(stage.cache.progress.received, []);
  assert.deepEqual(untilIdentifierIsUsed(stage), []);
});

test('the identifier of such an exchange is not used before its end is stored', () => {
  const stage = new Stage({ protocolVersion: 4 });
  condemnFirstCommand(stage);
  stage.online(KEPT);
  stage.accept('command', 2046, { qos: 1 });
  for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
    stage.acknowledge('puback', keys);
    stage.pass(1);
  }
  stage.pass(200);
  stage.isHoldingSaves = true;
  stage.accept('command', 1, { qos: 1 });
  stage.acknowledge('pubcomp', ['c0']);
  stage.pass(1000);
  assert.deepEqual(stage.publishedKeys(), []);
  stage.isHoldingSaves = false;
  stage.flush();
  assert.deepEqual(stage.publishedKeys(), ['c2047']);
});

test('a broker that cannot bear the PUBREL of such an exchange, either, gets a new session when nothing is in flight', () => {
  for (const protocolVersion of [4, 5] as const) {
    const stage = new Stage({ protocolVersion });
    condemnFirstCommand(stage);
    stage.accept('telemetry', 3, { qos: 2 });
    let connections = 0;
    for (let isClean = false; !isClean; connections++) {
      assert.ok(connections < 20, 'it goes on for ever');
      isClean = stage.connect().clean === true;
      stage.answer({ cmd: 'connack', sessionPresent: !isClean, reasonCode: 0, returnCode: 0 });
      stage.pass(2000);
      for (let words = stage.sentWords(); words.length > 0; words = stage.sentWords()) {
        if (words.includes(`PUBREL ${packetIdOf('c0')}`)) {
          stage.lose();
          break;
        }
        for (const word of words.filter((one) => one.startsWith('PUBLISH'))) {
          const key = word.split(' ')[1] ?? '';
          stage.acknowledge('pubrec', [key]);
          stage.acknowledge('pubcomp', [key]);
        }
      }
    }
    stage.online();
    stage.pass(1000);
    assert.equal(stage.session.state, 'online');
    assert.deepEqual([...stage.cache.quarantine.keys()], ['c0']);
    assert.deepEqual(untilIdentifierIsUsed(stage), []);
    assert.equal(stage.session.countsOf('command').possibleDuplicates, 0);
  }
});

test('a message whose PUBREL makes the broker close is found, and the others arrive', () => {
  for (const protocolVersion of [4, 5] as const) {
    const stage = new Stage({ protocolVersion });
    stage.accept('telemetry', 5, { qos: 2 });
    stage.online();
    stage.acknowledge('pubrec', ['t0', 't1', 't2', 't3', 't4']);
    const done = new Set<Key>();
    let isKept = true;
    for (let connection = 0; connection < 40 && done.size < 4; connection++) {
      if (stage.session.state !== 'offline') stage.lose();
      const isClean = stage.connect().clean === true;
      stage.answer({ cmd: 'connack', sessionPresent: isKept && !isClean, reasonCode: 0, returnCode: 0 });
      isKept = !isClean;
      stage.pass(1500);
      for (let words = stage.sentWords(); words.length > 0; words = stage.sentWords()) {
        if (words.includes('PUBREL t2')) break;
        for (const word of words) {
          const [name, key = ''] = word.split(' ');
          if (name !== 'PUBREL') continue;
          done.add(key);
          stage.acknowledge('pubcomp', [key]);
        }
        stage.pass(100);
      }
    }
    assert.deepEqual([...done].sort(), ['t0', 't1', 't3', 't4']);
    const [key, entry] = [...stage.cache.quarantine][0] ?? [];
    assert.equal(key, 't2');
    assert.equal(entry?.code, 'PUBLISH_POISONOUS');
    assert.match(entry?.reason ?? '', /may be delivered all the same/);
    assert.equal(stage.cache.quarantine.size, 1);
  }
});

test('a PUBCOMP ends the exchange whatever its code is', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.acknowledge('pubrec', ['t0']);
  stage.acknowledge('pubcomp', ['t0'], 0x80);
  stage.pass(200);
  assert.equal(stage.cache.progress.lanes.telemetry.firstUnsettled, 1);
});

test('a message whose PUBREL is never answered while others are goes to quarantine and stops nothing', () => {
  const stage = new Stage({ ackTimeoutMs: 1000 });
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.acknowledge('pubrec', ['t0']);
  for (let connection = 0; connection < 10 && stage.cache.quarantine.size === 0; connection++) {
    stage.pass(10);
    const [key = ''] = stage.accept('telemetry', 1, { qos: 1 });
    stage.acknowledge('puback', [key]);
    stage.pass(5000);
    assert.equal(stage.endCode(), 'ACK_OVERDUE');
    stage.online(KEPT);
  }
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t0']);
});

test('messages of QoS 1 that overtake those of QoS 2 do not make them look as if they were never answered', () => {
  const stage = new Stage({ ackTimeoutMs: 1000 });
  const keys = stage.accept('telemetry', 8, { qos: 2 });
  stage.online();
  // One exchange at a time, each of which takes its time, as the line is slow.
  for (const key of keys) {
    const [fast = ''] = stage.accept('telemetry', 1, { qos: 1 });
    stage.pass(400);
    stage.acknowledge('puback', [fast]);
    stage.acknowledge('pubrec', [key]);
    stage.acknowledge('pubcomp', [key]);
  }
  assert.equal(stage.endCode(), undefined);
  stage.pass(200);
  assert.equal(stage.cache.progress.lanes.telemetry.firstUnsettled, 16);
});

test('of messages of QoS 2 of which none is answered any more, while others are, only the first is to blame', () => {
  const stage = new Stage({ ackTimeoutMs: 1000 });
  stage.accept('telemetry', 3, { qos: 2 });
  stage.online();
  for (let connection = 0; connection < 10 && stage.cache.quarantine.size === 0; connection++) {
    stage.pass(10);
    const [key = ''] = stage.accept('telemetry', 1, { qos: 1 });
    stage.acknowledge('puback', [key]);
    stage.pass(5000);
    assert.equal(stage.endCode(), 'ACK_OVERDUE');
    stage.online(KEPT);
  }
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t0']);
  stage.acknowledge('pubrec', ['t1', 't2']);
  stage.acknowledge('pubcomp', ['t1', 't2']);
  stage.pass(200);
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t0']);
});

test('a PUBREL that is never answered is noticed among messages of QoS 1 and 2 that are', () => {
  const stage = new Stage({ ackTimeoutMs: 1000 });
  stage.accept('command', 1, { qos: 2 });
  stage.online();
  stage.acknowledge('pubrec', ['c0']);
  stage.sent();
  for (let round = 0; round < 100 && stage.endCode() === undefined; round++) {
    const [slow = ''] = stage.accept('telemetry', 1, { qos: 2 });
    const [fast = ''] = stage.accept('telemetry', 1, { qos: 1 });
    stage.pass(250);
    stage.acknowledge('puback', [fast]);
    stage.acknowledge('pubrec', [slow]);
    stage.acknowledge('pubcomp', [slow]);
  }
  assert.equal(stage.endCode(), 'ACK_OVERDUE');
});

function acknowledgeQos1(stage: Stage): void {
  const packets = stage.published().filter(({ qos }) => qos === 1);
  stage.acknowledge(
    'puback',
    packets.map(({ payload }) => keyIn(Buffer.from(payload))),
  );
}

test('a disk of ours that hangs makes no message guilty at a broker that takes one of QoS 2 at a time', () => {
  const stage = new Stage({ ackTimeoutMs: 1000 });
  stage.accept('telemetry', 3, { qos: 2 });
  stage.online();
  stage.isHoldingSaves = true;
  stage.acknowledge('pubrec', ['t0']);
  for (let turn = 0; turn < 150; turn++) {
    if (stage.session.state === 'offline') stage.online(KEPT);
    stage.accept('alert', 1);
    acknowledgeQos1(stage);
    stage.pass(400);
  }
  stage.isHoldingSaves = false;
  stage.flush();
  assert.equal(stage.cache.quarantine.size, 0);
  const ends = stage.reports('ended').length;
  assert.ok(ends <= 20, `${ends} connections were given up in a minute`);
});

test('a broker that answers no QoS 2 for an hour, but QoS 1, sends few messages to quarantine', () => {
  const stage = new Stage({});
  for (let second = 0; second < 3600; second++) {
    if (stage.session.state === 'offline') stage.online({ sessionPresent: second > 0 });
    stage.accept('alert', 1);
    if (second % 120 === 0) stage.accept('telemetry', 1, { qos: 2 });
    acknowledgeQos1(stage);
    stage.pass(1000);
  }
  const { size } = stage.cache.quarantine;
  assert.ok(size >= 2 && size <= 6, `${size} of 30 are in quarantine`);
});

test('a message of QoS 2 is not to blame for a connection that is given up while others before it are still answered', () => {
  const stage = new Stage({ ackTimeoutMs: 1000 });
  stage.accept('alert', 1, { qos: 2 });
  // Sent again on the connection after the next, each goes out before the alert.
  const helpers = ['c0', 'c1', 'c2'];
  for (const [i, key] of helpers.entries()) {
    for (const cmd of ['pubrec', 'pubcomp'] as const) {
      if (cmd === 'pubrec') stage.accept('command', 1, { qos: 2 });
      stage.accept('telemetry', 1);
      stage.online({ sessionPresent: i > 0 || cmd === 'pubcomp' });
      stage.pass(100);
      const [fast = ''] = stage.accept('telemetry', 1);
      stage.acknowledge('puback', [fast]);
      stage.pass(800);
      stage.acknowledge(cmd, [key]);
      stage.pass(200);
      // A message of QoS 1 is never answered.
      assert.equal(stage.endCode(), 'ACK_OVERDUE');
    }
  }
  assert.deepEqual(
    [...stage.cache.quarantine.keys()].filter((key) => !key.startsWith('t')),
    [],
  );
  assert.equal(stage.cache.progress.lanes.command.firstUnsettled, 3);
  assert.equal(stage.cache.progress.lanes.alert.firstUnsettled, 0);
});

test('a QoS 1 message that is refused when it is to be sent again has no exchange that a PUBREL would end', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 1, payload: Buffer.alloc(500) });
  stage.online();
  stage.lose();
  for (let i = 0; i < 3; i++) {
    stage.online({ ...KEPT, properties: { maximumPacketSize: 100 } });
    stage.pass(200);
    assert.deepEqual(stage.sentWords(), []);
    stage.lose();
  }
  assert.deepEqual(
    [...stage.cache.quarantine.values()].map(({ code }) => code),
    ['PUBLISH_TOO_LARGE'],
  );
});

test('a late PUBREC of a message on its way to quarantine is answered when it is there', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 1, { qos: 2, payload: Buffer.alloc(500) });
  stage.online();
  stage.lose();
  stage.isHoldingSaves = true;
  stage.online({ ...KEPT, properties: { maximumPacketSize: 100 } });
  while (stage.cache.quarantine.size === 0) {
    stage.answer({ cmd: 'pubrec', messageId: packetIdOf('t0'), reasonCode: 0 });
    assert.deepEqual(stage.sentWords(), []);
    stage.store();
  }
  stage.isHoldingSaves = false;
  stage.pass(200);
  assert.deepEqual(stage.sentWords(), [`PUBREL ${packetIdOf('t0')}`]);
});

test('two brokers that keep their sessions: what is known of the one is never told to the other', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 2, { qos: 2 });
  stage.online({}, 'A');
  stage.acknowledge('pubrec', ['t0']);
  stage.sent();
  stage.lose();
  stage.pass(200);
  stage.isHoldingSaves = true;
  stage.online({}, 'B');
  assert.deepEqual(stage.sent(), [], 'nothing is published before it is stored whose session it is');
  stage.store(false);
  stage.lose();
  stage.isHoldingSaves = false;
  // The session in A is not the one that the slots speak of any more.
  stage.connect('A');
  stage.answer({ cmd: 'connack', sessionPresent: true, reasonCode: 0 });
  stage.pass(2000);
  assert.equal(stage.connect('A').clean, true);
  stage.answer({ cmd: 'connack', sessionPresent: false, reasonCode: 0 });
  assert.deepEqual(
    stage.sent().filter(({ cmd }) => cmd !== 'disconnect'),
    [],
  );
  stage.online({}, 'A');
  stage.pass(2000);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0', 'PUBLISH t1']);
  assert.equal(stage.session.countsOf('telemetry').possibleDuplicates, 2);
  assert.equal(stage.reports('granted').at(-1)?.isInDoubt, true);
  assert.equal(stage.cache.identity?.broker, 'A');
  stage.acknowledge('pubrec', ['t0', 't1']);
  stage.crash();
  stage.connect('B');
  stage.answer({ cmd: 'connack', sessionPresent: true, reasonCode: 0 });
  assert.equal(stage.connect('B').clean, true, 'B has no session of these messages');
});

test('a clean start whose CONNACK is lost is asked for again', () => {
  const stage = new Stage({});
  const quota = { properties: { receiveMaximum: 10 } };
  stage.accept('telemetry', 9, { qos: 2 });
  stage.online(quota);
  stage.acknowledge('pubrec', ['t0']);
  stage.crash();
  for (let i = 0; stage.connect().clean !== true; i++) {
    assert.ok(i < 60, 'no clean start is asked for');
    stage.answer({ cmd: 'connack', sessionPresent: true, reasonCode: 0, ...quota });
    stage.pass(700_000);
  }
  stage.lose();
  assert.equal(stage.connect().clean, true);
});

test('several messages whose PUBRELs are never answered go to quarantine, and the others arrive', () => {
  const stage = new Stage({ ackTimeoutMs: 1000 });
  stage.accept('telemetry', 4, { qos: 2 });
  stage.online();
  stage.acknowledge('pubrec', ['t0', 't1', 't2', 't3']);
  stage.acknowledge('pubcomp', ['t1']);
  let isKept = true;
  for (let connection = 0; connection < 40 && stage.cache.quarantine.size < 3; connection++) {
    stage.pass(10);
    stage.accept('telemetry', 1, { qos: 1 });
    for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
      stage.acknowledge('puback', keys);
    }
    stage.pass(700_000);
    const isClean = stage.connect().clean === true;
    stage.answer({ cmd: 'connack', sessionPresent: isKept && !isClean, reasonCode: 0 });
    isKept = !isClean;
  }
  assert.deepEqual([...stage.cache.quarantine.keys()].sort(), ['t0', 't2', 't3']);
});

test('a PUBREL that is never answered while nothing else is sent is given up in the end', () => {
  const stage = new Stage({ ackTimeoutMs: 30_000 });
  stage.accept('telemetry', 1, { qos: 2 });
  stage.online();
  stage.acknowledge('pubrec', ['t0']);
  for (let connection = 0; connection < 20 && stage.cache.quarantine.size === 0; connection++) {
    stage.pass(700_000);
    stage.online(KEPT);
  }
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t0']);
});
