import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { convertOibus } from '../../src/cli/import.js';
import { readConfig } from '../../src/config/loading.js';
import { isRecord, valueAt } from '../../src/config/shape.js';
import { NorthError } from '../../src/core/error.js';
import { ROOT_FOLDER, runCli } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const FIXTURES = join(ROOT_FOLDER, 'test', 'cli', 'fixtures');
const env = { NO_COLOR: '1' };

async function importFixture(name: string) {
  const folder = temporaryFolder('import');
  const file = join(folder, 'mqtt-north.yaml');
  const result = await runCli(['import', 'oibus', join(FIXTURES, name), '-o', file], { cwd: folder, env });
  assert.equal(result.code, 0, result.stderr);
  const check = await runCli(['check', '-c', file], { cwd: folder, env });
  assert.equal(check.code, 0, check.stdout);
  const config: unknown = parse(readFileSync(file, 'utf8'));
  return { config, file, check, ...result };
}

test('a North MQTT connector is carried over, passes check, and what is lost is told', async () => {
  const { config, file, stdout, stderr, check } = await importFixture('oibus-north.json');
  assert.equal(stdout, '');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(config, {
    connectors: [
      {
        id: 'plant-a-broker',
        name: 'Plant A – Broker',
        description: 'Line values to the site broker',
        settings: {
          url: 'mqtts://broker.example.com:8883',
          qos: 2,
          persistent: true,
          rejectUnauthorized: true,
          reconnectPeriod: 5000,
          connectTimeout: 30_000,
          authentication: { type: 'basic', username: 'plant-a', password: 'CHANGE-ME' },
        },
        caching: {
          maxSize: '2048 MiB',
          quarantine: { retentionDuration: '3 d' },
          archive: { enabled: true, retentionDuration: '30 d' },
        },
        transformers: [
          {
            from: 'opcua-line-1',
            type: 'time-values-to-mqtt',
            mapping: [
              { pointId: 'line1/temperature', topic: 'plant-a/line1/temperature' },
              { pointId: 'line1/pressure', topic: 'plant-a/line1/pressure' },
            ],
          },
          { from: '*', type: 'setpoints-to-mqtt', mapping: [{ reference: 'pump1/speed', topic: 'cmd/pump1/speed' }] },
          {
            from: 'laboratory',
            type: 'csv-to-mqtt',
            delimiter: '\t',
            hasHeader: true,
            topicColumn: 'topic',
            payloadType: 'object',
            objectFields: [
              { key: 'value', column: 'val', type: 'number' },
              {
                key: 'time',
                column: 'ts',
                type: 'datetime',
                datetime: {
                  input: { format: 'dd/MM/yyyy HH:mm:ss', timezone: 'Europe/Paris', locale: 'en' },
                  output: { format: 'unix-ms' },
                },
              },
            ],
          },
          { from: '*', type: 'messages-to-mqtt' },
          { from: '*', type: 'ignore' },
        ],
      },
    ],
  });
  for (const told of [
    /password: .*encrypts/,
    /caching\.trigger/,
    /runMinDelay/,
    /maxNumberOfElements/,
    /caching\.error/,
    /opcua-line-1/,
    /TAB/,
    /custom transformer "Rename fields"/,
    /UNMAPPED/,
    /client id "nE3kQ9aB"/,
    /mapping\[2\]\.topic: Left out\. .*wildcard/,
    /One entry names a pointId that is there already/,
    /CHANGE-ME/,
  ]) {
    assert.match(stderr, told);
  }
  assert.doesNotMatch(stderr + stdout + readFileSync(file, 'utf8'), /mC2tM4mHk1mJ2Q0pB8Jx0A/);
  assert.match(check.stdout, /SECRET_IN_PLAIN_TEXT/);
});

test('a full configuration gives all of its MQTT connectors, and tells what is left out', async () => {
  const { config, stderr } = await importFixture('oibus-full.json');
  const connectors = valueAt(config, ['connectors']);
  assert.ok(Array.isArray(connectors));
  assert.deepEqual(
    connectors.map((connector) => valueAt(connector, ['id'])),
    ['broker', 'broker-2'],
  );
  assert.deepEqual(connectors[0], {
    id: 'broker',
    name: 'Broker',
    enabled: false,
    settings: {
      url: 'tls://[fd00::1]:8883',
      qos: 0,
      rejectUnauthorized: false,
      reconnectPeriod: 100,
      connectTimeout: 300_000,
      authentication: {
        type: 'cert',
        certFilePath: './certs/plant-b.pem',
        keyFilePath: './certs/plant-b.key',
        caFilePath: './certs/ca.pem',
      },
    },
    caching: { quarantine: { retentionDuration: '0 h' } },
    transformers: [{ from: 's1', type: 'time-values-to-mqtt', mapping: [{ pointId: 'a', topic: 'b/a' }] }],
  });
  for (const told of [
    /Files \(file-writer\)/,
    /No address/,
    /settings\.persistent/,
    /reconnectPeriod: It was 10 ms.* 100 ms/,
    /connectTimeout: It was 400000 ms/,
    /rejectUnauthorized: It stays false/,
    /maxSize: It had no limit/,
    /"Average"/,
    /"time-values-to-opcua" makes nothing for MQTT/,
  ]) {
    assert.match(stderr, told);
  }
});

