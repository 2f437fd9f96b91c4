// Which test files there are, which tools they need, and which files look like tests and would be run by nobody.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import { sourceFiles } from './compile.mjs';

// A test that imports this module, itself or through others, needs the tool.
const TOOL_MODULES = {
  mosquitto: 'test/kit/mosquitto.ts',
  chromium: 'test/kit/browser.ts',
  strace: 'test/kit/strace.ts',
};
// A test that imports this module uses the tool where it is there, and itself skips what it cannot do without it.
const OPTIONAL_TOOL_MODULES = { faketime: 'test/chaos/wall-clock.ts' };

export function testFiles() {
  return sourceFiles('test')
    .map((file) => file.split(sep).join('/'))
    .filter((file) => file.endsWith('.test.ts'))
    .sort();
}

/** Files with tests in them that no pattern matches, each with what is wrong. */
export function strayTests() {
  const problems = [];
  for (const file of ['src', 'test', 'bench', 'scripts']
    .flatMap(sourceFiles)
    .map((path) => path.split(sep).join('/'))) {
    if (/\.(test|spec)\.[cm]?[jt]sx?$/.test(file)) {
      if (!(file.startsWith('test/') && file.endsWith('.test.ts'))) {
        problems.push(`${file} is run by nobody: tests are test/**/*.test.ts`);
      }
    } else if (file.startsWith('test/') && /\.[cm]?[jt]sx?$/.test(file) && registersTests(readFileSync(file, 'utf8'))) {
      problems.push(`${file} registers tests and is run by nobody: name it *.test.ts, or export functions only`);
    }
  }
  return problems;
}

/** A module may import node:test for its types or for functions that tests call; only a call of its own is a test. */
function registersTests(text) {
  const imported = /^import\s+(?!type\b)[^;]*?from\s+['"]node:test['"]/m.test(text);
  return imported && /^(await\s+)?(test|it|describe|suite)(\.\w+)?\(/m.test(text);
}

/** The tools that the file cannot do without, and those that it can, found by its imports. */
export function toolsOf(testFile) {
  const seen = new Set();
  const queue = [testFile];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file) || !existsSync(file)) continue;
    seen.add(file);
    const text = readFileSync(file, 'utf8');
    for (const [, path] of text.matchAll(
      /(?:^(?:import|export)\s+(?!type\b)[^;]*?|\bimport\()['"](\.{1,2}\/[^'"]+)\.js['"]/gm,
    )) {
      const target = normalize(join(dirname(file), `${path}.ts`))
        .split(sep)
        .join('/');
      if (target.startsWith('test/')) queue.push(target);
    }
  }
  const toolsAmong = (modules) => Object.keys(modules).filter((tool) => seen.has(modules[tool]));
  return { needed: toolsAmong(TOOL_MODULES), optional: toolsAmong(OPTIONAL_TOOL_MODULES) };
}
