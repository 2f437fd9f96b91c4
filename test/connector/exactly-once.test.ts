import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startMosquitto } from '../kit/mosquitto.js';
import { type StartedProcess, startScript } from '../kit/process.js';
import { openSubscriber } from '../kit/subscriber.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const TOTAL = 8000;
const KILLS = 5;

for (const protocolVersion of ['5', '3.1.1'] as const) {
  test(`each message arrives exactly once and in order when our process is killed again and again (MQTT ${protocolVersion})`, async (t) => {
    const broker = await startMosquitto({ persistence: true });
    t.after(() => broker.stop());
    const subscriber = await openSubscriber({ url: broker.url, persistentClientId: 'watcher' });
    t.after(() => subscriber.close());
    const settings = JSON.stringify({ url: broker.url, qos: 2, protocolVersion, reconnectPeriod: 100 });
    const args = [settings, temporaryFolder('data'), `${TOTAL}`, '100'];
    const start = (): StartedProcess => startScript('test/connector/producer-process.js', args);

    const starts: number[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      const producer = start();
      const [, from] = await producer.waitForOutput(/from (\d+)/, 20_000);
      starts.push(Number(from));
      // Some hundred messages further on, in the middle of whatever it is doing then.
      const goal = subscriber.messages.length + 200 + Math.floor(Math.random() * 1500);
      await subscriber.waitFor((messages) => messages.length >= goal || producer.end !== undefined, 20_000);
      assert.equal(producer.end, undefined, `it ended by itself: ${producer.output}`);
      await producer.kill('SIGKILL');
    }
    const last = start();
    const [, counts] = await last.waitForOutput(/done (.*)/, 60_000);
    assert.deepEqual(await last.ended, { code: 0, signal: null });
    await subscriber.waitFor(TOTAL);

    const numbers = subscriber.texts().map(Number);
    assert.equal(numbers.length, TOTAL, `${numbers.length - TOTAL} arrived twice`);
    assert.ok(
      numbers.every((number, index) => number === index),
      'in order',
    );
    assert.ok(subscriber.messages.every(({ qos }) => qos === 2));
    assert.equal(JSON.parse(counts ?? '{}').possibleDuplicates, 0);
    t.diagnostic(`killed ${KILLS} times; restarted from ${starts.slice(1).join(', ')}`);
  });
}
