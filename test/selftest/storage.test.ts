import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { openDataDirectory } from '../../src/cache/data-directory.js';
import { checkFileSystem, type FileSystem, fileSystemOf, findMount } from '../../src/selftest/file-system.js';
import { checkReceiptTime, measureReceipts } from '../../src/selftest/receipt-timing.js';
import { checkCache, checkDatabase, checkLock, checkRoom } from '../../src/selftest/storage-checks.js';
import { checkSync, measureSync, type SyncTiming } from '../../src/selftest/sync-timing.js';
import { LIMITS } from '../cache/requests.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const MOUNTS = [
  '22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,discard',
  '30 22 0:26 / /run rw,nosuid - tmpfs tmpfs rw,size=100k',
  '31 22 8:17 / /data rw,noatime - xfs /dev/sdb1 rw',
  '32 31 0:50 / /data/shared\\040files rw,relatime shared:5 - cifs //server/share rw',
  '33 22 8:33 / /old rw - ext4 /dev/sdc1 rw,nobarrier',
  '34 33 8:49 / /old rw - ext3 /dev/sdd1 rw,barrier=0',
  '',
].join('\n');

const LOCAL: FileSystem = {
  kind: 'local',
  type: 'ext4',
  mountPoint: '/',
  device: '/dev/sda1',
  options: ['rw'],
  disk: { isRotating: false, isVirtual: false, writeCache: 'write back' },
};
const TIMING: SyncTiming = { rounds: 200, writeUs: 5, fdatasyncUs: 900, fsyncUs: 1100, fdatasyncSlowUs: 9000 };

describe('the file system of a folder', () => {
  test('is that of the longest mount point above it; of two at one place it is the later', () => {
    assert.equal(findMount(MOUNTS, '/home/plant')?.device, '/dev/sda1');
    assert.equal(findMount(MOUNTS, '/data')?.device, '/dev/sdb1');
    assert.equal(findMount(MOUNTS, '/data/x/y')?.type, 'xfs');
    assert.equal(findMount(MOUNTS, '/database')?.device, '/dev/sda1', 'a common beginning of names is no path');
    assert.deepEqual(findMount(MOUNTS, '/data/shared files/a')?.mountPoint, '/data/shared files');
    assert.equal(findMount(MOUNTS, '/old/x')?.device, '/dev/sdd1');
    assert.equal(findMount('', '/'), undefined);
  });

  test('gives a warning when it lies in memory, in a container layer, on a network, or does without barriers', () => {
    const verdict = (change: Partial<FileSystem>): string => {
      const { verdict, found, remedy } = checkFileSystem({ ...LOCAL, ...change });
      assert.equal(verdict === 'WARN', remedy !== undefined);
      return `${verdict} ${found}`;
    };
    assert.match(verdict({}), /^PASS ext4 at \/, on \/dev\/sda1, not magnetic, write cache: write back$/);
    for (const kind of ['memory', 'overlay', 'network', 'unknown'] as const) {
      assert.match(verdict({ kind, disk: undefined }), /^WARN/, kind);
    }
    assert.match(verdict({ options: ['rw', 'nobarrier'] }), /^WARN .*nobarrier/);
    assert.match(verdict({ options: ['rw', 'barrier=0'] }), /^WARN .*barrier=0/);
  });

  test('of this machine is found', { skip: process.platform !== 'linux' }, () => {
    const memory = '/dev/shm';
    if (existsSync(memory)) assert.equal(fileSystemOf(memory).kind, 'memory');
    assert.notEqual(fileSystemOf(temporaryFolder()).kind, 'unknown');
  });
});

describe('the time of a sync', () => {
  test('is measured on a file that is removed again', () => {
    const folder = temporaryFolder();
    const timing = measureSync(folder);
    assert.deepEqual(readdirSync(folder), []);
    assert.ok(timing.rounds >= 5);
    for (const us of [timing.writeUs, timing.fdatasyncUs, timing.fsyncUs]) assert.ok(us > 0 && us < 60e6, String(us));
  });

  test('that no disk can have is suspicious, and says what to look for', () => {
    const check = (timing: Partial<SyncTiming>, disk: Partial<NonNullable<FileSystem['disk']>> = {}) =>
      checkSync({ ...TIMING, ...timing }, { ...LOCAL, disk: { ...LOCAL.disk!, ...disk } });
    assert.equal(check({}).verdict, 'PASS');
    assert.match(check({}).meaning, /some 1,111 a second/);
    assert.equal(check({ fdatasyncUs: 3 }).verdict, 'WARN');
    assert.equal(check({ fsyncUs: 19 }).verdict, 'WARN');
    assert.match(check({ fdatasyncUs: 3 }).remedy!, /libeatmydata/);
    assert.equal(check({ fdatasyncUs: 200, fsyncUs: 200 }).verdict, 'PASS');
    assert.equal(check({ fdatasyncUs: 200, fsyncUs: 200 }, { isRotating: true }).verdict, 'WARN');
    assert.equal(check({ fdatasyncUs: 9000, fsyncUs: 9000 }, { isRotating: true }).verdict, 'PASS');
    assert.match(check({}, { isVirtual: true }).meaning, /host of this machine/);
    assert.equal(checkSync(TIMING, { ...LOCAL, kind: 'memory' }).verdict, 'WARN');
  });
});

