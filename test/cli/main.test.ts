import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { valueAt } from '../../src/config/shape.js';
import { ROOT_FOLDER, runCli, startProcess } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const env = { NO_COLOR: '1' };

test('help and version go to stdout and exit with 0', async () => {
  const version = await runCli(['--version'], { env });
  const manifest: unknown = JSON.parse(readFileSync(join(ROOT_FOLDER, 'package.json'), 'utf8'));
  assert.deepEqual([version.code, version.stdout.trim()], [0, valueAt(manifest, ['version'])]);
  for (const args of [
    ['--help'],
    ['init', '--help'],
    ['check', '-h'],
    ['explain', '--help'],
    ['import', '--help'],
    ['import', 'oibus', '--help'],
  ]) {
    const help = await runCli(args, { env });
    assert.deepEqual([help.code, help.stderr], [0, ''], args.join(' '));
    assert.match(help.stdout, /^Usage: mqtt-north/);
  }
});

for (const [args, hint] of [
  [['chek'], 'Did you mean check?'],
  [['check', '--cofig', 'x'], 'Did you mean --config?'],
  [['check', '-c'], ''],
  [['check', 'surplus'], ''],
  [['explain'], ''],
  [['import', 'oibus'], ''],
  [['import', 'nodered', 'x'], ''],
] as const) {
  test(`the command line "${args.join(' ')}" is wrong: exit code 2, code and hint on stderr`, async () => {
    const result = await runCli(args, { env, cwd: temporaryFolder('main') });
    assert.deepEqual([result.code, result.stdout], [2, '']);
    assert.match(result.stderr, /^error COMMAND_INVALID: /);
    assert.ok(result.stderr.includes(hint), result.stderr);
  });
}

test('no command at all shows the help and exits with 2', async () => {
  for (const args of [[], ['import']]) {
    const result = await runCli(args, { env });
    assert.equal(result.code, 2);
    assert.match(result.stderr, /^Usage: mqtt-north/);
  }
});

test('a failure with --json is JSON on stdout', async () => {
  const result = await runCli(['check', '-c', 'nope.yaml', '--json'], { env, cwd: temporaryFolder('main') });
  assert.equal(result.code, 2);
  const error: unknown = JSON.parse(result.stdout);
  assert.deepEqual(valueAt(error, ['error', 'code']), 'CONFIG_MISSING');
  assert.deepEqual(valueAt(error, ['error', 'place']), 'nope.yaml');
});

test('a reader that goes away early is no failure', async () => {
  const shell = startProcess(
    'sh',
    ['-c', '"$0" build/src/cli/main.js explain 0x87 | head -c 1 >/dev/null; echo done', process.execPath],
    { env },
  );
  await shell.ended;
  assert.equal(shell.stderr, '');
  assert.equal(shell.stdout, 'done\n');
});

test('-V behind a command is its protocol version, before it the version of the program', async () => {
  for (const command of [
    ['publish', '-t', 'a', '-m', 'x'],
    ['selftest', '--dir', '.'],
    ['bench', '--dir', '.'],
  ]) {
    const { code, stdout, stderr } = await runCli([...command, '--url', 'mqtt://127.0.0.1', '-V', '7']);
    assert.equal(code, 2, stdout + stderr);
    assert.match(stderr, /settings\.protocolVersion must be auto, 5 or 3\.1\.1/);
  }
  assert.match((await runCli(['-V', 'publish'])).stdout, /^\d+\.\d+\.\d+/);
});
