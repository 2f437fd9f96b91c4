import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { startDelayProxy } from '../../bench/delay-proxy.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject } from './subject.js';

const COUNT = 2000;
const TOPICS = 100;
const ROUND_TRIP_MS = 50;

/** How long the broker takes for all messages, which are there before the connector connects. */
async function tookMs(t: TestContext, url: string, connections: number): Promise<number> {
  const subject = await openSubject(t, { url, connections }, { isStopped: true });
  const messages = Array.from({ length: COUNT }, (_, index) => ({
    topic: `${connections}/${index % TOPICS}`,
    payload: `${index}`,
  }));
  await subject.send(...messages);
  subject.connector.start();
  // From the first acknowledgements on: how long a connection takes to come up is not the question.
  await subject.until(({ counts }) => counts.telemetry.published > 0, 'the first acknowledgement', 30_000);
  const startMs = performance.now();
  const { counts } = await subject.untilEmpty(60_000);
  assert.equal(counts.telemetry.published, COUNT);
  return performance.now() - startMs;
}

test('four connections are more than twice as fast as one where the broker limits what is in flight on each', async (t) => {
  const broker = await startMosquitto({ maxInflight: 20, extra: ['max_queued_messages 0'] });
  const proxy = await startDelayProxy({ targetPort: broker.port, roundTripMs: ROUND_TRIP_MS });
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => Promise.all([subscriber.close(), proxy.stop(), broker.stop()]));
  const url = `mqtt://127.0.0.1:${proxy.port}`;
  const oneMs = await tookMs(t, url, 1);
  const fourMs = await tookMs(t, url, 4);
  const ratio = oneMs / fourMs;
  t.diagnostic(`one ${Math.round(oneMs)} ms, four ${Math.round(fourMs)} ms: ${ratio.toFixed(1)} times as fast`);
  assert.ok(ratio > 2, `${ratio.toFixed(2)} times as fast: one ${oneMs} ms, four ${fourMs} ms`);
  await subscriber.waitFor(2 * COUNT);
  for (const connections of [1, 4]) {
    for (let topic = 0; topic < TOPICS; topic++) {
      const numbers = subscriber.texts(`${connections}/${topic}`).map(Number);
      assert.deepEqual(
        numbers,
        numbers.toSorted((one, other) => one - other),
      );
      assert.equal(numbers.length, COUNT / TOPICS);
    }
  }
});
