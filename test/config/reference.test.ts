import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type LoadedConfig, readConfig } from '../../src/config/loading.js';
import { SecretStore } from '../../src/config/secret-store.js';
import { startProcess } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const folder = temporaryFolder('reference');

function withPassword(password: string, env: Record<string, string> = {}): LoadedConfig {
  const text = `connectors:
  - id: plant
    settings:
      url: mqtts://127.0.0.1
      authentication:
        type: basic
        username: joe
        password: ${JSON.stringify(password)}
`;
  return readConfig(text, join(folder, 'c.yaml'), { env });
}

function passwordOf({ config, errors }: LoadedConfig): string | undefined {
  assert.deepEqual(errors, []);
  const authentication = config?.connectors[0]?.settings.authentication;
  return authentication?.type === 'basic' ? authentication.password.reveal() : undefined;
}

function problemOf({ errors }: LoadedConfig): string {
  return errors.map(({ line, code, message }) => `${line} ${code} ${message}`).join('\n');
}

test('a variable of the environment is put in, alone or inside a text, and is not expanded again', () => {
  const env = { A: 'x$' + '{B}', B: 'y' };
  assert.equal(passwordOf(withPassword('$' + '{A}', env)), 'x$' + '{B}');
  assert.equal(passwordOf(withPassword('<$' + '{B}$' + '{B}>', env)), '<yy>');
  assert.equal(passwordOf(withPassword('$$' + '{B}', env)), '$' + '{B}');
  assert.equal(passwordOf(withPassword('$' + '{not a name} $B', env)), '$' + '{not a name} $B');
});

test('a variable is put into any text, and its value is then checked', () => {
  const read = (url: string) =>
    readConfig(`connectors: [{ id: a, settings: { url: "mqtt://$\{HOST}" } }]`, '/c.yaml', { env: { HOST: url } });
  assert.equal(read('127.0.0.1').config?.connectors[0]?.settings.url, 'mqtt://127.0.0.1');
  assert.match(problemOf(read('u:p@h')), /1 BROKER_URL_INVALID contains a user name or password/);
});

test('a variable that is not set, or is empty where a secret is wanted, is a problem', () => {
  const problem = problemOf(withPassword('$' + '{A}'));
  assert.equal(problem, '8 CONFIG_SECRET_MISSING refers to the environment variable A, which is not set');
  assert.match(problemOf(withPassword('$' + '{A}', { A: '' })), /which is empty/);
});

test('the value of a variable is no reference itself', () => {
  assert.equal(passwordOf(withPassword('$' + '{A}', { A: 'file:/etc/hostname' })), 'file:/etc/hostname');
  assert.equal(passwordOf(withPassword('$' + '{A}', { A: 'secret:x' })), 'secret:x');
});

test('a file gives its content without the last line end; the path may be relative', () => {
  mkdirSync(join(folder, 'secrets'));
  writeFileSync(join(folder, 'secrets', 'a'), 'päss word\n');
  writeFileSync(join(folder, 'secrets', 'b'), ' two\nlines \r\n');
  assert.equal(passwordOf(withPassword('file:secrets/a')), 'päss word');
  assert.equal(passwordOf(withPassword(`file:${folder}/secrets/b`)), ' two\nlines ');
  assert.equal(passwordOf(withPassword(`file://${folder}/secrets/a`)), 'päss word');
  assert.equal(passwordOf(withPassword('file:secrets/$' + '{NAME}', { NAME: 'a' })), 'päss word');
});

test('a file that is missing, empty, too large, a folder or a pipe is a problem and no wait', async () => {
  writeFileSync(join(folder, 'empty'), '\n');
  writeFileSync(join(folder, 'large'), 'x'.repeat(65_537));
  await startProcess('mkfifo', [join(folder, 'pipe')]).ended;
  assert.match(problemOf(withPassword('file:nope')), /8 CONFIG_SECRET_MISSING refers to a file that does not exist/);
  assert.match(problemOf(withPassword('file:')), /refers to/);
  assert.match(problemOf(withPassword('file:empty')), /is empty/);
  assert.match(problemOf(withPassword('file:large')), /too large/);
  assert.match(problemOf(withPassword(`file:${folder}`)), /no file/);
  assert.match(problemOf(withPassword('file:pipe')), /no file/);
  assert.match(problemOf(withPassword('file:a\0b')), /refers to/);
});

test('a stored secret is found in the data directory of the configuration', () => {
  const env = { MQTT_NORTH_KEY: 'ab'.repeat(32) };
  new SecretStore({ dataDir: join(folder, 'data'), env }).set('plant', 'stored');
  assert.equal(passwordOf(withPassword('secret:plant', env)), 'stored');
  assert.match(problemOf(withPassword('secret:other', env)), /CONFIG_SECRET_MISSING/);
  assert.match(problemOf(withPassword('secret:__proto__', env)), /CONFIG_SECRET_MISSING/);
  assert.match(problemOf(withPassword('secret:plant', { MQTT_NORTH_KEY: 'cd'.repeat(32) })), /8 SECRET_UNREADABLE/);
  assert.match(problemOf(withPassword('secret:plant', { MQTT_NORTH_KEY: 'short' })), /8 SECRET_KEY_INVALID/);
});

test('file: and secret: mean nothing outside of secrets', () => {
  const { config } = readConfig(
    'connectors: [{ id: a, name: "file:/x", description: "secret:y", settings: { url: "mqtt://h" } }]',
    '/c.yaml',
    { env: {} },
  );
  assert.deepEqual([config?.connectors[0]?.name, config?.connectors[0]?.description], ['file:/x', 'secret:y']);
});
