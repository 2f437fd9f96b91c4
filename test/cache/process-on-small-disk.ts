// Mounts a small file system of its own (it runs in a mount namespace of its own), fills the cache until the disk is
// full, drains it while the disk stays full, and prints what it saw as JSON. Ends with code 77 where it may not mount.
import { spawnSync } from 'node:child_process';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commitGroup } from '../../src/cache/commit.js';
import { append, execute, LIMITS, readAll, save } from './requests.js';
import { openIn } from './sqlite-subject.js';

const folder = process.argv[2]!;
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', folder]);
if (mounted.status !== 0) {
  console.error(String(mounted.stderr));
  process.exit(77);
}

const limits = { ...LIMITS, maxSizeBytes: 10 * 1024 ** 3 };
const store = openIn(folder, limits);
const kinds = (requests: Parameters<typeof commitGroup>[1]) =>
  commitGroup(store, requests).map((one) => ('code' in one ? one.code : 'kind' in one ? one.kind : one.message));

// The first sweep, a minute after the start of a service, sees to the reserve.
execute(store, { kind: 'sweep', atMs: 0 });
writeFileSync(join(folder, 'other-program'), Buffer.alloc(18 * 1024 * 1024));
let accepted = 0;
let firstError: unknown;
while (firstError === undefined) {
  const [outcome] = kinds([append('telemetry', [`${accepted}`.padEnd(20_000, 'x')])]);
  if (outcome === 'appended') accepted++;
  else firstError = outcome;
}
/** Another program takes whatever is left. */
function takeRest(name: string): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail > 0) writeFileSync(join(folder, name), Buffer.alloc(bavail * bsize));
}

takeRest('another-program');
// The worker thread does this when nothing else is to be done; what it threw would end the thread.
store.tend();
const stored = readAll(store, 'telemetry').length;

const mixed = kinds([append('telemetry', ['x'.repeat(50_000)]), save(store, { telemetry: { firstUnsettled: 1 } })]);
const drained: unknown[] = [];
for (let settled = 2; settled <= accepted; settled++) {
  drained.push(...kinds([save(store, { telemetry: { firstUnsettled: settled } })]));
}
const freeAfter = statfsSync(folder).bavail;
const [again] = kinds([append('telemetry', ['room again'.padEnd(20_000, 'x')])]);
rmSync(join(folder, 'other-program'), { force: true });
const [withRoom] = kinds([append('telemetry', ['more room'])]);
execute(store, { kind: 'sweep', atMs: 0 });
store.close();
// A start on a full disk, where even the files that SQLite makes to begin with have no room.
takeRest('third-program');
const reopened = openIn(folder, limits);
const waiting = readAll(reopened, 'telemetry').length;
const findings = reopened.status().findings;
reopened.close();
console.log(
  JSON.stringify({
    accepted,
    stored,
    firstError,
    mixed,
    drained: [...new Set(drained)],
    freeAfter,
    again,
    withRoom,
    waiting,
    findings,
  }),
);
