import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stage } from './stage.js';

test('an alert and a command go out although telemetry fills the window', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 100);
  assert.equal(stage.publishedKeys().length, 18);
  stage.accept('alert', 1);
  assert.deepEqual(stage.publishedKeys(), ['a0']);
  stage.accept('command', 1);
  assert.deepEqual(stage.publishedKeys(), ['c0']);
  assert.equal(stage.session.inflight, 20);
});

test('the places for higher lanes stay free while telemetry is acknowledged and goes on, message by message', () => {
  for (const receiveMaximum of [20, 200]) {
    const stage = new Stage({});
    stage.online({ properties: { receiveMaximum } });
    stage.accept('telemetry', 400);
    const inflight = stage.publishedKeys();
    for (let i = 0; i < 60; i++) {
      stage.acknowledge('puback', inflight.splice(0, 1 + (i % 3)));
      inflight.push(...stage.publishedKeys());
      assert.ok(stage.session.inflight <= stage.session.window - 2, `${stage.session.inflight} are in flight`);
    }
    stage.accept('alert', 1);
    assert.deepEqual(stage.publishedKeys(), ['a0']);
  }
});

test('at QoS 2 no more than the window are in flight, however the acknowledgements come', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 500, { qos: 2 });
  const sent = stage.publishedKeys();
  for (let i = 0; i < 200; i++) {
    const [key] = sent.splice(0, 1);
    if (key === undefined) break;
    stage.acknowledge('pubrec', [key]);
    sent.push(...stage.publishedKeys());
    stage.acknowledge('pubcomp', [key]);
    sent.push(...stage.publishedKeys());
    assert.ok(stage.session.inflight <= stage.session.window, `${stage.session.inflight} are in flight`);
  }
});

test('when the window has become smaller than what is in flight, one message goes out in place of those acknowledged', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 100);
  stage.sent();
  stage.acknowledge('puback', ['t17'], 0x97);
  stage.sent();
  assert.equal(stage.session.window, 10);
  stage.acknowledge('puback', ['t0', 't1']);
  assert.equal(stage.publishedKeys().length, 1);
  stage.acknowledge('puback', ['t2', 't3']);
  assert.equal(stage.publishedKeys().length, 1);
});

test('the same holds at QoS 2 with a 3.1.1 broker that cannot say what it takes, when the window has grown', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.online();
  for (let i = 0; i < 30; i++) {
    stage.accept('telemetry', 200);
    for (;;) {
      stage.pass(10);
      const sent = stage.publishedKeys();
      if (sent.length === 0) break;
      stage.acknowledge('puback', sent);
    }
  }
  assert.ok(stage.session.window > 20);
  stage.accept('telemetry', 100, { qos: 2 });
  const telemetry = stage.publishedKeys().length;
  assert.ok(telemetry < 20, `${telemetry} are in flight`);
  stage.accept('alert', 1, { qos: 2 });
  assert.deepEqual(stage.publishedKeys(), ['a0']);
  stage.accept('command', 1, { qos: 2 });
  assert.deepEqual(stage.publishedKeys(), ['c0']);
  assert.ok(stage.session.inflight <= 20);
});

test('a higher lane comes first whenever there is a choice, and each lane keeps its order', () => {
  const stage = new Stage({ inflightMax: 1 });
  stage.accept('telemetry', 2);
  stage.accept('alert', 2);
  stage.accept('command', 2);
  stage.online();
  const order: string[] = [];
  for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
    order.push(...keys);
    stage.acknowledge('puback', keys);
  }
  assert.deepEqual(order, ['c0', 'c1', 'a0', 'a1', 't0', 't1']);
});

