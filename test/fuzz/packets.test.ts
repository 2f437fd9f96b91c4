import { test } from 'node:test';
import { assertReached, BATCH_CASES, fuzz } from './fuzz.js';
import { packets } from './packets.js';

test('whatever a broker sends, nothing throws, nothing is settled unanswered, and everything arrives in the end', async () => {
  const report = await fuzz(packets, { cases: BATCH_CASES, seed: 1 });
  assertReached(report, [
    'no connection ended',
    'first end BROKER_PROTOCOL',
    'first end CONNECTION_LOST',
    'first end ACK_OVERDUE',
    'first end BROKER_PROTOCOL, something in quarantine',
  ]);
});
