import assert from 'node:assert/strict';
import { chmodSync, lstatSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openConfig } from '../../src/config/loading.js';
import { readWrittenConnector, removeConnector, type SavingOptions, saveConnector } from '../../src/config/saving.js';
import { SecretStore } from '../../src/config/secret-store.js';
import { isRecord } from '../../src/config/shape.js';
import { NorthError } from '../../src/core/error.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const TEXT = `# The plant's gateway.
dataDir: ./data # on the large disk

connectors:
  # Hall 1
  - id: hall-1
    name: "Hall 1" # for people
    settings:
      url: mqtts://broker.example.com # the central one
      # not more than once a day
      reconnectPeriod: 5 s
      authentication: { type: basic, username: hall-1, password: "$\{HALL_1}" }
    transformers:
      # Temperatures
      - type: time-values-to-mqtt
        mapping:
          - { pointId: a, topic: t/a } # first
          - { pointId: b, topic: t/b } # second
          - { pointId: c, topic: t/c } # third

  # Hall 2, not in use yet
  - id: hall-2
    enabled: false
    settings:
      url: mqtt://10.0.0.1

# Nothing comes from files.
inputs: []
`;

const env = { HALL_1: 'from-the-environment', MQTT_NORTH_KEY: 'ab'.repeat(32) };

function openFile(text = TEXT, name = 'mqtt-north.yaml') {
  const folder = temporaryFolder('saving');
  const file = join(folder, name);
  writeFileSync(file, text);
  const store = new SecretStore({ dataDir: join(folder, 'data'), env });
  return { folder, file, store, options: { env, store } satisfies SavingOptions };
}

type Written = Record<string, unknown> & { settings: Record<string, unknown>; transformers: { mapping: unknown[] }[] };

function written(file: string, id: string): Written {
  const connector = readWrittenConnector(file, id)?.connector;
  assert.ok(isRecord(connector) && isRecord(connector.settings));
  // The test's own document, whose form is known.
  return connector as Written;
}

function linesThatDiffer(before: string, after: string): string[] {
  const old = new Set(before.split('\n'));
  return after.split('\n').filter((line) => !old.has(line));
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

test('saving a connector as it was read changes nothing', () => {
  const { file, options } = openFile();
  for (const id of ['hall-1', 'hall-2']) saveConnector(file, written(file, id), options);
  assert.equal(readFileSync(file, 'utf8'), TEXT);
});

test('a changed value changes its line alone, and all comments stay', () => {
  const { file, options } = openFile();
  const connector = written(file, 'hall-1');
  connector.settings.url = 'mqtts://other.example.com';
  connector.settings.qos = 2;
  const { config } = saveConnector(file, connector, options);
  assert.equal(config?.connectors[0]?.settings.qos, 2);
  const after = readFileSync(file, 'utf8');
  assert.deepEqual(linesThatDiffer(TEXT, after), [
    '      url: mqtts://other.example.com # the central one',
    '      qos: 2',
  ]);
  for (const [comment] of TEXT.matchAll(/#.*/g)) assert.ok(after.includes(comment), comment);
});

test('removing an entry of a list leaves the comments of the others with them', () => {
  const { file, options } = openFile();
  const connector = written(file, 'hall-1');
  connector.transformers[0]?.mapping.splice(1, 1, { pointId: 'd', topic: 't/d' });
  connector.transformers[0]?.mapping.splice(0, 1);
  saveConnector(file, connector, options);
  const after = readFileSync(file, 'utf8');
  assert.match(after, /\{ pointId: c, topic: t\/c \} # third/);
  assert.doesNotMatch(after, /# first|pointId: a/);
  assert.match(after, /pointId: d/);
});

test('a connector is added at the end and removed again, and the others stay as they are', () => {
  const { file, options } = openFile();
  saveConnector(file, { id: 'hall-3', settings: { url: 'mqtt://127.0.0.1', qos: 0 } }, options);
  const added = readFileSync(file, 'utf8');
  assert.deepEqual(linesThatDiffer(TEXT, added), ['  - id: hall-3', '      url: mqtt://127.0.0.1', '      qos: 0']);
  removeConnector(file, 'hall-3', options);
  assert.equal(readFileSync(file, 'utf8'), TEXT);
  assert.equal(
    codeOf(() => removeConnector(file, 'hall-3', options)),
    'CONNECTOR_UNKNOWN',
  );
  removeConnector(file, 'hall-1', options);
  assert.deepEqual(
    openConfig(file, { env }).config.connectors.map(({ id }) => id),
    ['hall-2'],
  );
});

test('an empty file, and one without the key, take a first connector', () => {
  for (const text of ['', '# only a comment\n', 'dataDir: x\n', 'connectors:\n', 'connectors: []\n']) {
    const { file, options } = openFile(text);
    saveConnector(file, { id: 'a', settings: { url: 'mqtt://127.0.0.1' } }, options);
    assert.equal(openConfig(file, { env }).config.connectors[0]?.id, 'a', JSON.stringify(text));
    if (text.includes('comment')) assert.match(readFileSync(file, 'utf8'), /# only a comment/);
  }
});

test('a wrong connector is refused with all problems, and neither file nor secrets change', () => {
  const { file, store, options } = openFile();
  const wrong = {
    id: 'hall-1',
    settings: { url: 'nonsense', qos: 5, authentication: { type: 'basic', username: 'u', password: 'new' } },
  };
  assert.throws(
    () => saveConnector(file, wrong, options),
    (error) =>
      error instanceof NorthError &&
      error.code === 'CONFIG_INVALID' &&
      Array.isArray(error.cause) &&
      error.cause.length === 2,
  );
  assert.equal(readFileSync(file, 'utf8'), TEXT);
  assert.deepEqual(store.names(), []);
  assert.equal(
    codeOf(() => saveConnector(file, 'text', options)),
    'CONFIG_INVALID',
  );
  assert.equal(
    codeOf(() => saveConnector(file, { settings: { url: 'mqtt://h' } }, options)),
    'CONFIG_INVALID',
  );
});

test('a plain secret goes into the store, one given as [redacted] stays, and one that is replaced is forgotten', () => {
  const { file, store, options } = openFile();
  const connector = written(file, 'hall-1');
  connector.settings.authentication = { type: 'basic', username: 'u', password: 'first-password' };
  saveConnector(file, connector, options);
  const [first = ''] = store.names();
  assert.equal(store.get(first), 'first-password');
  assert.match(readFileSync(file, 'utf8'), new RegExp(`password: "?secret:${first}`));
  assert.doesNotMatch(readFileSync(file, 'utf8'), /first-password/);

  connector.settings.authentication = { type: 'basic', username: 'v', password: `secret:${first}` };
  saveConnector(file, connector, options);
  assert.deepEqual(store.names(), [first]);

  connector.settings.authentication = { type: 'basic', username: 'v', password: 'second-password' };
  const { config } = saveConnector(file, connector, options);
  const authentication = config?.connectors[0]?.settings.authentication;
  assert.ok(authentication?.type === 'basic' && authentication.password.reveal() === 'second-password');
  assert.equal(store.names().length, 1);
  assert.notEqual(store.names()[0], first);
});

