import assert from 'node:assert/strict';
import { test } from 'node:test';
import { distortionOf, elementId, fillerOf } from './element.js';

const id = elementId('press/alert', 17);
const sound = { topic: 'chaos/press/alert', text: JSON.stringify({ id, filler: fillerOf(id) }), qos: 2 };

test('what arrives as it was handed in is not distorted', () => {
  assert.equal(distortionOf(id, sound, 2), undefined);
  const value = { topic: 'chaos/furnace/furnace-3', text: '', qos: 1 };
  const name = elementId('furnace/telemetry', 23);
  const text = `{"value":23,"id":"${name}","timestamp":"2026-01-15T10:00:00.000Z"}`;
  assert.equal(distortionOf(name, { ...value, text }, 1), undefined);
});

test('another topic, another QoS and another byte in the filler are noticed', () => {
  assert.match(distortionOf(id, { ...sound, topic: 'chaos/robot/alert' }, 2) ?? '', /topic chaos\/robot\/alert/);
  assert.match(distortionOf(id, sound, 1) ?? '', /at QoS 2, not 1/);
  const text = JSON.stringify({ id, filler: `${fillerOf(id)}x` });
  assert.match(distortionOf(id, { ...sound, text }, 2) ?? '', /arrived as/);
});
