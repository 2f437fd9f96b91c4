// Compiles, then runs the benchmark: `npm run bench` for all, `npm run bench -- qos1` for one delivery.
import { spawnSync } from 'node:child_process';
import { compile } from './compile.mjs';

compile();
const run = spawnSync(process.execPath, ['--enable-source-maps', 'build/bench/run.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(run.status ?? 1);
