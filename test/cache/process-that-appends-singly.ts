// Appends one message after the other in the folder given, and prints each receipt before the next append: as the cache
// was opened, after its limits were set, and after its file was rebuilt. The file is one of damaged-tree.ts.
import { writeSync } from 'node:fs';
import { openCache } from '../../src/cache/threaded-cache.js';
import { append, LIMITS } from './requests.js';

const [folder, countText] = process.argv.slice(2);
const cache = await openCache({ folder: folder!, limits: LIMITS });

async function appendSingly(phase: string): Promise<void> {
  writeSync(1, `phase ${phase}\n`);
  for (let number = 0; number < Number(countText); number++) {
    await cache.append(append('telemetry', [`${phase} ${number}`]));
    writeSync(1, `receipt ${number} ${phase}\n`);
  }
}

await appendSingly('as opened');
await cache.setLimits({ ...LIMITS, maxSizeBytes: LIMITS.maxSizeBytes / 2 });
await appendSingly('with other limits');
const before = (await cache.status()).findings.length;
await new Promise<void>((resolve, reject) => {
  cache.read('telemetry', 0, 1024 * 1024, (error) => (error === undefined ? resolve() : reject(error)));
});
if ((await cache.status()).findings.length <= before) throw new Error('The file was not rebuilt.');
await appendSingly('as rebuilt');
await cache.close();
