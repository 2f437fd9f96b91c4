import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { runCli } from '../kit/process.js';
import { assertAccounted, type DamagedService, killedService } from './damaged-service.js';

const SIZES = { carriedOver: 300, inLog: 200 };
/** Where SQLite keeps the version of the format [https://www.sqlite.org/fileformat2.html, section 1.3]. */
const USER_VERSION_AT = 60;

function writeVersion(damaged: DamagedService, version: number): void {
  const path = damaged.path('cache.db');
  const bytes = readFileSync(path);
  bytes.writeUInt32BE(version, USER_VERSION_AT);
  writeFileSync(path, bytes);
}

/** Every file of a cache with a hash of its bytes, without the empty log and its index that looking into it makes. */
function filesOf(folder: string): Record<string, string> {
  const names = readdirSync(folder).filter((name) => !name.endsWith('-shm') && statSync(join(folder, name)).size > 0);
  const hashOf = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex');
  return Object.fromEntries(names.sort().map((name) => [name, hashOf(name)]));
}

describe('a service that finds files missing', () => {
  test('reports a write-ahead log that is gone, and delivers what the database holds', async (t) => {
    const damaged = await killedService(t, SIZES);
    rmSync(damaged.path('cache.db-wal'));
    const { arrived, findings } = await assertAccounted(damaged, await damaged.restart(), SIZES.carriedOver);
    assert.equal(arrived.length, SIZES.carriedOver);
    assert.match(findings.join(' '), /write-ahead log is gone.*telemetry 300\./);
  });

  test('makes the cache again from its log when the database is gone and the log holds everything', async (t) => {
    const damaged = await killedService(t, { carriedOver: 0, inLog: 200 });
    const log = readFileSync(damaged.path('cache.db-wal'));
    rmSync(damaged.path('cache.db'));
    const { arrived, findings } = await assertAccounted(damaged, await damaged.restart());
    assert.equal(arrived.length, damaged.count, findings.join(' | '));
    assert.deepEqual(readFileSync(damaged.path('cache.db').concat('.damaged-1-wal')), log);
  });

  test('delivers what the log holds when the database is gone, and accounts for the rest', async (t) => {
    const damaged = await killedService(t, SIZES);
    rmSync(damaged.path('cache.db'));
    // The offsets of what was in the database are known from the cursors that stand in the log.
    const { arrived } = await assertAccounted(damaged, await damaged.restart());
    assert.ok(arrived.includes(damaged.count - 1), `${arrived.length} arrived`);
  });

  test('begins a new cache when everything of it is gone, and says that there was one', async (t) => {
    const damaged = await killedService(t, SIZES);
    for (const name of ['cache.db', 'cache.db-wal'] as const) rmSync(damaged.path(name));
    const { arrived, findings } = await assertAccounted(damaged, await damaged.restart(), 0);
    assert.deepEqual(arrived, []);
    assert.match(findings[0]!, /cache\.db is missing/);
  });

  test('does without the files of the lock and of the last address', async (t) => {
    const damaged = await killedService(t, SIZES);
    for (const name of ['lock.db', 'lock.json', 'service.json']) rmSync(join(damaged.dataDir, name), { force: true });
    rmSync(damaged.path('cache.db-shm'));
    const restarted = await damaged.restart();
    await restarted.drained();
    assert.equal(restarted.arrived().length, damaged.count);
    assert.deepEqual(await restarted.findings(), []);
    const { pid } = JSON.parse(readFileSync(join(damaged.dataDir, 'lock.json'), 'utf8')) as { pid: number };
    assert.equal(pid, restarted.service.process.pid);
  });
});

describe('a service that finds a cache of another version', () => {
  test('refuses content for it with the reason, leaves its files as they are, and serves the others', async (t) => {
    const damaged = await killedService(t, { carriedOver: 100, inLog: 50, connectors: ['newer', 'other'] });
    // What is in the log would be newer than the page that is changed here.
    const stopped = await damaged.restart();
    await stopped.drained('other');
    await stopped.drained('newer');
    await stopped.post(500, 'newer');
    await stopped.drained('newer');
    await stopped.service.stop();
    assert.ok(!existsSync(damaged.path('cache.db-wal')));
    writeVersion(damaged, 99);
    const before = filesOf(damaged.cacheFolder);

    const restarted = await damaged.restart();
    const refused = await restarted.post(501, 'newer');
    assert.ok(refused.status >= 500 && refused.code === 'CACHE_NEWER', JSON.stringify(refused));
    const view = (await restarted.service.get('/api/connectors/newer')) as {
      status: { state: string; lastError: { code: string } };
    };
    assert.equal(view.status.state, 'failed');
    assert.equal(view.status.lastError.code, 'CACHE_NEWER');
    assert.match(restarted.service.process.output, /CACHE_NEWER/);
    assert.equal((await restarted.post(502, 'other')).status, 202);
    await restarted.drained('other');
    assert.deepEqual(restarted.arrived('other'), [502]);
    assert.deepEqual(await restarted.service.stop(), { code: 0, signal: null });
    const config = join(damaged.dataDir, '..', 'mqtt-north.yaml');
    const listed = await runCli(['cache', 'list', '-c', config, 'newer']);
    assert.equal(listed.code, 1);
    assert.match(listed.stderr, /CACHE_NEWER/);
    assert.deepEqual(filesOf(damaged.cacheFolder), before);
  });

  test('takes what it can read of a format that there has never been into a new file, and keeps the old one', async (t) => {
    const damaged = await killedService(t, { carriedOver: 300, inLog: 0 });
    rmSync(damaged.path('cache.db-wal'), { force: true });
    rmSync(damaged.path('cache.db-shm'), { force: true });
    writeVersion(damaged, 0);
    const { arrived, findings } = await assertAccounted(damaged, await damaged.restart());
    assert.equal(arrived.length, damaged.count);
    assert.match(findings[0]!, /there is no format with the number 0.*cache\.db\.damaged-1/);
  });
});
