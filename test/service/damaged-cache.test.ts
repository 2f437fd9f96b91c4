import assert from 'node:assert/strict';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { assertAccounted, flipByte, killedService } from './damaged-service.js';

const PAGE_BYTES = 4096;
const FRAME_BYTES = PAGE_BYTES + 24;
const LOG_HEADER_BYTES = 32;
const SIZES = { carriedOver: 600, inLog: 400 };

/** Small and the same in each run, so that a failure can be repeated. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return state % below;
  };
}

describe('a service whose cache was damaged while it was away', () => {
  test('delivers what is whole and reports the rest when bytes in the database are flipped', async (t) => {
    const damaged = await killedService(t, { carriedOver: 1000, inLog: 0 });
    const path = damaged.path('cache.db');
    const random = randomOf(7);
    const { size } = statSync(path);
    assert.ok(size > 20 * PAGE_BYTES, `${size} bytes`);
    // Pages behind the first hold tables as well as data.
    for (let flips = 0; flips < 12; flips++) flipByte(path, PAGE_BYTES + random(size - PAGE_BYTES));
    const { arrived } = await assertAccounted(damaged, await damaged.restart());
    assert.ok(arrived.length > 500, `${arrived.length} of 1000 arrived`);
  });

  test('delivers everything when only the header page is damaged', async (t) => {
    const damaged = await killedService(t, { carriedOver: 600, inLog: 0 });
    for (const at of [3, 18, 40, 60, 61, 62, 63, 68, 101, 105, 2000]) flipByte(damaged.path('cache.db'), at);
    const { arrived, findings } = await assertAccounted(damaged, await damaged.restart());
    assert.equal(arrived.length, damaged.count, findings.join(' | '));
  });

  test('is not kept from its cache by one flipped bit in the number of the format', async (t) => {
    const damaged = await killedService(t, { carriedOver: 300, inLog: 0 });
    flipByte(damaged.path('cache.db'), 60);
    const { arrived, findings } = await assertAccounted(damaged, await damaged.restart());
    assert.equal(arrived.length, damaged.count);
    assert.match(findings[0]!, /The header of cache\.db was damaged.*nothing is lost/);
  });

  test('reads on behind a damaged frame in the middle of the write-ahead log', async (t) => {
    const damaged = await killedService(t, SIZES);
    const path = damaged.path('cache.db-wal');
    const frames = Math.floor((statSync(path).size - LOG_HEADER_BYTES) / FRAME_BYTES);
    assert.ok(frames > 30, `${frames} frames`);
    const before = readFileSync(path);
    flipByte(path, LOG_HEADER_BYTES + Math.floor(frames / 2) * FRAME_BYTES + 24 + 3000);
    assert.ok(!before.equals(readFileSync(path)));
    const { arrived, findings } = await assertAccounted(damaged, await damaged.restart());
    assert.match(findings[0]!, /log is damaged .*cache\.db\.damaged-1-wal/);
    assert.ok(arrived.length >= damaged.count - 50, `${arrived.length} of ${damaged.count} arrived`);
    assert.equal(arrived.at(-1), damaged.count - 1, 'what was accepted last is not lost');
  });

  test('says from which offsets on messages are lost when the write-ahead log is cut off', async (t) => {
    const damaged = await killedService(t, SIZES);
    const path = damaged.path('cache.db-wal');
    truncateSync(path, Math.floor(statSync(path).size / 2));
    const restarted = await damaged.restart();
    await restarted.drained();
    const text = (await restarted.findings()).join(' ');
    assert.match(text, /write-ahead log ends after \d+ of \d+ frames/);
    const [, lostFrom] = /command \d+, alert \d+, telemetry (\d+)\./.exec(text) ?? [];
    assert.ok(Number(lostFrom) >= SIZES.carriedOver && Number(lostFrom) < damaged.count, text);
    const { arrived } = await assertAccounted(damaged, restarted, Number(lostFrom));
    assert.equal(arrived.length, Number(lostFrom));
  });

  test('says so also when it is killed in the middle of putting the files in order', async (t) => {
    const damaged = await killedService(t, SIZES);
    const path = damaged.path('cache.db-wal');
    truncateSync(path, Math.floor(statSync(path).size / 2));
    const first = await damaged.killedAtRemovalOf('cache.db-shm');
    assert.deepEqual(first, { code: null, signal: 'SIGKILL' });
    const restarted = await damaged.restart();
    await restarted.drained();
    const text = (await restarted.findings()).join(' ');
    assert.match(text, /write-ahead log ends after \d+ of \d+ frames/);
    const [, lostFrom] = /command \d+, alert \d+, telemetry (\d+)\./.exec(text) ?? [];
    await assertAccounted(damaged, restarted, Number(lostFrom));
  });

  test('starts with a database that is garbage from end to end, keeps it, and takes new data', async (t) => {
    const damaged = await killedService(t, { carriedOver: 300, inLog: 0 });
    const path = damaged.path('cache.db');
    const garbage = Buffer.alloc(statSync(path).size, 0xa5);
    writeFileSync(path, garbage);
    const { arrived, findings } = await assertAccounted(damaged, await damaged.restart(), 0);
    assert.deepEqual(arrived, []);
    assert.match(findings[0]!, /cache\.db\.damaged-1/);
    assert.deepEqual(readFileSync(`${path}.damaged-1`), garbage);
  });
});
