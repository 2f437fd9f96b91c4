import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startProcess } from '../kit/process.js';

test('a service that finds the disk full says so and ends, or works; with room again it goes on', async (t) => {
  const script = 'build/test/service/process-on-full-disk.js';
  const child = startProcess('unshare', ['-rm', process.execPath, script, '4', '12', '28', '40', '80']);
  const end = await child.ended.catch(() => undefined);
  if (end === undefined || end.code === 77 || /^unshare:/.test(child.output)) {
    t.skip(`a file system of its own cannot be mounted here: ${child.output.trim() || 'there is no unshare'}`);
    return;
  }
  assert.equal(end.code, 0, child.output);
  const seen = JSON.parse(child.stdout);
  assert.equal(seen.accepted, 202);
  for (const { leftKib, code, output } of seen.starts) {
    assert.ok(code === 0 || /error CACHE_DISK_FULL/.test(output), `${leftKib} KiB left, code ${code}: ${output}`);
    assert.doesNotMatch(output, /INTERNAL/, `${leftKib} KiB left`);
  }
  assert.equal(seen.waiting, 1, 'what was accepted before is still there');
});