describe('the time of a receipt', () => {
  test('is measured in a folder that is removed, and the connection that writes is asked at each moment', () => {
    const folder = temporaryFolder();
    const timing = measureReceipts(folder, LIMITS);
    assert.deepEqual(readdirSync(folder), []);
    assert.ok(timing.rounds >= 5 && timing.receiptUs > 0 && timing.fdatasyncUs > 0);
    const durability = { journalMode: 'wal', synchronous: 'full' };
    assert.deepEqual(
      timing.reports,
      ['as opened', 'with other limits', 'after a rebuild'].map((when) => ({ when, durability })),
    );
  });

  test('that is shorter than a sync is a failure, or a warning when it is not by far', () => {
    const check = (receiptUs: number, fdatasyncUs = 900) =>
      checkReceiptTime({ rounds: 100, receiptUs, fdatasyncUs, reports: [] }, TIMING).verdict;
    assert.equal(check(1200), 'PASS');
    assert.equal(check(700), 'WARN');
    assert.equal(check(300), 'FAIL');
    assert.equal(check(300, 200), 'PASS', 'the machine was busier in the first measurement');
    assert.equal(check(1200, 4000), 'PASS', 'or in the second');
  });
});

describe('room, lock and database', () => {
  test('room is judged against what the caches may take', () => {
    const GIB = 1024 ** 3;
    assert.equal(checkRoom(50 * GIB, undefined).verdict, 'PASS');
    assert.equal(checkRoom(50 * GIB, 10 * GIB).verdict, 'PASS');
    assert.match(checkRoom(5 * GIB, 10 * GIB).found, /5 GiB free; the caches of the configuration may take 10 GiB/);
    assert.equal(checkRoom(5 * GIB, 10 * GIB).verdict, 'WARN');
    assert.equal(checkRoom(GIB / 2, undefined).verdict, 'WARN');
  });

  test('a lock that lets a second one in is a failure', () => {
    const folder = temporaryFolder('lock');
    const directory = openDataDirectory(folder);
    assert.equal(checkLock(folder, process.pid).verdict, 'PASS');
    directory.close();
    assert.equal(checkLock(folder, process.pid).verdict, 'FAIL');
  });

  test('a database without synced commits, or with damage, is a failure', () => {
    const inspection = { journalMode: 'wal', synchronous: 'full', sqliteVersion: '3.50.0', problems: [] };
    const reports = [{ when: 'as opened', durability: { journalMode: 'wal', synchronous: 'full' } }];
    assert.equal(checkDatabase(inspection, reports).verdict, 'PASS');
    assert.equal(checkDatabase({ ...inspection, synchronous: 'normal' }, reports).verdict, 'FAIL');
    assert.equal(checkDatabase({ ...inspection, journalMode: 'delete' }, reports).verdict, 'FAIL');
    assert.equal(checkDatabase(inspection, []).verdict, 'FAIL', 'nobody that wrote said how');
    for (const durability of [
      { journalMode: 'wal', synchronous: 'off' },
      { journalMode: 'memory', synchronous: 'full' },
      undefined,
    ]) {
      const check = checkDatabase(inspection, [...reports, { when: 'after a rebuild', durability }]);
      assert.equal(check.verdict, 'FAIL');
      assert.match(check.found, /after a rebuild: /);
    }
    const after = { inspection, findings: [], waitingCount: 0, quarantinedCount: 0 };
    assert.equal(checkCache(after, true).verdict, 'PASS');
    assert.equal(
      checkCache({ ...after, inspection: { ...inspection, problems: ['Page 3: x'] } }, true).verdict,
      'FAIL',
    );
    const findings = [{ atMs: 0, code: 'CACHE_DAMAGED' as const, message: 'cache.db is missing.' }];
    assert.equal(checkCache({ ...after, findings }, true).verdict, 'FAIL');
    assert.equal(checkCache({ ...after, waitingCount: 1 }, true).verdict, 'FAIL');
    assert.equal(checkCache({ ...after, waitingCount: 1 }, false).verdict, 'WARN');
    assert.equal(checkCache({ ...after, quarantinedCount: 1 }, true).verdict, 'WARN');
  });
});
