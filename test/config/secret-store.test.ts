import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { SecretStore } from '../../src/config/secret-store.js';
import { NorthError } from '../../src/core/error.js';
import { BUILD_FOLDER, startProcess } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const KEY = Buffer.alloc(32, 7).toString('base64');

function openStore(env: Record<string, string> = { MQTT_NORTH_KEY: KEY }): { store: SecretStore; file: string } {
  const dataDir = join(temporaryFolder('store'), 'data');
  return { store: new SecretStore({ dataDir, env }), file: join(dataDir, 'secrets.json') };
}

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof NorthError) return error.code;
    throw error;
  }
  return undefined;
}

interface StoredSecrets {
  secrets: Record<string, { nonce: string; tag: string; data: string }>;
}

function edit(file: string, change: (content: StoredSecrets) => void): void {
  const content = JSON.parse(readFileSync(file, 'utf8')) as StoredSecrets;
  change(content);
  writeFileSync(file, JSON.stringify(content));
}

test('what is stored is given again, by this store and by a new one', () => {
  const { store, file } = openStore();
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }).filter((text) => text === Buffer.from(text).toString()),
      (secret) => {
        store.set('a', secret);
        assert.equal(store.get('a'), secret);
      },
    ),
    { numRuns: 50 },
  );
  store.set('b', 'two');
  assert.deepEqual(store.names(), ['a', 'b']);
  const again = new SecretStore({
    dataDir: join(file, '..'),
    env: { MQTT_NORTH_KEY: Buffer.alloc(32, 7).toString('hex') },
  });
  assert.equal(again.get('b'), 'two');
  assert.equal(again.get('c'), undefined);
  assert.equal(again.remove('b'), true);
  assert.equal(again.remove('b'), false);
  assert.deepEqual(store.names(), ['a']);
});

test('the file has no secret in it, belongs to its owner alone, and never repeats a nonce', () => {
  const { store, file } = openStore();
  const nonces = new Set<string>();
  for (let count = 0; count < 20; count++) {
    store.set('a', 'the-same-secret');
    const text = readFileSync(file, 'utf8');
    assert.doesNotMatch(text, /the-same-secret/);
    assert.ok(!text.includes(Buffer.from('the-same-secret').toString('base64').slice(0, 16)));
    nonces.add(/"nonce": "([^"]+)"/.exec(text)?.[1] ?? '');
  }
  assert.equal(nonces.size, 20);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(join(file, '..')), ['secrets.json']);
});

test('any change of nonce, tag, data or name is noticed', () => {
  for (const part of ['nonce', 'tag', 'data'] as const) {
    const { store, file } = openStore();
    store.set('a', 'a secret of some length');
    const size = Buffer.from(
      (JSON.parse(readFileSync(file, 'utf8')) as StoredSecrets).secrets.a?.[part] ?? '',
      'base64',
    ).length;
    const original = readFileSync(file, 'utf8');
    for (let bit = 0; bit < size * 8; bit += 5) {
      edit(file, ({ secrets }) => {
        const bytes = Buffer.from(secrets.a?.[part] ?? '', 'base64');
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        if (secrets.a !== undefined) secrets.a[part] = bytes.toString('base64');
      });
      assert.equal(
        codeOf(() => store.get('a')),
        'SECRET_UNREADABLE',
        `${part}, bit ${bit}`,
      );
      writeFileSync(file, original);
    }
  }
  const { store, file } = openStore();
  store.set('a', 'secret of a');
  store.set('b', 'secret of b');
  edit(file, ({ secrets }) => {
    if (secrets.a !== undefined) secrets.b = secrets.a;
  });
  assert.equal(
    codeOf(() => store.get('b')),
    'SECRET_UNREADABLE',
  );
  assert.equal(store.get('a'), 'secret of a');
});

test('a shortened tag is not taken for a valid one', () => {
  const { store, file } = openStore();
  store.set('a', 'secret');
  edit(file, ({ secrets }) => {
    const sealed = secrets.a;
    if (sealed !== undefined) sealed.tag = Buffer.from(sealed.tag, 'base64').subarray(0, 4).toString('base64');
  });
  assert.equal(
    codeOf(() => store.get('a')),
    'SECRET_UNREADABLE',
  );
});

test('a damaged file is an error and is never overwritten', () => {
  for (const text of ['', '{', '[]', '{"version":2,"secrets":{}}', '{"version":1,"secrets":{"a":{}}}']) {
    const { store, file } = openStore();
    store.set('a', 'secret');
    writeFileSync(file, text);
    assert.equal(
      codeOf(() => store.get('a')),
      'SECRET_UNREADABLE',
    );
    assert.equal(
      codeOf(() => store.set('b', 'x')),
      'SECRET_UNREADABLE',
    );
    assert.equal(readFileSync(file, 'utf8'), text);
  }
});

