import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stage } from './stage.js';

const KEPT = { sessionPresent: true };

test('an acknowledgement that is overdue ends the connection, and nothing is sent again before the next one', () => {
  const stage = new Stage({ ackTimeoutMs: 10_000 });
  stage.online();
  stage.accept('telemetry', 2);
  stage.sent();
  stage.pass(5000);
  stage.acknowledge('puback', ['t0']);
  // What is answered shows that the way is open: the time runs anew.
  stage.pass(9999);
  assert.equal(stage.session.state, 'online');
  stage.pass(1);
  assert.equal(stage.session.state, 'offline');
  assert.equal(stage.endCode(), 'ACK_OVERDUE');
  assert.deepEqual(stage.sent(), []);
  stage.online(KEPT);
  assert.deepEqual(stage.sentWords(), ['PUBLISH t1 dup']);
});

test('a PUBCOMP that is overdue ends the connection, too', () => {
  const stage = new Stage({ ackTimeoutMs: 10_000 });
  stage.online();
  stage.accept('telemetry', 1, { qos: 2 });
  stage.pass(9000);
  stage.acknowledge('pubrec', ['t0']);
  stage.pass(9999);
  assert.equal(stage.session.state, 'online');
  stage.pass(1);
  assert.equal(stage.endCode(), 'ACK_OVERDUE');
});

test('a PUBREC that is not stored yet is not overdue, however long our disk takes', () => {
  const stage = new Stage({ ackTimeoutMs: 10_000 });
  stage.online();
  stage.accept('telemetry', 1, { qos: 2 });
  stage.isHoldingSaves = true;
  stage.acknowledge('pubrec', ['t0']);
  stage.pass(60_000);
  assert.equal(stage.session.state, 'online');
});

test('a message in flight is overdue although an earlier one is just being tried again', () => {
  const stage = new Stage({ ackTimeoutMs: 10_000, inflightMax: 3 });
  stage.online();
  stage.accept('telemetry', 6);
  stage.acknowledge('puback', ['t0'], 0x80);
  // The window is full of t1 to t3 when t0 is due again, so that the walk through the lane stands before them.
  stage.pass(9999);
  assert.equal(stage.session.state, 'online');
  stage.pass(1);
  assert.equal(stage.endCode(), 'ACK_OVERDUE');
});

test('a socket that takes no more bytes ends the connection, and one that takes them again does not', () => {
  const stage = new Stage({ ackTimeoutMs: 10_000 });
  stage.online();
  stage.isWritable = false;
  stage.accept('telemetry', 1, { qos: 0 });
  stage.accept('telemetry', 1, { qos: 0 });
  assert.equal(stage.publishedKeys().length, 1, 'nothing is written into a full socket');
  stage.pass(6000);
  stage.isWritable = true;
  stage.session.drained(stage.nowMs, stage.wallMs);
  stage.flush();
  assert.deepEqual(stage.publishedKeys(), ['t1']);
  stage.pass(60_000);
  assert.equal(stage.session.state, 'online');
  stage.isWritable = false;
  stage.accept('telemetry', 1, { qos: 0 });
  stage.pass(9999);
  assert.equal(stage.session.state, 'online');
  stage.pass(1);
  assert.equal(stage.endCode(), 'ACK_OVERDUE');
});

test('a silent connection is pinged before the keep-alive ends, and given up when no answer comes', () => {
  const stage = new Stage({ keepaliveSeconds: 20 });
  stage.online();
  stage.pass(14_999);
  assert.equal(stage.pings(), 0);
  stage.pass(1);
  assert.equal(stage.pings(), 1);
  stage.answersPings = false;
  stage.pass(15_000);
  assert.equal(stage.pings(), 1);
  stage.pass(9999);
  assert.equal(stage.session.state, 'online');
  stage.pass(1);
  assert.equal(stage.endCode(), 'KEEPALIVE_TIMEOUT');
});

