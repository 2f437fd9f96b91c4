// Compiles, then runs the benchmark: `npm run bench` for all cases, `npm run bench -- qos1` for one; see bench/run.ts.
import { spawnSync } from 'node:child_process';
import { compile } from './compile.mjs';

if (compile() > 0) process.exit(1);
const run = spawnSync(process.execPath, ['--enable-source-maps', 'build/bench/run.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(run.status ?? 1);
