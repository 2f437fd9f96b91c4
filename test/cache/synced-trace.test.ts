import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type SystemCall, traceScript, whyNotTraceable } from '../kit/strace.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { makeDamagedTree } from './damaged-tree.js';

/** In each of three phases. */
const RECEIPTS = 12;
const SYNCS = ['fdatasync', 'fsync'];
const WRITES = ['write', 'writev', 'pwrite64', 'pwritev', 'pwritev2'];

/** A call on the write-ahead log of the cache that is in use, and not of one that is being rebuilt. */
function isOfLog({ path }: SystemCall, folder: string): boolean {
  return path === `${folder}/cache.db-wal`;
}

test('before each receipt the log is written and synced, and nothing in it is left unsynced', async (t) => {
  const obstacle = whyNotTraceable();
  if (obstacle !== undefined) {
    t.skip(obstacle);
    return;
  }
  const folder = temporaryFolder('synced');
  makeDamagedTree(folder);
  const traced = traceScript(
    'test/cache/process-that-appends-singly.js',
    [folder, `${RECEIPTS}`],
    [...SYNCS, ...WRITES],
  );
  const end = await traced.process.ended;
  assert.equal(end.code, 0, traced.process.output);
  const calls = traced.calls();
  const receipts = calls.filter(({ name, text }) => name === 'write' && text.includes('"receipt '));
  assert.equal(receipts.length, 3 * RECEIPTS, traced.process.output);
  const [first] = receipts;
  assert.ok(first !== undefined);
  let formerAt = calls.find(({ text }) => text.includes('"phase '))?.begin ?? -1;
  for (const { text, begin } of receipts) {
    const between = calls.filter((one) => one.begin > formerAt && one.end < begin && one.hasSucceeded);
    const ofLog = between.filter((one) => isOfLog(one, folder));
    const last = ofLog.findLast(({ name }) => WRITES.includes(name));
    assert.ok(last !== undefined, `${text}: nothing was written to the log`);
    const sync = ofLog.find(({ name, begin: syncBegin }) => SYNCS.includes(name) && syncBegin > last.end);
    assert.ok(sync !== undefined, `${text}: what was written to the log was not synced`);
    formerAt = begin;
  }
  t.diagnostic(`${calls.filter(({ name }) => SYNCS.includes(name)).length} syncs for ${receipts.length} receipts`);
});
