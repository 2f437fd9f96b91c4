// Mounts a small file system of its own (it runs in a mount namespace of its own) and starts the service on it while it is
// full: but for so many KiB as its arguments behind the first say, one after the other, each time until there is room
// again. At last there is none at all, but a reserve. The first argument is the port of a broker, to which the last start
// alone publishes. Prints what it saw as JSON. Ends with code 77 where it may not mount.
import { join } from 'node:path';
import { execute } from '../cache/requests.js';
import { openIn } from '../cache/sqlite-subject.js';
import { openSmallDisk } from '../chaos/small-disk.js';
import { serviceFolder } from './service-process.js';

const MESSAGES = '/api/content?connector=plant&type=messages';
const MAX_SIZE_BYTES = 16 * 1024 * 1024;
const WAITING_COUNT = 200;

const [port, ...lefts] = process.argv.slice(2).map(Number);
const place = serviceFolder({
  dataDir: './disk/data',
  connectors: [{ id: 'plant', settings: { url: `mqtt://127.0.0.1:${port}` }, caching: { maxSize: '16 MiB' } }],
});
const disk = openSmallDisk(join(place.folder, 'disk'), 40 * 1024 * 1024);
if (disk.obstacle !== undefined) {
  console.error(disk.obstacle);
  process.exit(77);
}

const starts: { leftKib: number; state: string; code: number | null; output: string }[] = [];
for (const leftKib of lefts) {
  disk.fill(leftKib * 1024);
  const service = await place.start();
  const { state } = await service.until('plant', () => true, 'a status');
  disk.free();
  await service.until('plant', (status) => status.state !== 'failed', 'the connector at work when there is room');
  const { code } = await service.stop();
  starts.push({ leftKib, state, code, output: service.process.output });
}

const filled = await place.start();
await filled.post('/api/connectors/plant/stop', undefined);
const statuses = new Set<number>();
for (let index = 0; index < WAITING_COUNT; index++) {
  statuses.add((await filled.post(MESSAGES, [{ topic: 'a', payload: `${index}` }])).status);
}
await filled.stop();
// A service does this in its first minute.
const store = openIn(join(place.folder, 'disk/data/connectors/plant'), {
  maxSizeBytes: MAX_SIZE_BYTES,
  onFull: 'reject',
  quarantineRetentionMs: 0,
  archiveEnabled: false,
  archiveRetentionMs: 0,
});
execute(store, { kind: 'sweep', atMs: 0 });
store.close();
disk.fill(0);
const last = await place.start();
const { cache } = await last.until(
  'plant',
  (status) => status.cache.waitingCounts.telemetry === 0,
  'nothing to wait any more',
);
const end = await last.stop();
disk.close();
const waiting = cache.waitingCounts.telemetry;
const drained = { waiting, code: end.code, output: last.process.output };
console.log(JSON.stringify({ statuses: [...statuses], starts, drained }));
