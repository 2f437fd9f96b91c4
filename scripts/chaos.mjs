// Compiles, then runs rounds of accidents on real processes: `npm run chaos -- --rounds 200 --seed 7`.
import { spawnSync } from 'node:child_process';
import { compile } from './compile.mjs';
import { ensureTools } from './ensure-tools.mjs';

compile();
for (const { reason } of ensureTools(['mosquitto'])) {
  console.error(reason);
  process.exit(2);
}
const run = spawnSync(
  process.execPath,
  ['--enable-source-maps', 'build/test/chaos/main.js', ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
process.exit(run.status ?? 1);
