import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commitGroup } from '../../src/cache/commit.js';
import type { Store, StoreReply, StoreRequest } from '../../src/cache/store.js';
import { NorthError } from '../../src/core/error.js';
import { startProcess } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { ModelStore } from './model-store.js';
import { append, LIMITS, save } from './requests.js';

test('on a disk that is full, appends are refused, and saves drain the cache and make room', async (t) => {
  const script = 'build/test/cache/process-on-small-disk.js';
  const child = startProcess('unshare', ['-rm', process.execPath, script, temporaryFolder('small-disk')]);
  const end = await child.ended.catch(() => undefined);
  if (end === undefined || end.code === 77 || /^unshare:/.test(child.output)) {
    t.skip(`a file system of its own cannot be mounted here: ${child.output.trim() || 'there is no unshare'}`);
    return;
  }
  assert.equal(end.code, 0, child.output);
  const seen = JSON.parse(child.stdout);
  assert.equal(seen.firstError, 'CACHE_DISK_FULL');
  assert.ok(seen.accepted > 500);
  assert.equal(seen.stored, seen.accepted, 'what was accepted is there, and nothing else');
  assert.deepEqual(seen.mixed, ['CACHE_DISK_FULL', 'saved'], 'the save of a group that fails goes through alone');
  assert.deepEqual(seen.drained, ['saved']);
  assert.equal(seen.again, 'appended', 'settled messages have made room, though the disk is still full');
  assert.equal(seen.withRoom, 'appended');
  assert.equal(seen.waiting, 2, 'after another start on a full disk');
  assert.deepEqual(seen.findings, []);
});

/** A store whose transactions fail in a given way. */
class FailingStore extends ModelStore {
  readonly attempts: string[] = [];
  failure: (requests: readonly StoreRequest[]) => Error | undefined = () => undefined;

  override execute(requests: readonly StoreRequest[]): StoreReply[] {
    this.attempts.push(requests.map(({ kind }) => kind).join(' '));
    const failure = this.failure(requests);
    if (failure !== undefined) throw failure;
    return super.execute(requests);
  }
}

function outcomes(store: Store, requests: readonly StoreRequest[]): unknown[] {
  return commitGroup(store, requests).map((one) => (one instanceof Error ? one.message : one.kind));
}

test('a group that fails for want of room is tried again without its appends', () => {
  const store = new FailingStore(LIMITS);
  store.failure = (requests) =>
    requests.some(({ kind }) => kind === 'append') ? new NorthError('CACHE_DISK_FULL', 'full') : undefined;
  const group = [
    append('alert', ['a']),
    save(store, {}),
    append('alert', ['b']),
    { kind: 'remove' as const, which: { all: true as const } },
  ];
  assert.deepEqual(outcomes(store, group), ['full', 'saved', 'full', 'removed']);
  assert.deepEqual(outcomes(store, [append('alert', ['a'])]), ['full']);
  assert.deepEqual(store.attempts, ['append save append remove', 'save remove', 'append']);
});

test('a group that fails for another reason fails as a whole, once', () => {
  const store = new FailingStore(LIMITS);
  store.failure = () => new NorthError('CACHE_FAILED', 'broken disk');
  assert.deepEqual(outcomes(store, [append('alert', ['a']), save(store, {})]), ['broken disk', 'broken disk']);
  assert.deepEqual(store.attempts, ['append save']);
});
