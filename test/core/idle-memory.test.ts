import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { getHeapSpaceStatistics } from 'node:v8';
import { giveBackMemory, tendIdleMemory } from '../../src/core/idle-memory.js';

const GROWN_BYTES = 8_000_000;

function youngBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? 0;
}

/** Makes the space for young objects grow, by objects that outlive a collection of it. */
function grow(): void {
  const kept: unknown[] = [];
  for (let i = 0; youngBytes() < GROWN_BYTES && i < 2_000_000; i++) kept.push({ i, text: `object ${i}` });
  assert.ok(youngBytes() >= GROWN_BYTES, `${youngBytes()} bytes`);
}

test('the space for young objects is small again after it was given back, and it works on', async () => {
  grow();
  await giveBackMemory();
  assert.ok(youngBytes() < GROWN_BYTES / 2, `${youngBytes()} bytes`);
  grow();
  await Promise.all([giveBackMemory(), giveBackMemory()]);
  assert.ok(youngBytes() < GROWN_BYTES / 2, `${youngBytes()} bytes`);
});

test('a process that has become quiet gives back what it has grown by, once', async () => {
  grow();
  const end = tendIdleMemory(200);
  try {
    // How long it takes depends on what else the machine does; the runner ends a test that waits for ever.
    while (youngBytes() >= GROWN_BYTES / 2) await delay(20);
  } finally {
    end();
  }
});
