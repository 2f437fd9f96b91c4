import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { ROOT_FOLDER } from '../kit/process.js';

/** The packages that a file imports at once, itself or through other files; types and `import()` load nothing. */
function packagesOf(entry: string): string[] {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const queue = [join(ROOT_FOLDER, entry)];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    const text = readFileSync(file, 'utf8');
    for (const [, names = '', specifier = ''] of text.matchAll(
      /^(?:import|export)\s+(?!type\b)([^;']*?from\s+)?'([^']+)'/gm,
    )) {
      if (specifier.startsWith('.')) queue.push(join(dirname(file), specifier.replace(/\.js$/, '.ts')));
      else if (!specifier.startsWith('node:') && !/^\{(\s*type [^,}]+,?)*\s*\}\s+from/.test(names))
        packages.add(specifier);
    }
  }
  assert.ok(seen.size > 1, `${relative(ROOT_FOLDER, entry)} imports nothing`);
  return [...packages].sort();
}

// Each package that stands here takes memory in every service, also in one that never needs it; see decision 12.
describe('what is loaded at the start', () => {
  test('the service loads the packages that every service needs, and no others', () => {
    assert.deepEqual(packagesOf('src/cli/run.ts'), [
      'better-sqlite3',
      'fastest-levenshtein',
      'mqtt-packet',
      'picomatch',
      'pino',
      'yaml',
      'zod',
    ]);
  });

  test('the thread of a cache loads SQLite alone', () => {
    assert.deepEqual(packagesOf('src/cache/worker.ts'), ['better-sqlite3']);
  });
});
