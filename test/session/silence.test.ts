/** Brokers that say nothing any more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stage } from './stage.js';

const KEPT = { sessionPresent: true };

/** A broker that answers up to t5 and is silent on the connection from there on. */
function connectUntilSilent(stage: Stage, options: { answersFirstPings: boolean }): void {
  stage.answersPings = options.answersFirstPings;
  if (stage.session.state === 'offline') stage.online(KEPT);
  for (let i = 0; i < 100 && stage.session.state !== 'offline'; i++) {
    const keys = stage.publishedKeys();
    if (keys.includes('t5')) stage.answersPings = false;
    const before = keys.filter((key) => Number(key.slice(1)) < 5 || !stage.answersPings === false);
    if (before.length > 0) stage.acknowledge('puback', before);
    else stage.pass(1500);
  }
  stage.pass(700_000);
}

test('a message after which the broker is silent on each connection goes to quarantine, and the others arrive', () => {
  const stage = new Stage({ keepaliveSeconds: 60 });
  stage.accept('telemetry', 20);
  stage.online();
  for (let i = 0; i < 60 && stage.cache.quarantine.size === 0; i++) {
    connectUntilSilent(stage, { answersFirstPings: true });
  }
  assert.deepEqual([...stage.cache.quarantine.keys()], ['t5']);
});

test('a broker that is silent on each connection from its beginning sends nothing to quarantine', () => {
  const stage = new Stage({ keepaliveSeconds: 60 });
  stage.accept('telemetry', 20);
  for (let i = 0; i < 100; i++) {
    stage.answersPings = false;
    stage.online({ sessionPresent: i > 0 });
    stage.pass(700_000);
    assert.equal(stage.session.state, 'offline');
  }
  assert.equal(stage.cache.quarantine.size, 0);
});

test('a line that takes longer than the keep-alive allows gets more time for its pings', () => {
  const stage = new Stage({ keepaliveSeconds: 10 });
  stage.accept('telemetry', 1);
  let connections = 0;
  for (; connections < 20; connections++) {
    stage.answersPings = false;
    stage.online({ sessionPresent: connections > 0 });
    stage.pass(15_000);
    if (stage.session.state !== 'offline') break;
    assert.equal(stage.endCode(), 'KEEPALIVE_TIMEOUT');
  }
  assert.ok(connections < 5, `${connections} connections were given up`);
});
