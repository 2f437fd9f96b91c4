// Mounts a small file system of its own (it runs in a mount namespace of its own) and starts the service on it while it is
// full: but for so many KiB as its arguments say, one after the other, and at last with room. Prints how each start ended
// as JSON. Ends with code 77 where it may not mount.
import { join } from 'node:path';
import { openSmallDisk } from '../chaos/small-disk.js';
import { eventually } from '../kit/deadline.js';
import { freePort } from '../kit/ports.js';
import { startCli } from '../kit/process.js';
import { serviceFolder } from './service-process.js';

const MESSAGES = '/api/content?connector=plant&type=messages';
const START_TIMEOUT_MS = 30_000;

const settings = { url: `mqtt://127.0.0.1:${await freePort()}` };
const place = serviceFolder({
  dataDir: './disk/data',
  connectors: [{ id: 'plant', settings, caching: { maxSize: '16 MiB' } }],
});
const disk = openSmallDisk(join(place.folder, 'disk'), 40 * 1024 * 1024);
if (disk.obstacle !== undefined) {
  console.error(disk.obstacle);
  process.exit(77);
}

const first = await place.start();
const accepted = (await first.post(MESSAGES, [{ topic: 'a', payload: 'kept' }])).status;
await first.stop();

const starts: { leftKib: number; code: number | null; output: string }[] = [];
for (const leftKib of process.argv.slice(2).map(Number)) {
  disk.fill(leftKib * 1024);
  const service = startCli(['run', '-c', place.configFile], { cwd: place.folder });
  await eventually(
    () => service.end !== undefined || service.output.includes('"url":'),
    () => `a start or an end with ${leftKib} KiB left: ${service.output}`,
    START_TIMEOUT_MS,
  );
  const { code } = await service.kill('SIGTERM');
  starts.push({ leftKib, code, output: service.output });
  disk.free();
}

const last = await place.start();
const { cache } = await last.until('plant', ({ state }) => state !== 'failed', 'the connector at work');
await last.stop();
disk.close();
console.log(JSON.stringify({ accepted, starts, waiting: cache.waitingCounts.telemetry }));
