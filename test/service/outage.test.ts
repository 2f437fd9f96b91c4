import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { openSubscriber } from '../kit/subscriber.js';
import { serviceFolder, timeValues, valuesOf } from './service-process.js';

const PATH = '/api/content?connector=plant&type=time-values';

function connector(url: string, qos: 0 | 1 | 2): Record<string, unknown> {
  return {
    id: 'plant',
    settings: { url, qos, reconnectPeriod: 200 },
    transformers: [
      { type: 'time-values-to-mqtt', topic: 'plant/{pointId}' },
      {
        type: 'csv-to-mqtt',
        topic: 'plant/rows',
        payloadType: 'object',
        objectFields: [{ column: 'value', key: 'value', type: 'number' }],
      },
    ],
  };
}

describe('through outages', () => {
  test('100,000 values by HTTP at QoS 1 all arrive while the broker is stopped and started again', async (t) => {
    const broker = await startMosquitto({ persistence: true, extra: ['max_queued_messages 0'] });
    t.after(() => broker.kill());
    const subscriber = await openSubscriber({ url: broker.url, topics: 'plant/#', persistentClientId: 'historian' });
    t.after(() => subscriber.close());
    const service = await serviceFolder({ connectors: [connector(broker.url, 1)] }).start();
    t.after(() => service.kill());

    const COUNT = 100_000;
    for (let from = 0; from < COUNT; from += 1000) {
      if (from === 30_000) await broker.stop();
      if (from === 60_000) await broker.restart();
      const answer = await service.post(PATH, timeValues(from, 1000));
      assert.equal(answer.status, 202, await answer.clone().text());
    }
    await service.until('plant', ({ cache }) => cache.waitingCounts.telemetry === 0, 'an empty cache', 90_000);
    await eventually(
      () => new Set(valuesOf(subscriber.texts())).size === COUNT,
      () => `all values at the subscriber, which has ${new Set(valuesOf(subscriber.texts())).size}`,
      60_000,
    );
    assert.deepEqual(await service.stop(), { code: 0, signal: null });
  });

  test('killed again and again at QoS 2, the service delivers each accepted value exactly once and in order', async (t) => {
    const broker = await startMosquitto({ persistence: true, extra: ['max_queued_messages 0'] });
    t.after(() => broker.kill());
    const subscriber = await openSubscriber({ url: broker.url, topics: 'plant/#', persistentClientId: 'historian' });
    t.after(() => subscriber.close());
    const folder = serviceFolder({ connectors: [connector(broker.url, 2)] });
    let service = await folder.start();
    t.after(() => service.kill());

    const ROUNDS = 6;
    const PER_ROUND = 5000;
    for (let round = 0; round < ROUNDS; round++) {
      for (let from = 0; from < PER_ROUND; from += 500) {
        const body = timeValues(round * PER_ROUND + from, 500);
        const key = { 'idempotency-key': `${round}-${from}` };
        // A producer that got no answer asks again with the same key.
        const killed = from === 3500 && round < ROUNDS - 1;
        const asked = service.post(PATH, body, key).catch(() => undefined);
        if (killed) {
          await service.kill();
          await asked;
          service = await folder.start();
          const again = await service.post(PATH, body, key);
          assert.equal(again.status, 202);
        } else assert.equal((await asked)?.status, 202);
      }
    }
    await service.until('plant', ({ cache }) => cache.waitingCounts.telemetry === 0, 'an empty cache', 60_000);
    await subscriber.waitFor(ROUNDS * PER_ROUND, 30_000);
    const values = valuesOf(subscriber.texts());
    assert.deepEqual(
      values,
      Array.from({ length: ROUNDS * PER_ROUND }, (_unused, index) => index),
    );
  });

  test('killed in the middle of a file, the service takes each row of it exactly once', async (t) => {
    const broker = await startMosquitto({ persistence: true, extra: ['max_queued_messages 0'] });
    t.after(() => broker.kill());
    const subscriber = await openSubscriber({ url: broker.url, topics: 'plant/#', persistentClientId: 'historian' });
    t.after(() => subscriber.close());
    const folder = serviceFolder({
      connectors: [connector(broker.url, 2)],
      inputs: [{ id: 'files', type: 'folder', path: './drop', pattern: '*.csv', interval: 100, settleTime: 0 }],
    });
    const drop = join(folder.folder, 'drop');
    mkdirSync(drop);
    const ROWS = 60_000;
    const rows = Array.from({ length: ROWS }, (_unused, index) => String(index)).join('\n');
    writeFileSync(join(folder.folder, 'rows.csv'), `value\n${rows}\n`);
    renameSync(join(folder.folder, 'rows.csv'), join(drop, 'rows.csv'));

    let service = await folder.start();
    t.after(() => service.kill());
    await service.until('plant', ({ counts }) => counts.telemetry.accepted > 0, 'the first part of the file', 30_000);
    await service.kill();
    service = await folder.start();
    await eventually(() => readdirSync(join(drop, 'done')).includes('rows.csv'), 'the file in done/', 60_000);
    await subscriber.waitFor(ROWS, 60_000);
    await service.until('plant', ({ cache }) => cache.waitingCounts.telemetry === 0, 'an empty cache', 60_000);
    const values = valuesOf(subscriber.texts());
    assert.equal(values.length, ROWS);
    assert.equal(new Set(values).size, ROWS);
  });
});