test('what we write does not replace a ping when the broker is silent, as on a half-open connection', () => {
  const stage = new Stage({ keepaliveSeconds: 20 });
  stage.online();
  for (let i = 0; i < 15; i++) {
    stage.pass(1000);
    stage.accept('telemetry', 1, { qos: 0 });
  }
  assert.equal(stage.pings(), 1);
});

test("the broker's own keep-alive replaces ours, and zero switches it off", () => {
  const stage = new Stage({ keepaliveSeconds: 20 });
  stage.online({ properties: { serverKeepAlive: 100 } });
  stage.pass(74_000);
  assert.equal(stage.pings(), 0);
  stage.pass(1000);
  assert.equal(stage.pings(), 1);
  stage.lose();
  stage.online({ ...KEPT, properties: { serverKeepAlive: 0 } });
  stage.pass(3_600_000);
  assert.equal(stage.pings(), 0);
  assert.equal(stage.wakeMs, undefined);
});

test('a broker that acknowledges nothing is told from one that is silent by a ping, in the same time, with pings off, too', () => {
  for (const answersPings of [true, false]) {
    const stage = new Stage({ ackTimeoutMs: 10_000 });
    stage.online();
    stage.answersPings = answersPings;
    stage.accept('telemetry', 2);
    stage.acknowledge('puback', ['t0']);
    stage.pass(4999);
    assert.equal(stage.pings(), 0);
    stage.pass(1);
    assert.equal(stage.pings(), 1);
    stage.pass(4999);
    assert.equal(stage.session.state, 'online');
    stage.pass(1);
    assert.equal(stage.endCode(), answersPings ? 'ACK_OVERDUE' : 'KEEPALIVE_TIMEOUT');
  }
});

test('a session with nothing to do asks for nothing but its ping', () => {
  const stage = new Stage({ keepaliveSeconds: 20 });
  stage.online();
  stage.accept('telemetry', 5, { qos: 2 });
  stage.acknowledge('pubrec', ['t0', 't1', 't2', 't3', 't4']);
  stage.acknowledge('pubcomp', ['t0', 't1', 't2', 't3', 't4']);
  stage.pass(1000);
  assert.equal(stage.session.hasUnsaved, false);
  assert.equal(stage.wakeMs, 16_000);
  stage.lose();
  assert.equal(stage.session.hasUnsaved, false);
  assert.equal(stage.wakeMs, undefined);
});

test('a ping that is due while the socket is full waits for it, and nobody is woken for nothing', () => {
  const stage = new Stage({ keepaliveSeconds: 10, ackTimeoutMs: 10_000 });
  stage.online();
  stage.isWritable = false;
  stage.accept('telemetry', 1, { qos: 0 });
  stage.pass(9_999);
  assert.equal(stage.pings(), 0);
  assert.equal(stage.session.state, 'online');
  stage.isWritable = true;
  stage.session.drained(stage.nowMs, stage.wallMs);
  assert.equal(stage.pings(), 1);
});

test('a broker that takes longer than the time-out for everything gets twice the time with each connection', () => {
  const stage = new Stage({ ackTimeoutMs: 1000 });
  stage.online();
  stage.accept('telemetry', 1);
  const livedMs: number[] = [];
  for (let i = 0; i < 12; i++) {
    const startMs = stage.nowMs;
    while (stage.session.state === 'online') stage.pass(500);
    livedMs.push(stage.nowMs - startMs);
    stage.online(KEPT);
  }
  assert.deepEqual(livedMs.slice(0, 4), [1000, 2000, 4000, 8000]);
  assert.equal(livedMs.at(-1), 600_000, 'ten minutes at most');
  stage.pass(500);
  stage.acknowledge('puback', ['t0']);
  stage.accept('telemetry', 1);
  stage.pass(1000);
  assert.equal(stage.session.state, 'offline', 'what is quick again is waited for as before');
});
