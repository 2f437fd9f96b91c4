/** Much at once, with nothing going wrong: whoever counts alone does not see one message in the place of another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startMosquitto } from '../kit/mosquitto.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject } from './subject.js';

const REQUESTS_COUNT = 60;
const REQUEST_MESSAGES = 1000;
const AT_ONCE = 4;
/** Together more than a session keeps in memory, so that parts of it come from there and others from the cache. */
const PADDING = 'x'.repeat(300);

for (const qos of [0, 1, 2] as const) {
  test(`numbered messages under load arrive each once and in order (QoS ${qos})`, async (t) => {
    const broker = await startMosquitto({ extra: ['max_inflight_messages 0', 'max_queued_messages 0'] });
    t.after(() => broker.stop());
    const arrived: number[] = [];
    const subscriber = await openSubscriber({
      url: broker.url,
      topics: 'load',
      qos: 1,
      onMessage: ({ text }) => arrived.push(Number.parseInt(text, 10)),
    });
    t.after(() => subscriber.close());
    const subject = await openSubject(t, { url: broker.url, qos });
    await subject.untilOnline();
    let next = 0;
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (next < REQUESTS_COUNT * REQUEST_MESSAGES) {
          const first = next;
          next += REQUEST_MESSAGES;
          const elements = Array.from({ length: REQUEST_MESSAGES }, (_, i) => ({
            topic: 'load',
            payload: `${first + i} ${PADDING}`,
          }));
          await subject.send(...elements);
        }
      }),
    );
    await subject.untilEmpty(60_000);
    await subscriber.waitFor(() => arrived.length >= next, 60_000);
    assert.equal(arrived.length, next);
    const seen = new Set(arrived);
    assert.equal(seen.size, next, 'some arrived twice, and others not at all');
    for (let first = 0; first < next; first += REQUEST_MESSAGES) {
      const at = arrived.indexOf(first);
      for (let i = 0; i < REQUEST_MESSAGES; i++) assert.equal(arrived[at + i], first + i, 'out of order');
    }
  });
}
