import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT_FOLDER } from '../kit/process.js';

/** What goes wrong in this field, by number: what is lost, doubled, stuck, and what the clock does. */
const CASES: Readonly<Record<string, readonly number[]>> = {
  loss: [1, 2, 3, 4, 5, 6, 7, 8, 9],
  duplicates: [10, 11, 12, 13],
  stuck: [14, 15, 16, 17, 18, 19, 20, 21, 22],
  time: [34],
};

const FIELD = join(ROOT_FOLDER, 'test', 'field');

function numbersIn(file: string): number[] {
  const text = readFileSync(join(FIELD, `${file}.test.ts`), 'utf8');
  return [...text.matchAll(/^\s*test\(\s*['"`]field (\d+): /gm)].map(([, number]) => Number(number));
}

test('every case of the field has a test whose name begins with its number, and no other number is used', () => {
  for (const [file, cases] of Object.entries(CASES)) {
    assert.deepEqual(
      [...new Set(numbersIn(file))].sort((one, other) => one - other),
      cases,
      `test/field/${file}.test.ts`,
    );
  }
});

test('every test of the field belongs to a case', () => {
  const known = Object.keys(CASES).map((file) => `${file}.test.ts`);
  const files = readdirSync(FIELD).filter((name) => name.endsWith('.test.ts'));
  assert.deepEqual(files.sort(), known.sort());
  for (const name of files) {
    const text = readFileSync(join(FIELD, name), 'utf8');
    const all = [...text.matchAll(/^\s*test\(/gm)].length;
    assert.equal(numbersIn(name.replace('.test.ts', '')).length, all, `${name}: a test without a number`);
  }
});
