/** Cases that once failed, as the shrinker left them. Each is named for what it found. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TARGETS } from './targets.js';

const FOLDER = join(import.meta.dirname, 'kept-cases');

for (const file of readdirSync(FOLDER)) {
  const target = TARGETS[file.replace(/\.json$/, '')];
  if (target === undefined) throw new Error(`There is no fuzz target for ${file}.`);
  const kept = JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as Record<string, unknown>;
  for (const [name, fuzzCase] of Object.entries(kept)) {
    test(`not any more: ${name}`, () => target.tryOne(fuzzCase));
  }
}
