import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stage } from './stage.js';

test('"no matching subscribers" is a success that is counted, at QoS 1 and at QoS 2', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1);
  stage.accept('alert', 1, { qos: 2 });
  stage.acknowledge('puback', ['t0'], 0x10);
  stage.acknowledge('pubrec', ['a0'], 0x10);
  stage.acknowledge('pubcomp', ['a0']);
  assert.equal(stage.session.countsOf('telemetry').noSubscribers, 1);
  assert.equal(stage.session.countsOf('alert').noSubscribers, 1);
  assert.equal(stage.session.countsOf('telemetry').published, 1);
  assert.equal(stage.session.countsOf('alert').published, 1);
  assert.equal(stage.cache.quarantine.size, 0);
});

test('a message over the quota is tried again after a pause, as a new PUBLISH without DUP, with half the window', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1);
  stage.sent();
  assert.equal(stage.session.window, 20);
  stage.acknowledge('puback', ['t0'], 0x97);
  assert.equal(stage.session.window, 10);
  assert.deepEqual(stage.sent(), []);
  stage.pass(499);
  assert.deepEqual(stage.sent(), []);
  stage.pass(1);
  const [again] = stage.published();
  assert.equal(again?.dup, false);
  assert.equal(again?.messageId, 8192);
  stage.acknowledge('puback', ['t0']);
  assert.equal(stage.session.cursorOf('telemetry').head, 1);
});

test('refusals of messages that were in flight together halve the window once', () => {
  const stage = new Stage({});
  stage.online();
  const keys = stage.accept('telemetry', 8);
  stage.acknowledge('puback', keys, 0x97);
  assert.equal(stage.session.window, 10);
  stage.pass(500);
  stage.acknowledge('puback', ['t0'], 0x97);
  assert.equal(stage.session.window, 5);
});

test('the others flow while a refused message waits, and it goes out before what comes after its pause', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 3, { qos: 2 });
  stage.acknowledge('pubrec', ['t0'], 0x83);
  stage.acknowledge('pubrec', ['t1', 't2']);
  stage.acknowledge('pubcomp', ['t1', 't2']);
  assert.equal(stage.session.countsOf('telemetry').published, 2);
  stage.sent();
  stage.pass(500);
  stage.accept('telemetry', 1, { qos: 2 });
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0', 'PUBLISH t3']);
});

test('a message that is refused eight times while others pass goes to quarantine with the reason of the broker', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1);
  for (let refusals = 1; refusals <= 8; refusals++) {
    assert.deepEqual(stage.publishedKeys(), ['t0'], `attempt ${refusals}`);
    const properties = { reasonString: 'overloaded' };
    stage.answer({ cmd: 'puback', messageId: 8192, reasonCode: 0x80, properties });
    const [other] = stage.accept('telemetry', 1);
    stage.acknowledge('puback', [other ?? '']);
    assert.deepEqual(stage.publishedKeys(), [other]);
    stage.pass(30_000);
  }
  assert.deepEqual(stage.publishedKeys(), []);
  assert.deepEqual(stage.cache.quarantine.get('t0'), {
    code: 'PUBLISH_RETRIES_EXHAUSTED',
    reason: 'The broker answered 0x80: overloaded.',
  });
  assert.equal(stage.session.cursorOf('telemetry').head, 9);
});

test('while the broker refuses everything, nothing goes to quarantine, and it is tried less and less often', () => {
  for (const code of [0x80, 0x83, 0x97]) {
    const stage = new Stage({});
    stage.online();
    stage.accept('telemetry', 50);
    let attempts = 0;
    for (let second = 0; second < 3600; second++) {
      for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
        attempts += keys.length;
        stage.acknowledge('puback', keys, code);
      }
      stage.pass(1000);
    }
    assert.equal(stage.cache.quarantine.size, 0);
    assert.ok(attempts < 50 * 130, `${attempts} attempts in an hour`);
    for (let second = 0; second < 120; second++) {
      for (let keys = stage.publishedKeys(); keys.length > 0; keys = stage.publishedKeys()) {
        stage.acknowledge('puback', keys);
      }
      stage.pass(1000);
    }
    assert.equal(stage.session.countsOf('telemetry').published, 50);
  }
});