test('a plain secret of the file is shown as [redacted], also where it is repeated, and comes back untouched', () => {
  const text = TEXT.replace('"$' + '{HALL_1}"', 'hunter2hunter2').replace('"Hall 1"', 'the hunter2hunter2 hall');
  const { file, options } = openFile(text);
  const connector = written(file, 'hall-1');
  assert.doesNotMatch(JSON.stringify(connector), /hunter2/);
  assert.match(JSON.stringify(connector), /"password":"\[redacted\]"/);
  connector.settings.qos = 2;
  saveConnector(file, connector, options);
  assert.deepEqual(linesThatDiffer(text, readFileSync(file, 'utf8')), ['      qos: 2']);
});

test('[redacted] for a secret that is not there is refused and not taken for the password', () => {
  const { file, options } = openFile();
  const settings = { url: 'mqtts://h', authentication: { type: 'basic', username: 'u', password: '[redacted]' } };
  assert.equal(
    codeOf(() => saveConnector(file, { id: 'new', settings }, options)),
    'CONFIG_INVALID',
  );
});

test('a change that is based on an older revision is refused', () => {
  const { file, options } = openFile();
  const read = readWrittenConnector(file, 'hall-1');
  assert.ok(read !== undefined);
  saveConnector(file, { id: 'c', settings: { url: 'mqtt://127.0.0.1' } }, { ...options, revision: read.revision });
  assert.equal(
    codeOf(() => saveConnector(file, read.connector, { ...options, revision: read.revision })),
    'CONFIG_CHANGED',
  );
});

