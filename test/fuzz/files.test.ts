import { test } from 'node:test';
import { files } from './files.js';
import { assertReached, fuzz } from './fuzz.js';

test('files of any name and content end in done/ or failed/, and the input goes on', async () => {
  const report = await fuzz(files, { cases: 60, seed: 1 });
  assertReached(report, ['done', 'failed', 'done, failed']);
});
