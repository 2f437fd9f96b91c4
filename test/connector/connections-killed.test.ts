import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startMosquitto } from '../kit/mosquitto.js';
import { type StartedProcess, startScript } from '../kit/process.js';
import { openSubscriber } from '../kit/subscriber.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { Random } from '../simulation/random.js';

const TOTAL = 8000;
const KILLS = 5;
const TOPICS = 12;
/** When it is killed. The environment variable SEED repeats what a run has printed. */
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);

test('with four connections each message arrives exactly once, in the order of its topic, when our process is killed again and again', async (t) => {
  t.diagnostic(`SEED=${SEED}`);
  const random = new Random(SEED);
  const broker = await startMosquitto({ persistence: true, extra: ['max_queued_messages 0'] });
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url, persistentClientId: 'watcher' });
  t.after(() => subscriber.close());
  const settings = JSON.stringify({ url: broker.url, qos: 2, reconnectPeriod: 100, connections: 4 });
  const args = [settings, temporaryFolder('data'), `${TOTAL}`, '100', `${TOPICS}`];
  const start = (): StartedProcess => startScript('test/connector/producer-process.js', args);

  const starts: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const producer = start();
    const [, from] = await producer.waitForOutput(/from (\d+)/, 20_000);
    starts.push(Number(from));
    const goal = subscriber.messages.length + random.between(200, 1399);
    await subscriber.waitFor((messages) => messages.length >= goal || producer.end !== undefined, 20_000);
    assert.equal(producer.end, undefined, `it ended by itself: ${producer.output}`);
    await producer.kill('SIGKILL');
  }
  const last = start();
  const [, counts] = await last.waitForOutput(/done (.*)/, 60_000);
  assert.deepEqual(await last.ended, { code: 0, signal: null });
  await subscriber.waitFor(TOTAL);

  assert.equal(subscriber.messages.length, TOTAL, `${subscriber.messages.length - TOTAL} arrived twice`);
  for (let topic = 0; topic < TOPICS; topic++) {
    const expected = Array.from({ length: TOTAL }, (_, number) => number).filter((number) => number % TOPICS === topic);
    assert.deepEqual(subscriber.texts(`numbers/${topic}`).map(Number), expected, `the order of numbers/${topic}`);
  }
  assert.equal(JSON.parse(counts ?? '{}').possibleDuplicates, 0);
  t.diagnostic(`killed ${KILLS} times; restarted from ${starts.slice(1).join(', ')}`);
});