test('never more are in flight than the broker takes, and PUBRECs count until their PUBCOMP', () => {
  for (const receiveMaximum of [1, 2, 3, 5]) {
    const stage = new Stage({});
    stage.online({ properties: { receiveMaximum } });
    stage.accept('telemetry', 10, { qos: 2 });
    stage.accept('command', 10, { qos: 2 });
    const seen: string[] = [];
    for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
      seen.push(...keys);
      assert.ok(stage.session.inflight <= receiveMaximum);
      stage.acknowledge('pubrec', keys);
      assert.deepEqual(
        stage.sentWords().filter((word) => word.startsWith('PUBLISH')),
        [],
      );
      stage.acknowledge('pubcomp', keys);
    }
    assert.equal(seen.length, 20);
  }
});

test('a packet that is larger than the broker takes goes to quarantine unsent, and the others go out', () => {
  const stage = new Stage({});
  stage.online({ properties: { maximumPacketSize: 60 } });
  stage.accept('telemetry', 1, { topic: 't', payload: Buffer.from(`t0|${'x'.repeat(49)}`) });
  assert.deepEqual(stage.publishedKeys(), ['t0'], 'a packet of exactly so many bytes');
  stage.accept('telemetry', 1, { topic: 't', payload: Buffer.from(`t1|${'x'.repeat(50)}`) });
  stage.accept('telemetry', 1);
  assert.deepEqual(stage.publishedKeys(), ['t2']);
  assert.deepEqual(stage.cache.quarantine.get('t1'), {
    code: 'PUBLISH_TOO_LARGE',
    reason: 'The packet has 61 bytes; the broker takes 60.',
  });
  stage.acknowledge('puback', ['t0', 't2']);
  assert.equal(stage.session.cursorOf('telemetry').head, 3);
});

test('a limit that shrinks under messages that wait is kept on the next connection', () => {
  const stage = new Stage({ inflightMax: 1 });
  stage.online();
  stage.accept('telemetry', 1);
  stage.accept('telemetry', 1, { payload: Buffer.from(`t1|${'x'.repeat(100)}`), qos: 2, retain: true });
  stage.accept('telemetry', 1, { qos: 2, retain: true });
  stage.lose();
  stage.online({ sessionPresent: true, properties: { maximumPacketSize: 60, maximumQoS: 1, retainAvailable: false } });
  stage.acknowledge('puback', ['t0']);
  const [, packet] = stage.published();
  assert.equal(packet?.qos, 1);
  assert.equal(packet.retain, false);
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t1']);
  stage.acknowledge('puback', ['t2']);
  assert.equal(stage.session.cursorOf('telemetry').head, 3);
});

test('a broker with Maximum QoS 0 gets everything at QoS 0, and that is the end of it', () => {
  const stage = new Stage({});
  stage.online({ properties: { maximumQoS: 0 } });
  stage.accept('telemetry', 3, { qos: 2 });
  assert.deepEqual(
    stage.published().map(({ qos }) => qos),
    [0, 0, 0],
  );
  assert.equal(stage.session.inflight, 0);
  assert.equal(stage.session.countsOf('telemetry').published, 3);
});

test('what has expired while it waited is dropped and counted, and the rest goes out with what is left of its life', () => {
  const stage = new Stage({});
  stage.accept('command', 1, { expirySeconds: 10 });
  stage.accept('command', 1, { expirySeconds: 100 });
  stage.accept('command', 1);
  stage.pass(10_000);
  stage.online();
  const sent = stage.published();
  assert.deepEqual(
    sent.map(({ properties }) => properties?.messageExpiryInterval),
    [90, undefined],
  );
  assert.equal(stage.session.countsOf('command').dropped, 1);
});

test('a wall clock that was set back neither expires a message nor lengthens its life', () => {
  const stage = new Stage({});
  stage.accept('command', 1, { expirySeconds: 10 });
  stage.wallMs -= 3_600_000;
  stage.online();
  assert.equal(stage.published()[0]?.properties?.messageExpiryInterval, 10);
});

