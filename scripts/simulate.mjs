// Compiles, then runs random worlds of the simulator: `npm run simulate -- --worlds 10000 --seed 1 --workers 2`.
import { spawnSync } from 'node:child_process';
import { compile } from './compile.mjs';

compile();
const run = spawnSync(
  process.execPath,
  ['--enable-source-maps', 'build/test/simulation/simulate.js', ...process.argv.slice(2)],
  {
    stdio: 'inherit',
  },
);
process.exit(run.status ?? 1);
