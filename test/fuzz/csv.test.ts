import { test } from 'node:test';
import { csv } from './csv.js';
import { assertReached, BATCH_CASES, fuzz } from './fuzz.js';

test('every row of any CSV has one fate, however its bytes are cut and wherever it is taken up again', async () => {
  const report = await fuzz(csv, { cases: BATCH_CASES, seed: 1 });
  assertReached(report, [
    'pushed',
    'quarantined',
    'pushed and quarantined',
    'pushed and rejected',
    'content refused',
    'options refused',
  ]);
});