test('what has waited longer than the cache keeps it goes to quarantine', () => {
  const stage = new Stage({ maxAgeMs: 60_000 });
  stage.accept('telemetry', 1);
  stage.pass(60_000);
  stage.accept('telemetry', 1);
  stage.online();
  assert.deepEqual(stage.publishedKeys(), ['t1']);
  assert.equal(stage.cache.quarantine.get('t0')?.code, 'MESSAGE_EXPIRED');
});

test('with a rate limit, messages go out at that rate and acknowledgements are not held up', () => {
  const stage = new Stage({ messagesPerSecond: 10 });
  stage.online();
  stage.accept('telemetry', 100, { qos: 2 });
  const burst = stage.publishedKeys();
  assert.deepEqual(burst, ['t0', 't1'], 'a fifth of a second at once');
  stage.acknowledge('pubrec', burst);
  assert.deepEqual(stage.sentWords(), ['PUBREL t0', 'PUBREL t1']);
  stage.acknowledge('pubcomp', burst);
  let count = 0;
  for (let i = 0; i < 50; i++) {
    stage.pass(100);
    const keys = stage.publishedKeys();
    count += keys.length;
    stage.acknowledge('pubrec', keys);
    stage.acknowledge('pubcomp', keys);
  }
  assert.ok(count >= 49 && count <= 51, `${count} in five seconds`);
  stage.accept('command', 1);
  stage.sent();
  stage.pass(100);
  assert.deepEqual(stage.publishedKeys(), ['c0'], 'a command takes the next place');
});

test('with a limit of bytes, a large message borrows from the time after it', () => {
  const stage = new Stage({ bytesPerSecond: 1000 });
  stage.online();
  stage.accept('telemetry', 3, { payload: Buffer.from(`x|${'.'.repeat(2000)}`) });
  assert.equal(stage.published().length, 1);
  stage.pass(1700);
  assert.equal(stage.published().length, 0);
  stage.pass(300);
  assert.equal(stage.published().length, 1);
});

test('waiting for a rate does not keep the processor busy, also while it is not stored whose session it is', () => {
  const stage = new Stage({ messagesPerSecond: 3, persistent: true });
  stage.online();
  stage.accept('telemetry', 20, { qos: 0 });
  stage.lose();
  stage.isHoldingSaves = true;
  stage.pass(10_000);
  stage.online();
  stage.pass(10_000);
  stage.isHoldingSaves = false;
  stage.flush();
  assert.ok(stage.publishedKeys().length > 0);
});

test('messages that were dropped from the cache are gone over, and what is loaded before the gap is not', () => {
  const stage = new Stage({ inflightMax: 2 });
  stage.online();
  stage.accept('telemetry', 4);
  stage.lose();
  stage.accept('telemetry', 3);
  stage.cache.dropOldest();
  assert.equal(stage.cache.dropped.size, 3);
  stage.online({ sessionPresent: true });
  assert.deepEqual(stage.publishedKeys(), ['t0', 't1']);
  const { readCount } = stage;
  stage.pass(1000);
  assert.ok(stage.readCount - readCount < 3, 'the gap is read once, not again and again');
  stage.acknowledge('puback', ['t0', 't1']);
  assert.deepEqual(stage.publishedKeys(), ['t2', 't3']);
  stage.acknowledge('puback', ['t2', 't3']);
  assert.equal(stage.session.cursorOf('telemetry').head, 7);
  stage.accept('telemetry', 1);
  assert.deepEqual(stage.publishedKeys(), ['t7']);
});

test('a gap that is found while messages before it are in flight is not asked for again and again', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 2);
  stage.isHoldingReads = true;
  stage.accept('telemetry', 3);
  stage.lose();
  stage.pass(1000);
  stage.cache.dropOldest();
  assert.equal(stage.cache.dropped.size, 3);
  stage.isHoldingReads = false;
  stage.online({ sessionPresent: true });
  stage.sent();
  const { readCount } = stage;
  for (let i = 0; i < 20; i++) {
    stage.pass(100);
    stage.session.tick(stage.nowMs, stage.wallMs);
    stage.flush();
  }
  assert.ok(stage.readCount - readCount < 3, `${stage.readCount - readCount} reads`);
});

