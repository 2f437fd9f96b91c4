import { test } from 'node:test';
import { assertReached, BATCH_CASES, fuzz } from './fuzz.js';
import { json } from './json.js';

test('any bytes are read as everybody reads JSON, and every element has one fate', async () => {
  const report = await fuzz(json, { cases: BATCH_CASES, seed: 1 });
  assertReached(report, [
    'pushed',
    'quarantined',
    'rejected',
    'pushed and quarantined',
    'body refused',
    'options refused',
  ]);
});
