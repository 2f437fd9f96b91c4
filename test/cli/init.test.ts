import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { STARTER_CONFIG } from '../../src/cli/starter-config.js';
import { readConfig } from '../../src/config/loading.js';
import { runCli } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const env = { NO_COLOR: '1' };

test('init writes a configuration that check finds nothing wrong with, and does not overwrite it', async () => {
  const cwd = temporaryFolder('init');
  const first = await runCli(['init'], { cwd, env });
  assert.deepEqual([first.code, first.stderr], [0, '']);
  assert.match(first.stdout, /mqtt-north\.yaml is written[\s\S]*mqtt-north check\n/);
  const file = join(cwd, 'mqtt-north.yaml');
  assert.equal(readFileSync(file, 'utf8'), STARTER_CONFIG);
  assert.equal(statSync(file).mode & 0o777, 0o600);

  const check = await runCli(['check'], { cwd, env });
  assert.deepEqual([check.code, check.stderr], [0, '']);
  assert.match(
    check.stdout,
    /^✔ mqtt-north\.yaml is valid: 1 connector, 1 input\.\n {4}plant {2}mqtt:\/\/127\.0\.0\.1:1883 /,
  );

  const second = await runCli(['init'], { cwd, env });
  assert.deepEqual([second.code, second.stdout], [2, '']);
  assert.match(second.stderr, /error CONFIG_EXISTS: .*\n {2}at mqtt-north\.yaml\n {2}→ /);
  assert.equal(readFileSync(file, 'utf8'), STARTER_CONFIG);
  assert.deepEqual(readdirSync(cwd), ['mqtt-north.yaml']);
});

test('init takes another name, and says when the folder is not there', async () => {
  const cwd = temporaryFolder('init');
  const named = await runCli(['init', 'a.yaml'], { cwd, env });
  assert.match(named.stdout, /mqtt-north check -c a\.yaml/);
  const nowhere = await runCli(['init', 'no/a.yaml'], { cwd, env });
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /error CONFIG_UNWRITABLE: .*ENOENT/);
});

test('each commented choice of the starter configuration is valid, too', () => {
  const choices: readonly [string, RegExp][] = [
    ['basic', /^( *)# (authentication:)\n *# {3}(type: basic)\n *# {3}(username: \S+)\n *# {3}(password: \S+).*$/m],
    [
      'cert',
      /^( *)# (authentication:)\n *# {3}(type: cert)\n *# {3}(certFilePath: \S+)\n *# {3}(keyFilePath: \S+)\n *# {3}(caFilePath: \S+).*$/m,
    ],
  ];
  for (const [name, pattern] of choices) {
    const text = STARTER_CONFIG.replace(pattern, (match) => match.replaceAll(/^( *)# /gm, '$1'));
    assert.notEqual(text, STARTER_CONFIG, name);
    const { errors } = readConfig(text, '/c.yaml', { env: { PLANT_PASSWORD: 'x' } });
    assert.deepEqual(errors, [], name);
  }
  const single = STARTER_CONFIG.replace(/# tokens:\n( *)# {3}- /, 'tokens:\n$1  - ').replace(
    '# - { id: files',
    '- { id: files',
  );
  assert.deepEqual(readConfig(single, '/c.yaml', { env: { PRESS_TOKEN: 'x'.repeat(16) } }).errors, []);
});
