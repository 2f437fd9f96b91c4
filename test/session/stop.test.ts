import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stage } from './stage.js';

function drain(stage: Stage): void {
  stage.session.drain(stage.nowMs, stage.wallMs);
  stage.flush();
}

test('draining sends nothing new, finishes what is in flight and disconnects', () => {
  const stage = new Stage({ inflightMax: 2 });
  stage.online();
  stage.accept('telemetry', 5, { qos: 2 });
  const sent = stage.publishedKeys();
  drain(stage);
  assert.equal(stage.session.state, 'draining');
  stage.accept('command', 1);
  stage.acknowledge('pubrec', sent);
  assert.deepEqual(
    stage.sentWords(),
    sent.map((key) => `PUBREL ${key}`),
  );
  stage.acknowledge('pubcomp', sent);
  assert.deepEqual(stage.sentWords(), ['DISCONNECT']);
  assert.equal(stage.session.state, 'offline');
  assert.equal(stage.reports('ended').at(-1)?.error, undefined);
});

test('draining does not wait for a message that waits for its retry', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1);
  stage.acknowledge('puback', ['t0'], 0x97);
  drain(stage);
  assert.equal(stage.session.state, 'offline');
});

test('draining while still dialling ends at once', () => {
  const stage = new Stage({});
  stage.connect();
  drain(stage);
  assert.equal(stage.session.state, 'offline');
  assert.equal(stage.reports('ended').at(-1)?.error, undefined);
});

test('draining in the middle of the recovery finishes the PUBRELs and leaves the rest for the next start', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 3, { qos: 2 });
  stage.acknowledge('pubrec', ['t0']);
  stage.lose();
  stage.isHoldingReads = true;
  stage.online({ sessionPresent: true });
  assert.equal(stage.session.state, 'recovering');
  drain(stage);
  assert.deepEqual(stage.sentWords(), ['PUBREL t0']);
  stage.acknowledge('pubcomp', ['t0']);
  assert.deepEqual(stage.sentWords(), ['DISCONNECT']);
  assert.equal(stage.session.state, 'offline');
});

test('closing ends the connection in the middle of everything, and the next one goes on', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 2);
  stage.sent();
  stage.session.close(stage.nowMs, stage.wallMs);
  assert.equal(stage.ended, 'gracefully');
  stage.flush();
  assert.deepEqual(stage.sentWords(), ['DISCONNECT']);
  assert.equal(stage.session.inflight > 0, true);
  stage.online({ sessionPresent: true });
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup', 'PUBLISH t1 dup']);
});

test('when the accounts are settled, everything is stored, with the bounds as they are', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 3);
  stage.acknowledge('puback', ['t0']);
  stage.session.close(stage.nowMs, stage.wallMs);
  stage.flush();
  stage.session.settleAccounts(stage.nowMs);
  stage.flush();
  assert.equal(stage.session.hasUnsaved, false);
  const { firstUnsettled, boundOffset } = stage.cache.progress.lanes.telemetry;
  assert.deepEqual({ firstUnsettled, boundOffset }, { firstUnsettled: 1, boundOffset: 3 });
});

test('a session that was stopped can be started again and sends new messages', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 1);
  stage.acknowledge('puback', ['t0']);
  drain(stage);
  stage.session.settleAccounts(stage.nowMs);
  stage.flush();
  stage.online({ sessionPresent: true });
  stage.accept('telemetry', 2);
  assert.deepEqual(stage.publishedKeys(), ['t1', 't2']);
});