test('a refused message that was sent again has DUP when the connection ends before its answer', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1, { qos: 2 });
  stage.acknowledge('pubrec', ['t0'], 0x80);
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0', 'PUBLISH t0']);
  stage.lose();
  stage.online({ sessionPresent: true });
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup']);
});

test('a refused message that was not sent again keeps its pause over a reconnect, and has no DUP', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 2, { qos: 2 });
  stage.acknowledge('pubrec', ['t0'], 0x80);
  stage.lose();
  stage.online({ sessionPresent: true });
  assert.deepEqual(stage.sentWords(), ['PUBLISH t1 dup']);
  stage.pass(500);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0']);
});

test('a refused message is sent again with what is left of its life then', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1, { expirySeconds: 100 });
  stage.pass(3000);
  stage.acknowledge('puback', ['t0'], 0x80);
  stage.pass(2000);
  assert.deepEqual(
    stage.published().map(({ properties }) => properties?.messageExpiryInterval),
    [100, 97],
  );
});

test('a topic or payload that the broker calls invalid goes to quarantine at once, and the next one goes out', () => {
  for (const code of [0x90, 0x99]) {
    const stage = new Stage({ inflightMax: 1 });
    stage.online();
    stage.accept('telemetry', 2, { qos: 2 });
    stage.acknowledge('pubrec', ['t0'], code);
    assert.deepEqual(stage.sentWords(), ['PUBLISH t0', 'PUBLISH t1']);
    assert.equal(stage.cache.quarantine.get('t0')?.code, 'PUBLISH_REFUSED');
    assert.deepEqual(
      stage.reports('quarantined').map(({ lane, offset, reason }) => ({ lane, offset, reason })),
      [{ lane: 'telemetry', offset: 0, reason: `The broker answered 0x${code.toString(16)}.` }],
    );
  }
});

test('a topic that we may not publish to is set aside unsent while its pause lasts, and the others flow', () => {
  const stage = new Stage({});
  stage.online();
  const forbidden = { topic: 'forbidden', qos: 1 } as const;
  stage.accept('telemetry', 1, forbidden);
  stage.acknowledge('puback', ['t0'], 0x87);
  stage.accept('telemetry', 1, forbidden);
  stage.acknowledge('puback', ['t1'], 0x87);
  assert.deepEqual(
    stage.reports('topicPaused').map(({ topic }) => topic),
    ['forbidden'],
  );
  stage.sent();
  stage.accept('telemetry', 2, forbidden);
  stage.accept('telemetry', 1, { topic: 'allowed' });
  assert.deepEqual(stage.publishedKeys(), ['t4']);
  stage.acknowledge('puback', ['t4']);
  for (const key of ['t0', 't1', 't2', 't3']) {
    assert.equal(stage.cache.quarantine.get(key)?.code, 'PUBLISH_NOT_AUTHORIZED', key);
  }
  assert.match(stage.cache.quarantine.get('t3')?.reason ?? '', /Not sent/);
  assert.equal(stage.session.cursorOf('telemetry').head, 5);
  stage.pass(60_000);
  stage.accept('telemetry', 1, forbidden);
  assert.deepEqual(stage.publishedKeys(), ['t5']);
});

test('a new connection tries a forbidden topic again, and remembers no topics of former messages', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1, { topic: 'forbidden' });
  stage.acknowledge('puback', ['t0'], 0x87);
  stage.accept('telemetry', 1, { topic: 'innocent' });
  stage.accept('alert', 1, { topic: 'forbidden' });
  stage.acknowledge('puback', ['a0'], 0x87);
  stage.acknowledge('puback', ['t1']);
  stage.lose();
  stage.online({ sessionPresent: true });
  stage.accept('alert', 1, { topic: 'forbidden' });
  assert.deepEqual(stage.publishedKeys(), ['a1']);
});

