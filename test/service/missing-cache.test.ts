import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import Database from 'better-sqlite3';
import { runCli } from '../kit/process.js';
import { assertAccounted, type DamagedService, killedService } from './damaged-service.js';

const SIZES = { carriedOver: 300, inLog: 200 };

/** The header and the table name it; nothing else is changed. */
function writeVersion(damaged: DamagedService, version: number): void {
  const db = new Database(damaged.path('cache.db'));
  db.pragma(`user_version = ${version}`);
  db.prepare("UPDATE meta SET value = ? WHERE key = 'version'").run(String(version));
  db.close();
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

  test('brings one of the first version to its own, and delivers what is in it', async (t) => {
    const damaged = await killedService(t, { carriedOver: 300, inLog: 0 });
    const db = new Database(damaged.path('cache.db'));
    db.exec("DELETE FROM meta WHERE key = 'version'; PRAGMA user_version = 1");
    db.close();
    const restarted = await damaged.restart();
    await restarted.drained();
    assert.equal(restarted.arrived().length, damaged.count);
    assert.deepEqual(await restarted.findings(), []);
  });
});

describe('a service that was stopped in order', () => {
  const LOST = /cache\.db is missing or empty; what waited in it is gone with it/;
  const STOPPED = { carriedOver: 100, inLog: 0 };

  for (const [what, harm] of [
    ['database', (damaged: DamagedService) => rmSync(damaged.path('cache.db'))],
    ['bytes of the database', (damaged: DamagedService) => truncateSync(damaged.path('cache.db'), 0)],
    ["connector's folder", (damaged: DamagedService) => rmSync(damaged.cacheFolder, { recursive: true })],
  ] as const) {
    test(`misses the ${what} that somebody has removed`, async (t) => {
      const damaged = await killedService(t, STOPPED);
      harm(damaged);
      const { arrived, findings } = await assertAccounted(damaged, await damaged.restart(), 0);
      assert.deepEqual(arrived, []);
      assert.match(findings.join(), LOST);
    });
  }

  test('does not miss what was removed with its connector', async (t) => {
    const damaged = await killedService(t, STOPPED);
    const { service, findings } = await damaged.restart();
    const written = (await service.get('/api/connectors/plant')) as { config: unknown };
    const removed = await service.remove('/api/connectors/plant?discard=true');
    assert.ok(removed.ok, await removed.text());
    assert.ok(!existsSync(damaged.cacheFolder));
    const made = await service.post('/api/connectors', written.config);
    assert.ok(made.ok, await made.text());
    assert.deepEqual(await findings(), []);
    assert.deepEqual(await service.stop(), { code: 0, signal: null });
  });
});