test('a JSON file stays JSON', () => {
  const text = `${JSON.stringify({ dataDir: 'x', connectors: [{ id: 'a', settings: { url: 'mqtt://127.0.0.1', keyPassphrase: 'hunter2hunter2' } }] }, null, 4)}\n`;
  const { file, options } = openFile(text, 'c.json');
  const connector = written(file, 'a');
  saveConnector(file, connector, options);
  assert.equal(readFileSync(file, 'utf8'), text);
  connector.settings.qos = 2;
  saveConnector(file, connector, options);
  const after: unknown = JSON.parse(readFileSync(file, 'utf8'));
  assert.deepEqual(after, {
    dataDir: 'x',
    connectors: [{ id: 'a', settings: { url: 'mqtt://127.0.0.1', keyPassphrase: 'hunter2hunter2', qos: 2 } }],
  });
});

test('the file keeps its rights, a link stays a link, and no temporary file is left', () => {
  const { folder, file, options } = openFile();
  chmodSync(file, 0o640);
  const link = join(folder, 'link.yaml');
  symlinkSync(file, link);
  saveConnector(link, { id: 'c', settings: { url: 'mqtt://127.0.0.1' } }, options);
  assert.ok(lstatSync(link).isSymbolicLink());
  assert.equal(statSync(file).mode & 0o777, 0o640);
  assert.deepEqual(readdirSync(folder).sort(), ['link.yaml', 'mqtt-north.yaml']);
  assert.equal(openConfig(file, { env }).config.connectors.length, 3);
});

test('a file with a syntax problem is not touched', () => {
  const { file, options } = openFile('connectors: [\n');
  assert.equal(
    codeOf(() => saveConnector(file, { id: 'c', settings: { url: 'mqtt://h' } }, options)),
    'CONFIG_SYNTAX',
  );
  assert.equal(readFileSync(file, 'utf8'), 'connectors: [\n');
});

test('a connector that shares its settings with another through an alias does not change the other', () => {
  const text = `connectors:
  - id: a # the first
    settings: &shared
      url: mqtt://127.0.0.1 # here
      qos: 1
  - id: b # the second
    settings: *shared
`;
  for (const [changed, other] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    const { file, options } = openFile(text);
    const connector = written(file, changed);
    connector.settings.qos = 2;
    const { config } = saveConnector(file, connector, options);
    const qos = Object.fromEntries((config?.connectors ?? []).map(({ id, settings }) => [id, settings.qos]));
    assert.deepEqual(qos, { [changed]: 2, [other]: 1 });
    assert.match(readFileSync(file, 'utf8'), /# the first[\s\S]*# the second/);
  }
  const { file, options } = openFile(text);
  removeConnector(file, 'a', options);
  assert.equal(openConfig(file, { env }).config.connectors[0]?.settings.url, 'mqtt://127.0.0.1');
});

test('what another section takes from a connector through an alias stays as it was', () => {
  const text = `server:
  tokens:
    - { name: b, role: viewer, secret: 0123456789abcdef }
connectors:
  - { id: a, name: &name Plant, settings: { url: "mqtt://127.0.0.1" } }
inputs:
  - { id: s, type: host-sensors, prefix: *name }
`;
  const { file, options } = openFile(text);
  saveConnector(file, { ...written(file, 'a'), name: 'Other' }, options);
  const { config } = openConfig(file, { env });
  assert.equal(config.connectors[0]?.name, 'Other');
  const [input] = config.inputs;
  assert.ok(input?.type === 'host-sensors' && input.prefix === 'Plant');
});
