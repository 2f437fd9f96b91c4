// Compiles, then runs the test files whose path contains one of the words given: `npm run test:one -- cache wire/ack`.
import { spawnSync } from 'node:child_process';
import { compile, sourceFiles } from './compile.mjs';

compile();
const words = process.argv.slice(2);
const files = sourceFiles('test')
  .filter((file) => file.endsWith('.test.ts') && words.some((word) => file.includes(word)))
  .map((file) => `build/${file.replace(/\.ts$/, '.js')}`);
if (files.length === 0) {
  console.error(`No test file below test/ has one of these in its path: ${words.join(', ')}`);
  process.exit(2);
}
const run = spawnSync(
  process.execPath,
  ['--enable-source-maps', '--test', '--test-reporter=spec', '--test-concurrency=2', ...files],
  {
    stdio: 'inherit',
  },
);
process.exit(run.status ?? 1);
