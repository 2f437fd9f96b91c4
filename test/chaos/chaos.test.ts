import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { startScript } from '../kit/process.js';
import type { ChaosSummary } from './chaos.js';
import { ACTION_KINDS } from './plan.js';
// The tools that a test file needs are found by what it imports; the run itself is a process of its own, which may mount.
import '../kit/mosquitto.js';
import './wall-clock.js';
import { readSummary } from './report.js';

async function run(t: TestContext, ...args: string[]): Promise<ChaosSummary> {
  const child = startScript('test/chaos/main.js', [...args, '--json'], { input: '' });
  t.after(() => child.kill());
  const end = await child.ended;
  const summary = readSummary(child.stdout);
  assert.ok(summary !== undefined, child.output);
  assert.deepEqual(summary.breaches, [], child.output);
  assert.equal(end.code, 0, child.output);
  assert.equal(summary.lost, 0);
  assert.equal(summary.arrived, summary.accepted);
  return summary;
}

describe('rounds of accidents on real processes', () => {
  test('at QoS 2 nothing is lost, nothing arrives twice and the order holds', async (t) => {
    const { actions, skipped, twice, accepted, rounds } = await run(t, '--rounds', '12', '--seed', '1');
    assert.equal(rounds, 12);
    assert.equal(twice, 0);
    assert.ok(accepted > 1000);
    const missed = ACTION_KINDS.filter((kind) => !(kind in actions) && !(kind in skipped));
    assert.deepEqual(missed, [], 'every kind of accident has happened or says why it could not');
    // What cannot happen on this machine is counted as skipped and named, with the reason, at the end of all tests.
    for (const [kind, reason] of Object.entries(skipped)) await t.test(kind, { skip: reason }, () => undefined);
  });

  test('at QoS 2 over MQTT 3.1.1, too', async (t) => {
    const { twice } = await run(t, '--rounds', '4', '--seed', '2', '--protocol', '3.1.1');
    assert.equal(twice, 0);
  });

  test('at QoS 1 nothing is lost and first arrivals keep their order', async (t) => {
    await run(t, '--rounds', '4', '--seed', '3', '--qos', '1');
  });
});