test('a gap does not wait for what is in flight or tried again before it', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 2);
  stage.acknowledge('puback', ['t0'], 0x80);
  stage.isHoldingReads = true;
  stage.accept('telemetry', 3);
  stage.accept('telemetry', 1);
  stage.cache.damage('telemetry', 2, 5);
  stage.sent();
  stage.isHoldingReads = false;
  stage.flush();
  assert.deepEqual(stage.publishedKeys(), ['t5']);
  stage.acknowledge('puback', ['t1', 't5']);
  stage.pass(500);
  stage.acknowledge('puback', ['t0']);
  assert.equal(stage.session.cursorOf('telemetry').head, 6);
});

test('a gap over messages that were settled already leaves nothing behind for those that get their identifiers', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('command', 4);
  stage.acknowledge('puback', ['c2', 'c3']);
  stage.pass(1000);
  stage.crash();
  stage.cache.damage('command', 0, 4);
  stage.online({ sessionPresent: true });
  const seen = new Set<string>();
  for (let i = 0; i < 5; i++) {
    const keys = stage.accept('command', 500, { qos: 0 });
    for (const key of stage.publishedKeys()) seen.add(key);
    stage.pass(1000);
    assert.ok(keys.every((key) => seen.has(key)));
  }
});

test('a batch that is damaged goes to quarantine message by message, and the next one goes out', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 3);
  stage.accept('telemetry', 1);
  const [batch] = stage.cache.read('telemetry', 0, 1);
  assert.ok(batch !== undefined);
  batch.data.fill(0xff, 40);
  stage.online();
  assert.deepEqual(stage.publishedKeys(), ['t0', 't3']);
  assert.equal(stage.cache.quarantine.get('t1')?.code, 'MESSAGE_UNREADABLE');
  assert.equal(stage.cache.quarantine.get('t2')?.code, 'MESSAGE_UNREADABLE');
});

test('a read that failed is tried again with the next tick', () => {
  const stage = new Stage({});
  stage.online();
  stage.isHoldingReads = true;
  stage.accept('telemetry', 1);
  const { readCount } = stage;
  stage.session.readFailed('telemetry', 0);
  stage.session.tick(stage.nowMs, stage.wallMs);
  assert.equal(stage.readCount, readCount + 1);
});

test('a message that is larger than every buffer arrives whole, between small ones', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1, { qos: 0 });
  const payload = Buffer.alloc(3_000_000, 0x78);
  payload.write('t1|');
  stage.accept('telemetry', 1, { payload });
  stage.accept('telemetry', 1);
  const sent = stage.published();
  assert.equal(sent.length, 3);
  assert.ok(payload.equals(Buffer.from(sent[1]?.payload ?? '')));
});

test('a command at QoS 2 does not wait for telemetry at QoS 1 that fills the window', () => {
  for (const [protocolVersion, properties] of [
    [4, {}],
    [5, { receiveMaximum: 20 }],
  ] as const) {
    const stage = new Stage({ protocolVersion });
    stage.accept('telemetry', 5000);
    stage.online({ properties });
    const inflight = stage.publishedKeys();
    for (let turn = 0; turn < 60; turn++) {
      stage.pass(1);
      stage.acknowledge('puback', inflight.splice(0, 10));
      inflight.push(...stage.publishedKeys());
    }
    stage.accept('command', 1, { qos: 2 });
    let turns = 0;
    for (; !inflight.includes('c0') && turns < 100; turns++) {
      stage.pass(1);
      stage.acknowledge('puback', inflight.splice(0, 2));
      inflight.push(...stage.publishedKeys());
    }
    assert.ok(turns < 3, `the command waited for ${turns} turns`);
  }
});
