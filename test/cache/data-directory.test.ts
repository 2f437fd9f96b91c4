import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openDataDirectory } from '../../src/cache/data-directory.js';
import { readLockHolder } from '../../src/cache/directory-lock.js';
import { startScript } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const HOLDER = 'test/cache/process-that-holds-directory.js';

describe('the data directory', () => {
  test('is made with its folders, for its owner alone, and found again under the same names', () => {
    const path = join(temporaryFolder('data'), 'deep', 'below');
    const first = openDataDirectory(path);
    const folder = first.connectorFolder('plant-a');
    assert.equal(folder, join(path, 'connectors', 'plant-a'));
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    writeFileSync(join(folder, 'something'), 'stays');
    first.close();
    first.close();
    const second = openDataDirectory(path);
    assert.ok(existsSync(join(second.connectorFolder('plant-a'), 'something')));
    second.close();
  });

  test('refuses ids that could name another place', () => {
    const directory = openDataDirectory(temporaryFolder('data'));
    for (const id of ['', '..', 'a/b', 'A', 'a.b', 'a b', '../../etc', 'x'.repeat(101)]) {
      assert.throws(() => directory.connectorFolder(id), { code: 'CONFIG_INVALID' }, id);
    }
    directory.close();
  });

  test('cannot be opened twice, in one process either', () => {
    const path = temporaryFolder('data');
    const directory = openDataDirectory(path);
    assert.throws(
      () => openDataDirectory(path),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'CACHE_LOCKED');
        assert.match(error.message, new RegExp(`process ${process.pid}, since `));
        return true;
      },
    );
    directory.close();
    openDataDirectory(path).close();
    assert.equal(readLockHolder(path), undefined);
  });

  test('is refused to a second process with the pid of the first, until that is killed', async () => {
    const path = temporaryFolder('data');
    const first = startScript(HOLDER, [path]);
    await first.waitForOutput(/holds/);
    const second = startScript(HOLDER, [path]);
    assert.equal((await second.ended).code, 0);
    assert.match(second.output, new RegExp(`^CACHE_LOCKED: .*process ${first.pid}, since `));
    assert.throws(() => openDataDirectory(path), { code: 'CACHE_LOCKED' });
    await first.kill('SIGKILL');
    assert.equal(readLockHolder(path)?.pid, first.pid, 'the file of the dead process is still there');
    const third = startScript(HOLDER, [path]);
    await third.waitForOutput(/holds/);
    assert.equal(readLockHolder(path)?.pid, third.pid);
    third.endInput();
    assert.equal((await third.ended).code, 0);
    assert.match(third.output, /gave it free/);
    openDataDirectory(path).close();
  });

  test('of two processes that start at once, exactly one gets it', async () => {
    const path = temporaryFolder('data');
    const rivals = Array.from({ length: 4 }, () => startScript(HOLDER, [path]));
    await Promise.all(rivals.map((rival) => rival.waitForOutput(/holds|CACHE_LOCKED/)));
    assert.equal(rivals.filter((rival) => rival.output.startsWith('holds')).length, 1);
    await Promise.all(rivals.map((rival) => rival.kill()));
  });

  test('is opened with a damaged lock, which is made anew with a warning, and keeps others out', async () => {
    for (const garbage of [Buffer.alloc(4096, 0xa5), Buffer.from('SQLite format 3\0'.repeat(40))]) {
      const path = temporaryFolder('data');
      openDataDirectory(path).close();
      writeFileSync(join(path, 'lock.db'), garbage);
      const directory = openDataDirectory(path);
      assert.deepEqual(
        directory.warnings.map(({ code }) => code),
        ['LOCK_DAMAGED'],
      );
      const second = startScript(HOLDER, [path]);
      assert.equal((await second.ended).code, 0);
      assert.match(second.output, /^CACHE_LOCKED/);
      assert.throws(() => openDataDirectory(path), { code: 'CACHE_LOCKED' });
      directory.close();
      const again = openDataDirectory(path);
      assert.deepEqual(again.warnings, []);
      again.close();
    }
  });

  test('is refused while it is held, also when somebody has written over the lock meanwhile', async () => {
    const path = temporaryFolder('data');
    const first = startScript(HOLDER, [path]);
    await first.waitForOutput(/holds/);
    const garbage = Buffer.alloc(4096, 0xa5);
    writeFileSync(join(path, 'lock.db'), garbage);
    const second = startScript(HOLDER, [path]);
    assert.equal((await second.ended).code, 0);
    assert.match(second.output, new RegExp(`^CACHE_LOCKED: .*process ${first.pid}, since `));
    assert.deepEqual(readFileSync(join(path, 'lock.db')), garbage, 'it is left alone');
    await first.kill();
  });

  test('of processes that start at once on a damaged lock, exactly one gets it', async () => {
    const path = temporaryFolder('data');
    writeFileSync(join(path, 'lock.db'), Buffer.alloc(4096, 0xa5));
    const rivals = Array.from({ length: 4 }, () => startScript(HOLDER, [path]));
    await Promise.all(rivals.map((rival) => rival.waitForOutput(/holds|CACHE_LOCKED/)));
    assert.equal(rivals.filter((rival) => rival.output.startsWith('holds')).length, 1);
    await Promise.all(rivals.map((rival) => rival.kill()));
  });

  test('says what is wrong when it cannot be made, and leaves a lock.json that it cannot read', () => {
    const path = temporaryFolder('data');
    writeFileSync(join(path, 'file'), '');
    assert.throws(() => openDataDirectory(join(path, 'file', 'data')), { code: 'CACHE_FAILED' });
    const other = join(path, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'lock.json'), '{"pid": "x"');
    assert.equal(readLockHolder(other), undefined);
    openDataDirectory(other).close();
  });
});
