import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, test } from 'node:test';
import { ROOT_FOLDER } from '../kit/process.js';

/** What each folder of src/ may import besides itself. A folder that is not here may not be there. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  core: [],
  config: ['core'],
  wire: ['core'],
  transport: ['core', 'config'],
  cache: ['core', 'config'],
  transform: ['core', 'config'],
  inputs: ['core', 'config'],
  session: ['core', 'config', 'wire'],
  connector: ['core', 'config', 'wire', 'transport', 'cache', 'transform', 'inputs', 'session'],
  http: ['core', 'config', 'cache', 'inputs', 'connector'],
  service: ['core', 'config', 'cache', 'inputs', 'connector', 'http'],
  selftest: ['core', 'config', 'wire', 'transport', 'cache', 'session', 'connector', 'service'],
  measurement: ['core', 'config', 'wire', 'transport', 'session', 'connector', 'selftest'],
  cli: ['core', 'config', 'cache', 'transform', 'inputs', 'connector', 'http', 'service', 'selftest', 'measurement'],
};

/** The pure machine has no socket, no timer, no clock and no chance in it. */
const IMPURE = /\b(Date\.now|Math\.random|performance\.now|setTimeout|setInterval|setImmediate|new Date\()/;

const SOURCE = join(ROOT_FOLDER, 'src');

function sourceFiles(): string[] {
  return readdirSync(SOURCE, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/(?:from|import)\s*\(?'([^']+)'/g)].map((match) => match[1] ?? '');
}

function folderOf(file: string): string {
  const path = relative(SOURCE, file);
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : '';
}

describe('the structure of the source', () => {
  test('imports point one way', () => {
    const wrong: string[] = [];
    for (const file of sourceFiles()) {
      const from = folderOf(file);
      if (from === '') continue;
      const allowed = ALLOWED[from];
      assert.ok(allowed !== undefined, `src/${from} has no place in the order of imports`);
      for (const specifier of importsOf(readFileSync(file, 'utf8'))) {
        if (!specifier.startsWith('.')) continue;
        const to = folderOf(normalize(join(dirname(file), specifier)));
        if (to !== from && !allowed.includes(to)) wrong.push(`${relative(SOURCE, file)} imports ${specifier}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  test('the session and the wire know no time and no chance of their own', () => {
    const impure = sourceFiles()
      .filter((file) => ['session', 'wire'].includes(folderOf(file)))
      .filter(
        (file) =>
          IMPURE.test(readFileSync(file, 'utf8')) || /from 'node:(net|tls|timers|fs)/.test(readFileSync(file, 'utf8')),
      );
    assert.deepEqual(impure, []);
  });

  test('the cache is the only folder that knows SQLite', () => {
    const others = sourceFiles().filter(
      (file) => folderOf(file) !== 'cache' && importsOf(readFileSync(file, 'utf8')).includes('better-sqlite3'),
    );
    assert.deepEqual(others, []);
  });

  test('the map in ARCHITECTURE.md names every folder of the source', () => {
    const map = readFileSync(join(ROOT_FOLDER, 'ARCHITECTURE.md'), 'utf8');
    const folders = readdirSync(SOURCE, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const missing = folders.map(({ name }) => `src/${name}/`).filter((path) => !map.includes(path));
    assert.deepEqual(missing, []);
  });

  test('every file that the documents name is there', () => {
    const missing: string[] = [];
    for (const document of [
      'ARCHITECTURE.md',
      'CONTRIBUTING.md',
      'README.md',
      'docs/guarantees.md',
      'docs/assumptions.md',
    ]) {
      const text = readFileSync(join(ROOT_FOLDER, document), 'utf8');
      for (const [, path] of text.matchAll(/`((?:src|test|docs|scripts|bench)\/[\w./-]+\.\w+)`/g)) {
        if (path !== undefined && !path.includes('NAME') && !existsSync(join(ROOT_FOLDER, path))) {
          missing.push(`${document}: ${path}`);
        }
      }
      for (const [, path] of text.matchAll(/\]\((?!http)([\w./-]+)(?:#[\w-]+)?\)/g)) {
        const isThere = path !== undefined && existsSync(join(ROOT_FOLDER, dirname(document), path));
        if (!isThere) missing.push(`${document}: ${path}`);
      }
    }
    assert.deepEqual(missing, []);
  });
});
