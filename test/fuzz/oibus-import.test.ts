import { test } from 'node:test';
import { assertReached, fuzz } from './fuzz.js';
import { oibusImport } from './oibus-import.js';

test('any text is an export of OIBus that becomes a valid configuration, or is refused', async () => {
  const report = await fuzz(oibusImport, { cases: 300, seed: 1 });
  assertReached(report, ['converted with notes', 'refused']);
});