test('the topics that are set aside are forgotten with the connection, also where identifiers come round again', () => {
  const stage = new Stage({ firstOffset: 2046 });
  stage.online();
  stage.accept('command', 1, { topic: 'x' });
  stage.acknowledge('puback', ['c2046'], 0x87);
  // From here on topics are kept: identifier 1 belongs to "innocent".
  stage.accept('command', 1, { topic: 'innocent' });
  stage.acknowledge('puback', ['c2047']);
  for (let i = 0; i < 2046; i += 93) {
    const keys = stage.accept('command', 93, { qos: 0 });
    assert.equal(keys.length, 93);
  }
  stage.pass(1000);
  stage.lose();
  stage.online({ sessionPresent: true });
  const [key] = stage.accept('command', 1, { topic: 'forbidden' });
  assert.equal(key, 'c4094');
  stage.acknowledge('puback', [key ?? ''], 0x87);
  stage.sent();
  stage.accept('telemetry', 1, { topic: 'innocent' });
  assert.deepEqual(stage.publishedKeys(), ['t2046']);
});

test('a broker that refuses ever new topics does not make us remember all of them', () => {
  const stage = new Stage({});
  stage.online();
  const refuse = (topic: string): void => {
    const [key] = stage.accept('telemetry', 1, { topic });
    stage.acknowledge('puback', [key ?? ''], 0x87);
  };
  for (let i = 0; i < 10_100; i++) refuse(`topic/${i}`);
  assert.equal(stage.reports('topicPaused').length, 10_099, 'all but the one that made us begin to look at topics');
  refuse('topic/1');
  assert.equal(stage.reports('topicPaused').length, 10_100, 'the oldest was forgotten and is paused again');
  stage.sent();
  stage.accept('telemetry', 1, { topic: 'topic/10099' });
  assert.deepEqual(stage.publishedKeys(), []);
});

test('acknowledgements that belong to nothing are ignored, and a PUBREC is answered so that the broker forgets it', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1);
  stage.acknowledge('puback', ['t0']);
  stage.sent();
  stage.acknowledge('puback', ['t0', 't7', 'c3']);
  stage.acknowledge('pubcomp', ['t0', 't7']);
  stage.acknowledge('pubrec', ['t8'], 0x97);
  assert.deepEqual(stage.sent(), []);
  stage.acknowledge('pubrec', ['t7']);
  const [pubrel] = stage.sent();
  assert.ok(pubrel?.cmd === 'pubrel');
  assert.equal(pubrel.messageId, 8199);
  assert.equal(pubrel.reasonCode, 0x92);
  assert.equal(stage.session.countsOf('telemetry').published, 1);
  assert.equal(stage.session.state, 'online');
});

test('acknowledgements that come twice count once', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1, { qos: 2 });
  stage.acknowledge('pubrec', ['t0', 't0']);
  stage.acknowledge('pubrec', ['t0']);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0', 'PUBREL t0']);
  stage.acknowledge('pubcomp', ['t0', 't0']);
  assert.equal(stage.session.inflight, 0);
  assert.equal(stage.session.countsOf('telemetry').published, 1);
});

test('a PUBACK for a QoS 2 message settles it and is reported; a PUBREC for a QoS 1 message breaks the protocol', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.online();
  stage.accept('telemetry', 1, { qos: 2 });
  stage.acknowledge('puback', ['t0']);
  assert.equal(stage.reports('downgraded').length, 1);
  assert.equal(stage.session.cursorOf('telemetry').head, 1);
  stage.accept('telemetry', 1);
  stage.acknowledge('pubrec', ['t1']);
  assert.equal(stage.endCode(), 'BROKER_PROTOCOL');
});
