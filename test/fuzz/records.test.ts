import { test } from 'node:test';
import { assertReached, BATCH_CASES, fuzz } from './fuzz.js';
import { records } from './records.js';

test('any bytes in place of a record can be shown and sent, or are none', async () => {
  const report = await fuzz(records, { cases: BATCH_CASES, seed: 1 });
  assertReached(report, ['all records', 'some records', 'no record']);
});