test('without a file the YAML goes to stdout and the notes to stderr; --json gives both as data', async () => {
  const source = readFileSync(join(FIXTURES, 'oibus-north.json'), 'utf8');
  const yaml = await runCli(['import', 'oibus', '-'], { input: source, env });
  assert.equal(yaml.code, 0);
  assert.equal(valueAt(parse(yaml.stdout), ['connectors', 0, 'id']), 'plant-a-broker');
  assert.match(yaml.stdout, /password: CHANGE-ME #/);
  const json = await runCli(['import', 'oibus', join(FIXTURES, 'oibus-north.json'), '--json'], { env });
  const result: unknown = JSON.parse(json.stdout);
  assert.deepEqual(valueAt(result, ['config']), parse(yaml.stdout));
  assert.ok(Array.isArray(valueAt(result, ['notes'])));
  assert.equal(json.stderr, '');
});

for (const [name, text] of [
  ['no JSON', 'url: mqtt://h'],
  ['an empty object', '{}'],
  ['a list of numbers', '[1, 2]'],
  ['null', 'null'],
  ['another kind of connector alone', '{"name":"a","type":"console","settings":{}}'],
  ['a connector without an address', '{"name":"a","type":"mqtt","settings":{}}'],
] as const) {
  test(`${name} is refused as no export`, async () => {
    const result = await runCli(['import', 'oibus', '-'], { input: text, env });
    assert.equal(result.code, 1);
    assert.equal(result.stdout, '');
    assert.match(result.stderr, /error IMPORT_UNREADABLE/);
  });
}

test('a missing file is told, and a file that is there is not overwritten', async () => {
  const folder = temporaryFolder('import');
  const missing = await runCli(['import', 'oibus', join(folder, 'nope.json')], { env });
  assert.deepEqual([missing.code, missing.stdout], [1, '']);
  assert.match(missing.stderr, /error IMPORT_UNREADABLE: .*ENOENT[\s\S]*nope\.json/);
  const file = join(folder, 'a.yaml');
  writeFileSync(file, 'mine');
  const existing = await runCli(['import', 'oibus', join(FIXTURES, 'oibus-north.json'), '-o', file], { env });
  assert.equal(existing.code, 2);
  assert.match(existing.stderr, /CONFIG_EXISTS/);
  assert.equal(readFileSync(file, 'utf8'), 'mine');
  const unwritable = await runCli(
    ['import', 'oibus', join(FIXTURES, 'oibus-north.json'), '-o', join(folder, 'no', 'a.yaml')],
    { env },
  );
  assert.equal(unwritable.code, 1);
  assert.ok(!existsSync(join(folder, 'no')));
});

function convert(entry: unknown): Record<string, unknown> {
  const { config } = convertOibus(JSON.stringify(entry));
  const connector = valueAt(config, ['connectors', 0]);
  assert.ok(isRecord(connector));
  return connector;
}

test('credentials in the URL move to where they belong, without the password', () => {
  const entry = { name: 'a', type: 'mqtt', settings: { url: 'mqtt://jo%20e:hun@ter2@h:1884', qos: 1 } };
  const settings = convert(entry).settings;
  assert.ok(isRecord(settings));
  assert.equal(settings.url, 'mqtt://h:1884');
  assert.deepEqual(settings.authentication, { type: 'basic', username: 'jo e', password: 'CHANGE-ME' });
});

test('the older form with user name and password among the settings is understood', () => {
  const entry = { name: 'a', type: 'MQTT', settings: { url: 'mqtt://h', qos: 1, username: 'joe', password: 'x' } };
  const settings = convert(entry).settings;
  assert.ok(isRecord(settings));
  assert.deepEqual(settings.authentication, { type: 'basic', username: 'joe', password: 'CHANGE-ME' });
});

const shape = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(
      null,
      true,
      0,
      -1,
      1e308,
      '',
      'mqtt',
      'cert',
      'basic',
      'a/+',
      'mqtt://h',
      'time-values-to-mqtt',
      'csv-to-mqtt',
      'object',
      'datetime',
    ),
    fc.string({ unit: 'binary', maxLength: 6 }),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(
      fc.constantFrom(
        'settings',
        'url',
        'authentication',
        'type',
        'mapping',
        'pointId',
        'topic',
        'options',
        'transformer',
        'functionName',
        'name',
        'id',
        '__proto__',
      ),
      tie('value'),
      { maxKeys: 4 },
    ),
  ),
})).value;

test('whatever an export contains, the result is valid or the export is refused', () => {
  const settings = fc.record({
    url: fc.constantFrom('mqtt://h', 'mqtts://h:1'),
    qos: shape,
    authentication: shape,
    reconnectPeriod: shape,
    persistent: shape,
  });
  const mapping = fc.array(fc.record({ pointId: shape, reference: shape, topic: shape }), { maxLength: 4 });
  const options = fc.record({
    mapping: fc.oneof(mapping, shape),
    delimiter: shape,
    topicColumn: shape,
    payloadType: shape,
    valueColumn: shape,
    objectFields: shape,
  });
  const functionName = fc.constantFrom(
    'time-values-to-mqtt',
    'setpoint-to-mqtt',
    'csv-to-mqtt',
    'iso',
    'ignore',
    'json-to-mqtt',
  );
  const transformer = fc.record({ transformer: fc.record({ functionName }), options, source: shape });
  const entry = fc.record({
    name: shape,
    type: fc.constant('mqtt'),
    description: shape,
    settings,
    caching: shape,
    transformers: fc.array(transformer, { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.oneof(entry, fc.record({ north: fc.array(entry) }), shape), (document) => {
      try {
        const { config } = convertOibus(JSON.stringify(document));
        assert.deepEqual(readConfig(JSON.stringify(config), '/c.json', { env: {} }).errors, []);
      } catch (error) {
        assert.ok(error instanceof NorthError && error.code === 'IMPORT_UNREADABLE', String(error));
      }
    }),
    { numRuns: 400 },
  );
});
