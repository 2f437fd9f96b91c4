import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { type StartedProcess, startScript } from '../kit/process.js';
import { startProxy } from '../kit/proxy.js';
import { openSubscriber } from '../kit/subscriber.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { Random } from '../simulation/random.js';
import { openSubject } from './subject.js';
import { isPublish, recordedPackets } from './wire.js';

const TOTAL = 8000;
const KILLS = 5;
/** When it is killed. The environment variable SEED repeats what a run has printed. */
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);

for (const protocolVersion of ['5', '3.1.1'] as const) {
  test(`each message arrives exactly once and in order when our process is killed again and again (MQTT ${protocolVersion})`, async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    const random = new Random(SEED);
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
      const goal = subscriber.messages.length + random.between(200, 1699);
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

for (const protocolVersion of ['5', '3.1.1'] as const) {
  test(`a restart does not send a broker more than it takes while it still holds what the former process sent (MQTT ${protocolVersion})`, async (t) => {
    // Mosquitto takes 20 messages of QoS 2 at a time. Under 3.1.1 it acknowledges any more of them and drops them; under
    // MQTT 5 it refuses them with 0x97, and what is refused loses its place in the order.
    const broker = await startMosquitto({ persistence: true });
    const proxy = await startProxy({ targetPort: broker.port, record: true });
    const subscriber = await openSubscriber({ url: broker.url });
    t.after(() => Promise.all([proxy.close(), broker.stop(), subscriber.close()]));
    const settings = { qos: 2, protocolVersion, clientId: 'press-line-7' } as const;
    const former = await openSubject(t, { ...settings, url: proxy.url });
    await former.untilOnline();
    proxy.swallow('toClient');
    const telemetry = Array.from({ length: 40 }, (_, index) => `t${index}`);
    const commands = Array.from({ length: 40 }, (_, index) => `c${index}`);
    await former.send(...telemetry);
    await former.until(({ inflight }) => inflight >= 10, 'messages in flight');
    await former.send(...commands.map((payload) => ({ topic: 'c', payload, lane: 'command' })));
    const { inflight } = await former.status();
    await eventually(
      () => recordedPackets(proxy, 'toBroker', protocolVersion === '5' ? 5 : 4).filter(isPublish).length >= inflight,
      'them to leave',
    );
    // The power goes: what is on disk now is all that the next process has.
    const folder = temporaryFolder('crashed');
    cpSync(former.folder, folder, { recursive: true });
    await proxy.refuse();
    proxy.cut();
    await former.close(0);

    // The session is in the memory of a broker at this address, wherever the former process saw it.
    await proxy.accept();
    proxy.resume('toClient');
    const next = await openSubject(t, { ...settings, url: proxy.url }, { folder });
    await next.untilEmpty();
    await subscriber.waitFor(80);
    assert.deepEqual(subscriber.texts('t'), telemetry);
    assert.deepEqual(subscriber.texts('c'), commands);
  });
}
