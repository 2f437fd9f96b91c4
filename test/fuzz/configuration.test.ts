import { test } from 'node:test';
import { configuration } from './configuration.js';
import { assertReached, BATCH_CASES, fuzz } from './fuzz.js';

test('any text is a configuration that can be built, or a list of problems without a secret in it', async () => {
  const report = await fuzz(configuration, { cases: BATCH_CASES, seed: 1 });
  assertReached(report, ['valid', 'valid, with warnings', 'not valid', 'no YAML']);
});
