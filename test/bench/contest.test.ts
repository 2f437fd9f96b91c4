import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BenchContext } from '../../bench/case.js';
import { type Contender, type ContenderScript, isAvailable, runContest } from '../../bench/contest.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { openSubscriber } from '../kit/subscriber.js';

const WARMUP_COUNT = 1000;
const COUNT = 2000;
const ARRIVAL_TIMEOUT_MS = 30_000;
const SCRIPTS: readonly ContenderScript[] = ['bare-loop', 'mqttjs', 'product', 'mosquitto-pub'];

function contextOf(progress: string[], runsCount = 1): BenchContext {
  return { runsCount, scale: 1, progress: (text) => progress.push(text) };
}

for (const qos of [0, 1, 2] as const) {
  test(`at QoS ${qos} every contender publishes as many messages as it says, of the size and delivery asked for`, async (t) => {
    const broker = await startMosquitto({ maxInflight: 0 });
    t.after(() => broker.stop());
    for (const script of SCRIPTS.filter(isAvailable)) {
      const subscriber = await openSubscriber({ url: broker.url, topics: 'bench/#' });
      const extent = { warmupCount: WARMUP_COUNT, count: COUNT };
      const task = { port: broker.port, brokerPid: broker.pid, qos, window: 50, payloadSizeBytes: 100, extent };
      const [standing] = await runContest([{ name: script, script, task }], contextOf([]));
      assert.ok((standing?.perSecond[0] ?? 0) > 0, script);
      // It is a whole process each time, which warms up by nothing.
      const total = script === 'mosquitto-pub' ? COUNT : WARMUP_COUNT + COUNT;
      const messages = await subscriber.waitFor(total, ARRIVAL_TIMEOUT_MS);
      assert.equal(messages.length, total, script);
      assert.ok(
        messages.every((message) => message.qos === qos && Math.abs(message.payload.length - 100) <= 25),
        `${script}: a payload has ${messages[0]?.payload.length} bytes at QoS ${messages[0]?.qos}`,
      );
      await subscriber.close();
    }
  });
}

test('a run by time counts what is acknowledged in it', async (t) => {
  const broker = await startMosquitto({ maxInflight: 0 });
  t.after(() => broker.stop());
  const extent = { warmupMs: 200, durationMs: 300 };
  const contenders = (['bare-loop', 'mqttjs', 'product'] as const).map((script): Contender => {
    const window = script === 'product' ? 0 : 20;
    const task = { port: broker.port, brokerPid: broker.pid, qos: 1 as const, window, payloadSizeBytes: 100, extent };
    return { name: script, script, task };
  });
  const standings = await runContest(contenders, contextOf([]));
  for (const { name, perSecond, foundWindows } of standings) {
    assert.ok((perSecond[0] ?? 0) > 0, name);
    assert.equal(foundWindows.length, name === 'product' ? 1 : 0, name);
  }
});

test('contenders take turns', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const extent = { warmupCount: 0, count: 100 };
  const task = { port: broker.port, brokerPid: broker.pid, qos: 1 as const, window: 5, payloadSizeBytes: 100, extent };
  const contenders = ['first', 'second'].map((name): Contender => ({ name, script: 'bare-loop', task }));
  const progress: string[] = [];
  await runContest(contenders, contextOf(progress, 2));
  assert.deepEqual(
    progress.map((text) => text.slice(0, text.indexOf(':'))),
    ['run 1, first', 'run 1, second', 'run 2, first', 'run 2, second'],
  );
});

test('a contender that cannot do its task fails the contest with what it said', async () => {
  const extent = { warmupCount: 0, count: 100 };
  const port = await freePort();
  const task = { port, brokerPid: process.pid, qos: 1 as const, window: 5, payloadSizeBytes: 100, extent };
  const contest = runContest([{ name: 'lonely', script: 'bare-loop', task }], contextOf([]));
  await assert.rejects(contest, /lonely ended with 1.*ECONNREFUSED/s);
});
