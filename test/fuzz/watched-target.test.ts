import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { runWatched } from './watched-target.js';

const SEED = 5;
const LARGE = 970;

async function run(name: string): Promise<{ isRight: boolean; printed: string; batches: number[] }> {
  const batches: number[] = [];
  let printed = '';
  const isRight = await runWatched({
    name,
    cases: 1000,
    seed: SEED,
    script: join(import.meta.dirname, 'process-that-hangs.js'),
    caseMaxMs: 2000,
    onBatch: (seed) => batches.push(seed),
    print: (text) => {
      printed += text;
    },
  });
  return { isRight, printed, batches };
}

const numbers = fc.sample(fc.noBias(fc.nat(999)), { seed: SEED, numRuns: 1000 });
const hangsAt = numbers.findIndex((number) => number >= LARGE);

for (const name of ['loop', 'promise']) {
  test(`a case that never ends is ended from outside and named with its seed: an endless ${name}`, async () => {
    assert.ok(hangsAt > 0);
    const { isRight, printed, batches } = await run(name);
    assert.equal(isRight, false);
    assert.deepEqual(batches, [SEED]);
    assert.match(printed, new RegExp(`^${name}: case ${hangsAt} of seed ${SEED} did not end within 2 s\\.\n`));
    assert.match(printed, new RegExp(`npm run fuzz -- --target ${name} --seed ${SEED} --cases 1000\n`));
    assert.ok(printed.includes(`\n${numbers[hangsAt]}\n`), `the case itself, ${numbers[hangsAt]}: ${printed}`);
  });
}

for (const [name, code] of [
  ['error', 1],
  ['nothing', 13],
  ['exit', 0],
] as const) {
  test(`a case that ends the process is no success and is named with its seed: by ${name}`, async () => {
    const { isRight, printed } = await run(name);
    assert.equal(isRight, false, printed);
    const said = `${name}: the process ended (${code}) in case ${hangsAt} of seed ${SEED}.\n`;
    assert.ok(printed.includes(said), printed);
    assert.ok(printed.includes(`\n${numbers[hangsAt]}\n`), `the case itself, ${numbers[hangsAt]}: ${printed}`);
  });
}

test('a case that fails is named, too, when one of its smaller forms never ends', async () => {
  const { isRight, printed } = await run('smaller');
  assert.equal(isRight, false);
  const said = `smaller: case ${hangsAt} of seed ${SEED}, which fails, has a smaller form that did not end within 2 s.`;
  assert.ok(printed.startsWith(said), printed);
  assert.ok(printed.includes(`\n${numbers[hangsAt]}\n`), printed);
});

test('a target whose cases all end passes, and one with a case that fails does not', async () => {
  const right = await run('right');
  assert.equal(right.isRight, true, right.printed);
  assert.match(right.printed, /^right: 1000 cases from seed 5 in .* no failure\n +1000 ended\n$/);
  const wrong = await run('wrong');
  assert.equal(wrong.isRight, false);
  assert.match(wrong.printed, new RegExp(`^wrong: Case ${hangsAt} of seed ${SEED} fails[^]*\n${LARGE}\n`));
});