test('another key does not open it, and a key of a wrong form is refused', () => {
  const { store, file } = openStore();
  store.set('a', 'secret');
  const open = (key: string) => new SecretStore({ dataDir: join(file, '..'), env: { MQTT_NORTH_KEY: key } });
  assert.equal(
    codeOf(() => open(Buffer.alloc(32, 8).toString('base64')).get('a')),
    'SECRET_UNREADABLE',
  );
  for (const key of ['x', KEY.slice(0, -4), `${KEY}AAAA`, 'zz'.repeat(32), '!'.repeat(44)]) {
    assert.equal(
      codeOf(() => open(key).get('a')),
      'SECRET_KEY_INVALID',
      key,
    );
  }
});

test('a key file is made when it is first needed, outside the data directory, for its owner alone', () => {
  const home = temporaryFolder('home');
  const { store, file } = openStore({ HOME: home });
  assert.equal(store.keyFile, join(home, '.config', 'mqtt-north', 'key'));
  assert.equal(store.get('a'), undefined);
  assert.ok(!existsSync(store.keyFile));
  store.set('a', 'secret');
  assert.equal(statSync(store.keyFile).mode & 0o777, 0o600);
  assert.equal(Buffer.from(readFileSync(store.keyFile, 'utf8'), 'base64').length, 32);
  assert.equal(store.isKeyExposed(), false);
  assert.equal(
    new SecretStore({ dataDir: join(file, '..'), env: { XDG_CONFIG_HOME: join(home, '.config') } }).get('a'),
    'secret',
  );
  writeFileSync(store.keyFile, 'nonsense');
  assert.equal(
    codeOf(() => store.get('a')),
    'SECRET_KEY_INVALID',
  );
});

test('without its key a stored secret is an error that names the key file, and no new key is made', () => {
  const { store, file } = openStore();
  store.set('a', 'secret');
  const home = temporaryFolder('home');
  const keyless = new SecretStore({ dataDir: join(file, '..'), env: { HOME: home } });
  assert.equal(
    codeOf(() => keyless.get('a')),
    'SECRET_KEY_INVALID',
  );
  assert.deepEqual(readdirSync(home), []);
});

test('a key inside the data directory is refused', () => {
  const dataDir = temporaryFolder('data');
  const store = new SecretStore({ dataDir, env: { XDG_CONFIG_HOME: join(dataDir, 'config') } });
  assert.equal(
    codeOf(() => store.set('a', 'x')),
    'SECRET_KEY_INVALID',
  );
});

test('names that could confuse are refused', () => {
  const { store } = openStore();
  for (const name of ['', '__proto__', '.', '-a', 'a/b', 'a b', 'a\n', 'a'.repeat(201)]) {
    assert.equal(
      codeOf(() => store.set(name, 'x')),
      'SECRET_NAME_INVALID',
      JSON.stringify(name),
    );
  }
  store.set('constructor', 'x');
  assert.deepEqual(store.names(), ['constructor']);
  assert.equal(store.get('toString'), undefined);
});

test('a folder that cannot be written to is an error of ours', () => {
  const folder = temporaryFolder('store');
  writeFileSync(join(folder, 'data'), 'a file in the way');
  const store = new SecretStore({ dataDir: join(folder, 'data'), env: { MQTT_NORTH_KEY: KEY } });
  assert.ok(['CONFIG_UNWRITABLE', 'SECRET_UNREADABLE'].includes(codeOf(() => store.set('a', 'x')) ?? ''));
});

test('processes that need a key at the same time end up with one key', async () => {
  const home = temporaryFolder('home');
  const folders = Array.from({ length: 4 }, () => temporaryFolder('data'));
  const script = `
    import { SecretStore } from ${JSON.stringify(join(BUILD_FOLDER, 'src/config/secret-store.js'))};
    const [dataDir, home] = process.argv.slice(-2);
    new SecretStore({ dataDir, env: { HOME: home } }).set('a', 'secret');
  `;
  mkdirSync(home, { recursive: true });
  const processes = folders.map((folder) =>
    startProcess(process.execPath, ['--input-type=module', '-e', script, folder, home]),
  );
  for (const started of processes) assert.equal((await started.ended).code, 0, started.output);
  for (const folder of folders)
    assert.equal(new SecretStore({ dataDir: folder, env: { HOME: home } }).get('a'), 'secret');
});
