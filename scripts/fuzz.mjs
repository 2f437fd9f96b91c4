// Compiles, then runs the fuzz targets: `npm run fuzz -- --cases 100000 --seed 7 --target csv`.
import { spawnSync } from 'node:child_process';
import { compile } from './compile.mjs';

compile();
const run = spawnSync(process.execPath, ['--enable-source-maps', 'build/test/fuzz/run.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(run.status ?? 1);
