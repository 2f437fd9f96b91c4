/** Faults that were found by reading, each as the sequence that led to it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packetIdOf } from '../simulation/key.js';
import { Stage } from './stage.js';

const KEPT = { sessionPresent: true };

test('a slow line, on which every message is answered in order, sends nothing to quarantine', () => {
  for (const messageMs of [2000, 4000, 8000, 14_000]) {
    const stage = new Stage({ ackTimeoutMs: 30_000 });
    stage.online();
    stage.accept('telemetry', 60);
    for (let connection = 0; connection < 60 && stage.session.inflight > 0; connection++) {
      if (stage.session.state === 'offline') stage.online(KEPT);
      const queue = stage.publishedKeys();
      while (stage.endCode() === undefined && stage.session.inflight > 0) {
        stage.pass(messageMs);
        const key = queue.shift();
        if (key !== undefined && stage.session.state !== 'offline') stage.acknowledge('puback', [key]);
        queue.push(...stage.publishedKeys());
      }
      stage.events = [];
    }
    assert.equal(stage.cache.quarantine.size, 0, `${messageMs} ms: ${[...stage.cache.quarantine.keys()].join()}`);
  }
});

test('a broker that hangs at one message sends no other to quarantine', () => {
  const stage = new Stage({ ackTimeoutMs: 1000 });
  stage.online();
  stage.accept('command', 1);
  stage.acknowledge('puback', ['c0']);
  stage.accept('telemetry', 10);
  for (let connection = 1; connection < 8; connection++) {
    // It answers in order up to t3, and nothing any more from there on.
    for (const key of stage.publishedKeys()) {
      if (key === 't3') break;
      stage.acknowledge('puback', [key]);
    }
    stage.accept('command', 1);
    stage.sent();
    stage.pass(1000);
    stage.online(KEPT);
  }
  assert.deepEqual(
    [...stage.cache.quarantine.keys()].filter((key) => key !== 't3'),
    [],
  );
});

test('a broker that is ill, and closes each connection before it has acknowledged anything, does not empty the lane into quarantine', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.accept('telemetry', 100);
  for (let i = 0; i < 60; i++) {
    stage.online({ sessionPresent: i > 0 });
    stage.pass(3000);
    stage.lose();
    stage.pass(7000);
  }
  assert.ok(stage.cache.quarantine.size <= 4, `${stage.cache.quarantine.size} innocent messages are in quarantine`);
});

for (const code of [0x89, 0x8b, 0x96, 0x97, 0x98]) {
  test(`a broker that ends connections with 0x${code.toString(16)}, which is about no message, sends none to quarantine`, () => {
    const stage = new Stage({});
    stage.accept('telemetry', 5);
    for (let i = 0; i < 12; i++) {
      stage.online({ sessionPresent: i > 0 });
      stage.answer({ cmd: 'disconnect', reasonCode: code });
      stage.pass(10_000);
    }
    assert.deepEqual([...stage.cache.quarantine.keys()], []);
  });
}

test('a broker that says 0x93 although its Receive Maximum was kept is not overrun for ever', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 30);
  let done = 0;
  for (let i = 0; i < 200 && done < 30; i++) {
    const keys = stage.publishedKeys();
    if (keys.length > 5) {
      stage.answer({ cmd: 'disconnect', reasonCode: 0x93 });
      stage.pass(10_000);
      stage.online(KEPT);
    } else {
      done += keys.length;
      stage.acknowledge('puback', keys);
    }
  }
  assert.equal(done, 30);
});

for (const count of [3, 4, 5]) {
  test(`${count} messages that a 3.1.1 broker never answers do not hold up a new process for ever`, () => {
    const stage = new Stage({ protocolVersion: 4, ackTimeoutMs: 1000 });
    stage.online();
    stage.accept('telemetry', 10, { qos: 2 });
    stage.crash();
    let passed = 0;
    let isPresent = true;
    for (let connection = 0; connection < 60 && stage.cache.quarantine.size < count; connection++) {
      stage.accept('telemetry', 2, { qos: 2 });
      const isClean = stage.connect().clean === true;
      stage.answer({ cmd: 'connack', sessionPresent: isPresent && !isClean, returnCode: 0 });
      isPresent = !isClean;
      for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
        stage.pass(10);
        for (const key of keys.filter((one) => Number(one.slice(1)) >= count)) {
          passed++;
          stage.acknowledge('pubrec', [key]);
          stage.acknowledge('pubcomp', [key]);
        }
      }
      stage.pass(700_000);
      stage.lose();
    }
    assert.ok(passed > 0, 'nothing has passed');
    assert.equal(stage.cache.quarantine.size, count);
  });
}

test('a message is sent although its identifier belonged to one that was being condemned when its batch was found damaged', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('command', 2);
  stage.acknowledge('puback', ['c0'], 0x80);
  stage.isHoldingSaves = true;
  stage.acknowledge('puback', ['c1'], 0x99);
  stage.cache.damage('command', 0, 2);
  stage.accept('command', 1);
  stage.pass(600);
  stage.isHoldingSaves = false;
  stage.flush();
  const sent = new Set<string>();
  for (let i = 0; i < 3; i++) stage.accept('command', 1000);
  for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
    for (const key of keys) sent.add(key);
    stage.acknowledge('puback', keys);
    stage.pass(200);
  }
  assert.ok(sent.has('c2048'), 'c2048, which has the identifier of c1, was settled and never sent');
});

test('a walk that goes back for a retry to what has become unreadable keeps count of what is in flight', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 5);
  stage.acknowledge('puback', ['t0'], 0x80);
  stage.cache.damage('telemetry', 0, 5);
  stage.pass(600);
  stage.acknowledge('puback', ['t1', 't2', 't3', 't4']);
  assert.equal(stage.session.inflight, 0);
  assert.equal(stage.session.countsOf('telemetry').published, 4);
});

test('what was released behind an unreadable message is followed to its PUBCOMP, so that a stop can end', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 3, { qos: 2 });
  stage.acknowledge('pubrec', ['t1', 't2']);
  stage.cache.damage('telemetry', 0, 3);
  stage.crash();
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), ['PUBREL t1', 'PUBREL t2']);
  stage.acknowledge('pubcomp', ['t1', 't2']);
  stage.session.drain(stage.nowMs, stage.wallMs);
  stage.flush();
  assert.equal(stage.session.state, 'offline', `${stage.session.inflight} count as in flight`);
});

test('a PUBREC that is being stored when the message before it is found unreadable still gets its PUBREL', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 2, { qos: 2 });
  stage.isHoldingSaves = true;
  stage.acknowledge('pubrec', ['t1']);
  stage.cache.damage('telemetry', 0, 2);
  stage.lose();
  stage.sent();
  stage.online(KEPT);
  stage.isHoldingSaves = false;
  stage.flush();
  assert.deepEqual(stage.sentWords(), ['PUBREL t1']);
});

test('an empty answer to a read of an earlier connection says nothing of what was accepted since', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 3);
  stage.acknowledge('puback', ['t0', 't1', 't2']);
  stage.pass(200);
  stage.isHoldingReads = true;
  stage.accept('telemetry', 2);
  stage.sent();
  stage.cache.damage('telemetry', 3, 5);
  // The read from 3 on has found nothing, because t3 and t4 are holes. Its answer comes late.
  stage.lose();
  stage.accept('telemetry', 4);
  stage.online(KEPT);
  stage.session.supply('telemetry', 3, [], stage.nowMs, stage.wallMs);
  stage.isHoldingReads = false;
  stage.flush();
  assert.deepEqual(stage.publishedKeys(), ['t5', 't6', 't7', 't8']);
});

test('the bound after a start lies as little ahead as in a new cache', () => {
  const stage = new Stage({ firstOffset: 100_000 });
  stage.online();
  stage.accept('telemetry', 5000);
  const { boundOffset } = stage.cache.progress.lanes.telemetry;
  assert.ok(boundOffset <= 100_300, `the bound is ${boundOffset - 100_000} ahead`);
});

test('an identifier whose QoS 2 exchange was never ended is released before another message gets it', () => {
  const stage = new Stage({ ackTimeoutMs: 1000 });
  stage.online();
  stage.accept('command', 2100, { qos: 2 });
  const seen: string[] = [];
  for (let i = 0; i < 20_000; i++) {
    const packets = stage.sent();
    if (packets.length === 0) {
      if (stage.session.state !== 'offline' && stage.session.inflight === 0) break;
      stage.pass(1100);
      if (stage.session.state === 'offline') stage.online(KEPT);
    }
    for (const packet of packets) {
      const isC0 = packet.messageId === packetIdOf('c0');
      if (isC0) seen.push(packet.cmd === 'publish' ? `PUBLISH ${packet.payload.toString()}` : packet.cmd);
      if (isC0 && seen.at(-1)?.startsWith('PUBLISH c0|')) continue;
      stage.pass(1);
      if (packet.cmd === 'publish') stage.answer({ cmd: 'pubrec', messageId: packet.messageId ?? 0, reasonCode: 0 });
      if (packet.cmd === 'pubrel') stage.answer({ cmd: 'pubcomp', messageId: packet.messageId ?? 0, reasonCode: 0 });
    }
  }
  assert.equal(stage.cache.quarantine.get('c0')?.code, 'PUBLISH_POISONOUS');
  const next = seen.findIndex((one) => one.startsWith('PUBLISH c2047'));
  assert.ok(next > 0 && seen[next - 1] === 'pubrel', `under the identifier of c0: ${seen.join(', ')}`);
});

test('a broker that takes longer for everything than ackTimeout gets on, and does not get the same for ever', () => {
  const stage = new Stage({ ackTimeoutMs: 30_000 });
  stage.online();
  stage.accept('telemetry', 40);
  let done = 0;
  let copies = 0;
  for (let i = 0; i < 30 && done === 0; i++) {
    const keys = stage.publishedKeys();
    copies += keys.length;
    stage.events = [];
    stage.pass(40_000);
    if (stage.endCode() === undefined) {
      stage.acknowledge('puback', keys);
      done += keys.length;
    } else stage.online(KEPT);
  }
  assert.ok(done > 0, `nothing is settled after 30 connections; the broker got ${copies} copies of 18 messages`);
});

test('a command does not wait after a crash for thousands of telemetry messages that were never sent', () => {
  const stage = new Stage({ protocolVersion: 4, firstOffset: 1000 });
  stage.online();
  stage.accept('telemetry', 6000, { qos: 2 });
  stage.crash();
  stage.online(KEPT);
  stage.accept('command', 1, { qos: 2 });
  let before = 0;
  let isOut = false;
  for (let packets = stage.sent(); packets.length > 0 && !isOut; packets = stage.sent()) {
    for (const packet of packets) {
      if (packet.cmd === 'publish') {
        isOut ||= packet.topic === 'plant/command';
        if (!isOut) before++;
        stage.answer({ cmd: 'pubrec', messageId: packet.messageId ?? 0 });
      } else if (packet.cmd === 'pubrel') stage.answer({ cmd: 'pubcomp', messageId: packet.messageId ?? 0 });
    }
  }
  assert.ok(isOut && before <= 300, `${before} telemetry messages went before it`);
});

test('PUBRECs for nothing, from a broker that reads nothing, do not pile up answers', () => {
  const stage = new Stage({});
  stage.online();
  stage.isWritable = false;
  stage.accept('telemetry', 1, { qos: 0 });
  stage.sent();
  const pubrec = Buffer.from([0x50, 2, 0x30, 0]);
  stage.receive(Buffer.concat(Array.from({ length: 1000 }, () => pubrec)));
  const { length } = stage.sent();
  assert.ok(length < 100, `${length} PUBRELs wait in a socket that is full`);
});

test('"packet identifier in use" in a PUBACK does not settle a message of QoS 1', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1, { qos: 2 });
  stage.lose();
  // It went out at QoS 2 and may be held there; now the broker takes only QoS 1.
  stage.online({ ...KEPT, properties: { maximumQoS: 1 } });
  stage.sent();
  stage.acknowledge('puback', ['t0'], 0x91);
  assert.equal(stage.session.cursorOf('telemetry').head, 0);
});

test('a PUBLISH of QoS 1 from the broker is acknowledged, or ends the connection [MQTT-4.3.2-4]', () => {
  const stage = new Stage({});
  stage.online();
  stage.sent();
  stage.answer({ cmd: 'publish', topic: 'a', payload: 'x', qos: 1, dup: false, retain: false, messageId: 7 });
  assert.ok(stage.sent().some(({ cmd }) => cmd === 'puback') || stage.endCode() !== undefined);
});

test('AUTH without an authentication method is a protocol error [MQTT 5.0 §4.12]', () => {
  const stage = new Stage({});
  stage.online();
  stage.answer({ cmd: 'auth', reasonCode: 0x18 });
  assert.equal(stage.endCode(), 'BROKER_PROTOCOL');
});

test('a 3.1.1 broker that closes above a number of QoS 1 messages in flight is not overrun again and again', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.online();
  for (let i = 0; i < 30; i++) stage.accept('telemetry', 1000);
  let closes = 0;
  for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
    stage.pass(10);
    if (keys.length > 50) {
      closes++;
      stage.lose();
      stage.online(KEPT);
    } else stage.acknowledge('puback', keys);
  }
  assert.ok(closes <= 5, `closed ${closes} times in 30,000 messages`);
});

test('a candidate for a full broker does not go before its lane when the broker has room by now', () => {
  const stage = new Stage({});
  stage.online({ properties: { receiveMaximum: 10 } });
  stage.accept('telemetry', 4, { qos: 2 });
  stage.crash();
  const full = { ...KEPT, properties: { receiveMaximum: 2 } };
  stage.online(full);
  // It took less than before when it was restarted, and holds messages of which we know nothing.
  for (let i = 0; i < 4; i++) {
    stage.answer({ cmd: 'disconnect', reasonCode: 0x93 });
    stage.online(full);
  }
  stage.answer({ cmd: 'disconnect', reasonCode: 0x93 });
  stage.sent();
  stage.online({ ...KEPT, properties: { receiveMaximum: 20 } });
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup']);
});

test('a lane that has gone over dropped messages stores it, so that nothing is shown as waiting', () => {
  const stage = new Stage({});
  stage.online();
  stage.isHoldingReads = true;
  stage.accept('telemetry', 5);
  stage.cache.damage('telemetry', 0, 5);
  stage.isHoldingReads = false;
  stage.flush();
  stage.pass(200);
  assert.equal(stage.cache.progress.lanes.telemetry.firstUnsettled, 5);
});
