/** A PUBCOMP ends an exchange only after its PUBREL [MQTT-4.3.3-4]: what comes before it says nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stage } from './stage.js';

for (const protocolVersion of [4, 5] as const) {
  test(`a PUBCOMP that comes while the PUBREC is being stored settles nothing (version ${protocolVersion})`, () => {
    const stage = new Stage({ protocolVersion });
    stage.online();
    stage.accept('telemetry', 1, { qos: 2 });
    assert.deepEqual(stage.publishedKeys(), ['t0']);
    stage.isHoldingSaves = true;
    stage.acknowledge('pubrec', ['t0']);
    stage.acknowledge('pubcomp', ['t0']);
    stage.isHoldingSaves = false;
    stage.flush();
    assert.deepEqual(stage.sentWords(), ['PUBREL t0']);
    stage.pass(1000);
    assert.equal(stage.cache.progress.lanes.telemetry.firstUnsettled, 0);
    stage.acknowledge('pubcomp', ['t0']);
    stage.pass(1000);
    assert.equal(stage.cache.progress.lanes.telemetry.firstUnsettled, 1);
  });

  test(`a PUBCOMP in place of the PUBREC settles nothing (version ${protocolVersion})`, () => {
    const stage = new Stage({ protocolVersion });
    stage.online();
    stage.accept('telemetry', 1, { qos: 2 });
    assert.deepEqual(stage.publishedKeys(), ['t0']);
    stage.acknowledge('pubcomp', ['t0']);
    stage.pass(1000);
    assert.equal(stage.cache.progress.lanes.telemetry.firstUnsettled, 0);
    stage.lose();
    stage.online({ sessionPresent: true });
    assert.deepEqual(stage.publishedKeys(), ['t0']);
  });
}
