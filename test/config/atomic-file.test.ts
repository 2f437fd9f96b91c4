import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createFile, replaceFile } from '../../src/config/atomic-file.js';
import { eventually } from '../kit/deadline.js';
import { BUILD_FOLDER, startProcess } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

test('a new file is made with its rights, and one that is there is not replaced', () => {
  const file = join(temporaryFolder('atomic'), 'a');
  assert.equal(createFile(file, 'one', 0o600), true);
  assert.equal(createFile(file, 'two', 0o600), false);
  assert.equal(readFileSync(file, 'utf8'), 'one');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(join(file, '..')), ['a']);
});

test('when replacing fails, the old file stays and nothing is left behind', () => {
  const folder = temporaryFolder('atomic');
  mkdirSync(join(folder, 'a', 'inside'), { recursive: true });
  assert.throws(() => replaceFile(join(folder, 'a'), 'text', 0o600));
  assert.deepEqual(readdirSync(folder), ['a']);
  assert.throws(() => replaceFile(join(folder, 'nope', 'b'), 'text', 0o600));
});

test('a process that is killed while it replaces a file leaves the old text or the new one', async () => {
  const folder = temporaryFolder('atomic');
  const file = join(folder, 'a');
  const texts = ['x', 'y'].map((letter) => letter.repeat(200_000));
  writeFileSync(file, texts[0] ?? '');
  const script = `
    import { replaceFile } from ${JSON.stringify(join(BUILD_FOLDER, 'src/config/atomic-file.js'))};
    console.log('running');
    for (let turn = 1; ; turn++) replaceFile(process.argv[1], (turn % 2 ? 'y' : 'x').repeat(200_000), 0o600);
  `;
  for (let round = 0; round < 5; round++) {
    const process_ = startProcess(process.execPath, ['--input-type=module', '-e', script, file]);
    await process_.waitForOutput('running');
    const before = statSync(file).ino;
    await eventually(() => statSync(file).ino !== before, 'a replaced file');
    await process_.kill();
    assert.ok(texts.includes(readFileSync(file, 'utf8')));
  }
});
