import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { runRanges } from './simulate-crew.js';

test('when a worker dies, its range is told and all others are run nevertheless', async () => {
  const ranges = Array.from({ length: 8 }, (_, i) => ({ from: 1 + 10 * i, count: 10 }));
  for (const workers of [1, 2]) {
    const finished: number[] = [];
    const lost: string[] = [];
    await runRanges({
      ranges,
      workers,
      module: join(import.meta.dirname, 'dying-worker.js'),
      finished: ({ from }) => void finished.push(from),
      lost: ({ from }, how) => void lost.push(`${from}: ${how}`),
    });
    assert.deepEqual(lost.sort(), ['21: SIGKILL', '41: exit code 7']);
    assert.deepEqual(
      finished.sort((a, b) => a - b),
      [1, 11, 31, 51, 61, 71],
    );
  }
});
