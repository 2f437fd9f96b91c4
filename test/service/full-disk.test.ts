import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startMosquitto } from '../kit/mosquitto.js';
import { startProcess } from '../kit/process.js';
import { openSubscriber } from '../kit/subscriber.js';

test('a service starts on a full disk, uses room as soon as there is some, and publishes what waits by its reserve', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const script = ['build/test/service/process-on-full-disk.js', `${broker.port}`];
  const child = startProcess('unshare', ['-rm', process.execPath, ...script, '0', '4', '12', '28', '80']);
  const end = await child.ended.catch(() => undefined);
  if (end === undefined || end.code === 77 || /^unshare:/.test(child.output)) {
    t.skip(`a file system of its own cannot be mounted here: ${child.output.trim() || 'there is no unshare'}`);
    return;
  }
  assert.equal(end.code, 0, child.output);
  const { statuses, starts, drained } = JSON.parse(child.stdout);
  assert.deepEqual(statuses, [202]);
  for (const { leftKib, state, code, output } of starts) {
    assert.equal(code, 0, `${leftKib} KiB left: ${output}`);
    assert.doesNotMatch(output, /INTERNAL/, `${leftKib} KiB left`);
    if (state === 'failed') assert.match(output, /"code":"CACHE_DISK_FULL"/, `${leftKib} KiB left`);
  }
  assert.equal(starts[0].state, 'failed', 'without any room and without a reserve');
  assert.deepEqual(unwritten(starts[0].output), ['lock.json', 'service.json']);
  await subscriber.waitFor(200);
  assert.equal(subscriber.texts('a').length, 200, drained.output);
  assert.equal(drained.waiting, 0);
  assert.equal(drained.code, 0, drained.output);
  // The reserve has made room for the other one.
  assert.deepEqual(unwritten(drained.output), ['lock.json']);
});

/** Files for people that the log says could not be written. */
function unwritten(log: string): string[] {
  const lines = log.split('\n').filter((line) => line.includes('"level":40,') && line.includes('CACHE_DISK_FULL'));
  return lines.flatMap((line) => /"place":"[^"]*\/([^"/]+)"/.exec(line)?.[1] ?? []);
}
