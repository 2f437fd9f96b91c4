import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Command } from 'commander';
import { addCommands } from '../../src/cli/commands.js';
import { METRICS } from '../../src/http/metrics.js';
import { ROOT_FOLDER } from '../kit/process.js';

const METRIC_SUFFIX = /_(bucket|sum|count)$/;

/** What users and contributors read, by path. */
function documents(): Map<string, string> {
  const inDocs = readdirSync(join(ROOT_FOLDER, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => join('docs', path));
  const paths = ['README.md', 'CONTRIBUTING.md', 'ARCHITECTURE.md', 'CHANGELOG.md', ...inDocs];
  return new Map(paths.map((path) => [path, readFileSync(join(ROOT_FOLDER, path), 'utf8')]));
}

/** What is written as code, a span or a line of a block each. */
function codeOf(text: string): string[] {
  const blocks = [...text.matchAll(/^```[^\n]*\n(.*?)^```/gms)].flatMap(([, block = '']) => block.split('\n'));
  const indented = text.split('\n').filter((line) => line.startsWith('    '));
  const spans = [...text.matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span);
  return [...blocks, ...indented, ...spans];
}

/** The commands as the program declares them, each with its own. */
async function commands(): Promise<Map<string, ReadonlySet<string>>> {
  const program = new Command();
  await addCommands(program, undefined);
  return new Map(program.commands.map((each) => [each.name(), new Set(each.commands.map((sub) => sub.name()))]));
}

/** Each match of the pattern in what is written as code, with its place. */
function* mentions(pattern: RegExp): Generator<{ place: string; match: RegExpExecArray }> {
  for (const [path, text] of documents()) {
    for (const code of codeOf(text)) {
      for (const match of code.matchAll(pattern)) yield { place: `${path}: ${match[0]}`, match };
    }
  }
}

function testFiles(): string[] {
  return readdirSync(join(ROOT_FOLDER, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts'))
    .map((path) => join('test', path));
}

describe('the documents', () => {
  test('name only commands that there are', async () => {
    const known = await commands();
    assert.ok(known.has('run') && known.get('cache')?.has('list'), [...known.keys()].join(' '));
    const wrong: string[] = [];
    let count = 0;
    for (const { place, match } of mentions(/(?<![\w/@.-])mqtt-north ([a-z][a-z-]*)(?: ([a-z]+))?/g)) {
      count++;
      const [, name = '', sub] = match;
      const subcommands = known.get(name);
      const isWrongBelow =
        subcommands !== undefined && subcommands.size > 0 && sub !== undefined && !subcommands.has(sub);
      if (subcommands === undefined || isWrongBelow) wrong.push(place);
    }
    assert.deepEqual(wrong, []);
    assert.ok(count > 20, `${count} mentions`);
  });

  test('name only metrics that there are', () => {
    const known = new Map(METRICS.map(({ name, type }) => [name, type]));
    const wrong: string[] = [];
    let count = 0;
    for (const { place, match } of mentions(/\bmqtt_north_\w+/g)) {
      count++;
      const [name] = match;
      const isOfHistogram = known.get(name.replace(METRIC_SUFFIX, '')) === 'histogram';
      if (!known.has(name) && !isOfHistogram) wrong.push(place);
    }
    assert.deepEqual(wrong, []);
    assert.ok(count > 20, `${count} mentions`);
  });

  test('name only scripts that there are, and tests that are found', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT_FOLDER, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const files = testFiles();
    const wrong: string[] = [];
    let count = 0;
    for (const { place, match } of mentions(/\bnpm run ([\w:-]+)(?: -- ([\w/ .-]+))?/g)) {
      count++;
      const [, script = '', words = ''] = match;
      if (scripts[script] === undefined) wrong.push(place);
      if (script !== 'test:one') continue;
      for (const word of words.split(' ').filter((each) => each !== '')) {
        if (!files.some((file) => file.includes(word))) wrong.push(`${place} (no test file has "${word}" in its path)`);
      }
    }
    assert.deepEqual(wrong, []);
    assert.ok(count > 10, `${count} mentions`);
  });
});
