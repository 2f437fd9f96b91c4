import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type LoadedConfig, loadConfig, openConfig, readConfig } from '../../src/config/loading.js';
import { type Problem, problemText } from '../../src/config/problem.js';
import { NorthError } from '../../src/core/error.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

function read(text: string, env: Record<string, string> = {}): LoadedConfig {
  return readConfig(text, '/etc/mqtt-north/mqtt-north.yaml', { env });
}

function summary({ line, column, code, ...problem }: Problem): string {
  return `${line}:${column} ${code} ${problemText(problem)}`;
}

const CONNECTOR = `connectors:
  - id: plant
    settings:
      url: mqtt://127.0.0.1
`;

/** Each kind of problem: the lines below `connectors[0].settings.url`, and what is told of them. */
const KINDS: readonly [name: string, yaml: string, summary: string, hint: RegExp][] = [
  [
    'an unknown key',
    '      reconectPeriod: 5',
    '5:7 CONFIG_KEY_UNKNOWN connectors[0].settings.reconectPeriod is not a known key',
    /Did you mean reconnectPeriod\?/,
  ],
  [
    'a key with other capitals and dashes',
    '      connect-timeout: 5',
    '5:7 CONFIG_KEY_UNKNOWN connectors[0].settings.connect-timeout is not a known key',
    /Did you mean connectTimeout\?/,
  ],
  [
    'a key one level too high',
    '      username: joe',
    '5:7 CONFIG_KEY_UNKNOWN connectors[0].settings.username is not a known key',
    /It belongs to settings\.authentication\.username\./,
  ],
  [
    'a key one level too low',
    '      caching: {}',
    '5:7 CONFIG_KEY_UNKNOWN connectors[0].settings.caching is not a known key',
    /It belongs to caching in an entry of connectors|connectors\[\]\.caching/,
  ],
  [
    'a key of another type of the section',
    '      authentication: { type: none, password: x }',
    '5:37 CONFIG_KEY_UNKNOWN connectors[0].settings.authentication.password is not a known key',
    /It belongs to type: basic\./,
  ],
  [
    "another tool's key",
    '      cleanSession: true',
    '5:7 CONFIG_KEY_UNKNOWN connectors[0].settings.cleanSession is not a known key',
    /persistent, which says the reverse/,
  ],
  [
    'a key that is like nothing',
    '      xyzzy: 1',
    '5:7 CONFIG_KEY_UNKNOWN connectors[0].settings.xyzzy is not a known key',
    /Known here: ackTimeout, /,
  ],
  [
    'a key named __proto__',
    '      __proto__: { a: 1 }',
    '5:7 CONFIG_KEY_UNKNOWN connectors[0].settings.__proto__ is not a known key',
    /Known here/,
  ],
  [
    'a value out of range',
    '      qos: 3',
    '5:12 CONFIG_INVALID connectors[0].settings.qos must be 0, 1 or 2',
    /Delivery/,
  ],
  [
    'a number in quotes',
    '      qos: "1"',
    '5:12 CONFIG_INVALID connectors[0].settings.qos must be 0, 1 or 2',
    /without quotes/,
  ],
  [
    'a time out of range',
    '      connectTimeout: 50 ms',
    '5:23 CONFIG_INVALID connectors[0].settings.connectTimeout must be between 100 ms and 5 min, is 50 ms',
    /Longest wait/,
  ],
  [
    'no time at all',
    '      connectTimeout: soon',
    '5:23 CONFIG_INVALID connectors[0].settings.connectTimeout must be a time such as 500 ms, 10 s, 5 min, 72 h or 30 d (a bare number is milliseconds)',
    /Longest wait/,
  ],
  [
    'a text where a number is wanted',
    '      inflightMax: many',
    '5:20 CONFIG_INVALID connectors[0].settings.inflightMax must be a number, and is a text',
    /Most messages/,
  ],
  [
    'a fraction where a whole number is wanted',
    '      inflightMax: 1.5',
    '5:20 CONFIG_INVALID connectors[0].settings.inflightMax must be a whole number',
    /Most messages/,
  ],
  [
    'a number that is too small',
    '      inflightMax: 0',
    '5:20 CONFIG_INVALID connectors[0].settings.inflightMax must be at least 1',
    /Most messages/,
  ],
  [
    'yes for true',
    '      retain: yes',
    '5:15 CONFIG_INVALID connectors[0].settings.retain must be true or false, and is a text',
    /Write true or false/,
  ],
  [
    'a number where a text is wanted',
    '      clientId: 12',
    '5:17 CONFIG_INVALID connectors[0].settings.clientId must be a text, and is a number',
    /quotes/,
  ],
  [
    'an empty value',
    '      clientId:',
    '5:16 CONFIG_INVALID connectors[0].settings.clientId is empty and must be a text',
    /which name/,
  ],
  [
    'a list where a section is wanted',
    '      will: [a]',
    '5:7 CONFIG_INVALID connectors[0].settings.will must be a section with keys, and is a list',
    /Last will/,
  ],
  [
    'a text where a list is wanted',
    '      brokers: mqtt://b',
    '5:16 CONFIG_INVALID connectors[0].settings.brokers must be a list, and is a text',
    /Begin each entry/,
  ],
  [
    'an unknown choice',
    '      authentication: { type: bsic }',
    '5:31 CONFIG_INVALID connectors[0].settings.authentication.type must be none, basic or cert',
    /Did you mean basic\?/,
  ],
  [
    'a choice that is missing',
    '      authentication: { username: joe }',
    '5:7 CONFIG_KEY_MISSING connectors[0].settings.authentication.type is missing',
    /./,
  ],
  [
    'a key that is missing',
    '      authentication: { type: basic, username: joe }',
    '5:7 CONFIG_KEY_MISSING connectors[0].settings.authentication.password is missing',
    /The password/,
  ],
  [
    'an entry of a list',
    '      brokers:\n        - mqtt://b\n        - http://c',
    '7:11 BROKER_URL_INVALID connectors[0].settings.brokers[1] has a scheme that is not known',
    /mqtts:\/\//,
  ],
  [
    'settings that exclude each other',
    '      qos: 0\n      persistent: true',
    '6:19 CONFIG_INVALID connectors[0].settings.persistent needs qos 1 or 2: at qos 0 the broker has nothing to keep',
    /qos: 1/,
  ],
  [
    'a maximum below its minimum',
    '      reconnectPeriodMax: 1 s',
    '5:27 CONFIG_INVALID connectors[0].settings.reconnectPeriodMax is smaller than reconnectPeriod',
    /larger/,
  ],
  [
    'a topic with a wildcard',
    '      will: { topic: a/+ }',
    '5:22 CONFIG_INVALID connectors[0].settings.will.topic: The topic contains the wildcard "+" at position 2; only subscribers may use it.',
    /will/,
  ],
  [
    'a variable that is not set',
    `      clientId: "\${NOPE}"`,
    '5:17 CONFIG_SECRET_MISSING connectors[0].settings.clientId refers to the environment variable NOPE, which is not set',
    /Set NOPE/,
  ],
  [
    'a secret file that is not there',
    '      authentication: { type: basic, username: joe, password: file:/nope }',
    '5:63 CONFIG_SECRET_MISSING connectors[0].settings.authentication.password refers to a file that does not exist or cannot be read',
    /Check path and rights/,
  ],
  [
    'a stored secret that is not there',
    '      authentication: { type: basic, username: joe, password: secret:nope }',
    '5:63 CONFIG_SECRET_MISSING connectors[0].settings.authentication.password refers to a stored secret that is not there',
    /Store it again/,
  ],
  [
    'an id that is used twice',
    '  - id: plant\n    settings: { url: mqtt://127.0.0.1 }',
    '5:9 CONFIG_NAME_TAKEN connectors[1].id is used twice',
    /another id/,
  ],
  [
    'an id of a wrong form',
    '  - id: Plant A\n    settings: { url: mqtt://127.0.0.1 }',
    '5:9 CONFIG_INVALID connectors[1].id must be 1 to 64 characters of a-z, 0-9 and -, not beginning or ending with -',
    /./,
  ],
  ['a missing section', '  - id: b', '5:5 CONFIG_KEY_MISSING connectors[1].settings is missing', /The connection/],
  [
    'a token for no connector',
    'server: { tokens: [{ name: a, secret: 0123456789abcdef, role: viewer, connectors: [plnt] }] }',
    '5:84 CONNECTOR_UNKNOWN server.tokens[0].connectors[0] is the id of no connector',
    /Did you mean plant\?/,
  ],
  [
    'an exposed server',
    'server: { host: 0.0.0.0 }',
    '5:17 SERVER_EXPOSED server.host is reachable from other machines, and tokens and tls are not set',
    /127\.0\.0\.1/,
  ],
  [
    'an unknown key at the top',
    'conectors: []',
    '5:1 CONFIG_KEY_UNKNOWN conectors is not a known key',
    /Did you mean connectors\?/,
  ],
  [
    'the same client id twice at one broker',
    '      clientId: x\n  - id: b\n    settings: { url: "tcp://127.0.0.1:1883", clientId: x }',
    '7:56 CONFIG_NAME_TAKEN connectors[1].settings.clientId is that of another connector to the same broker, which would throw this one out',
    /another clientId/,
  ],
  [
    'the client id of a further connection of another connector',
    '      clientId: x\n      connections: 3\n  - id: b\n    settings: { url: "tcp://127.0.0.1:1883", clientId: x-3 }',
    '8:56 CONFIG_NAME_TAKEN connectors[1].settings.clientId is that of another connector to the same broker, which would throw this one out',
    /another clientId/,
  ],
  [
    'a cache that is too small for its connections',
    '      connections: 3\n    caching: { maxSize: 2 MiB }',
    '6:25 CONFIG_INVALID connectors[0].caching.maxSize is less than 1 MiB for each of the 3 connections',
    /larger size, or fewer connections/,
  ],
];

for (const [name, yaml, expected, hint] of KINDS) {
  test(`${name} is told with its place and a hint`, () => {
    const { errors, config } = read(`${CONNECTOR}${yaml}\n`);
    assert.deepEqual(errors.map(summary), [expected]);
    assert.match(errors[0]?.hint ?? '', hint);
    assert.equal(config, undefined);
  });
}

/** What YAML itself refuses. */
const SYNTAX: readonly [name: string, yaml: string, place: string, message: RegExp][] = [
  ['a tab as indentation', 'server:\n\tport: 1', '2:1', /tab/],
  ['a key twice', 'dataDir: a\ndataDir: b', '2:1', /already/],
  ['an open quote', 'dataDir: "a\n', '', /closing/],
  ['an open bracket', 'connectors: [\n', '', /closing|belong/],
  ['a second document', 'dataDir: a\n---\ndataDir: b', '2:', /second document/],
  ['an unknown alias', 'dataDir: *a', '1:10', /anchor/],
  ['a wrong escape', 'dataDir: "C:\\data"', '1:', /escape/],
  ['a second colon', 'dataDir: a: b', '1:', /colon/],
  ['wrong indentation', 'server:\n    port: 1\n  host: a', '', /indented|belong|colon/],
];

for (const [name, yaml, place, message] of SYNTAX) {
  test(`${name} is a syntax problem with its line`, () => {
    const [error] = read(yaml).errors;
    assert.equal(error?.code, 'CONFIG_SYNTAX');
    assert.match(error.message, message);
    assert.ok(`${error.line}:${error.column}`.startsWith(place), `${error.line}:${error.column}`);
  });
}

test('all problems are told at once, in the order of the file', () => {
  const { errors } = read(`server: { port: x }
connectors:
  - id: A
    settings:
      url: mqtt://u:p@h
      qos: 7
      authentication: { type: basic, password: "\${NOPE}", usrname: x }
    caching: { maxSize: 1 B }
inputs:
  - { id: a, type: folder }
logging: { level: loud }
`);
  assert.deepEqual(
    errors.map(({ line, path }) => `${line} ${path}`),
    [
      '1 server.port',
      '3 connectors[0].id',
      '5 connectors[0].settings.url',
      '6 connectors[0].settings.qos',
      '7 connectors[0].settings.authentication.username',
      '7 connectors[0].settings.authentication.password',
      '7 connectors[0].settings.authentication.usrname',
      '8 connectors[0].caching.maxSize',
      '10 inputs[0].path',
      '11 logging.level',
    ],
  );
});

test('JSON is taken as well, with tabs and with the key $schema, and its places are right', () => {
  const loaded = read(
    '{\n\t"$schema": "x.json",\n\t"connectors": [\n\t\t{ "id": "a",\n\t\t  "settings": { "url": "mqtt://127.0.0.1", "qos": 9 } }\n\t]\n}\n',
  );
  assert.deepEqual(loaded.errors.map(summary), ['5:53 CONFIG_INVALID connectors[0].settings.qos must be 0, 1 or 2']);
});

test('an empty file, and sections whose lines are all comments, are valid', () => {
  for (const text of ['', '# nothing\n', 'server:\n  # port: 1\nconnectors:\ninputs:\n']) {
    const { config, errors } = read(text);
    assert.deepEqual(errors, []);
    assert.deepEqual(config?.connectors, []);
  }
});

test('a document that is a list or a text is told as such', () => {
  assert.deepEqual(read('- a').errors.map(summary), ['1:1 CONFIG_INVALID must be a section with keys, and is a list']);
  assert.deepEqual(read('hello').errors.map(summary), [
    '1:1 CONFIG_INVALID must be a section with keys, and is a text',
  ]);
});

test('relative paths count from the folder of the file, the data directory that is not set too', () => {
  const { config } =
    read(`${CONNECTOR}      authentication: { type: cert, certFilePath: certs/a.pem, keyFilePath: /k.pem }
inputs:
  - { id: files, type: folder, path: ../drop }
`);
  assert.equal(config?.dataDir, '/etc/mqtt-north/data');
  const authentication = config.connectors[0]?.settings.authentication;
  assert.ok(authentication?.type === 'cert');
  assert.deepEqual(
    [authentication.certFilePath, authentication.keyFilePath],
    ['/etc/mqtt-north/certs/a.pem', '/k.pem'],
  );
  const [input] = config.inputs;
  assert.ok(input?.type === 'folder' && input.path === '/etc/drop');
});

test('an alias stands for what it refers to, and one that contains itself is refused', () => {
  const { config } = read(`connectors:
  - { id: a, settings: &s { url: "mqtt://127.0.0.1", qos: 2 } }
  - { id: b, settings: *s }
`);
  assert.equal(config?.connectors[1]?.settings.qos, 2);
  assert.ok(read('connectors: &c\n  - *c\n').errors.length > 0);
  const bomb = [
    'a: &a [x,x,x,x,x,x,x,x,x]',
    ...'bcdefgh'.split('').map((key, index) => `${key}: &${key} [${`*${'abcdefgh'[index]},`.repeat(9)}]`),
  ];
  assert.equal(read(bomb.join('\n')).errors[0]?.code, 'CONFIG_SYNTAX');
});

test('nesting of many thousand levels is refused and not a crash', () => {
  for (const text of [
    '['.repeat(100_000),
    `${'['.repeat(50_000)}${']'.repeat(50_000)}`,
    '{a: '.repeat(50_000),
    '- '.repeat(50_000),
  ]) {
    const { errors } = read(text);
    assert.ok(errors.length > 0);
    assert.ok(errors.length < 100_000);
  }
});

test('nesting that the parser would still take is refused when nothing of ours is so deep', () => {
  const [error] = read(`dataDir: ${'['.repeat(500)}${']'.repeat(500)}`).errors;
  assert.deepEqual([error?.code, error?.message], ['CONFIG_SYNTAX', 'is nested too deeply']);
});

test('a file that is missing, a folder, too large or no UTF-8 is an error of its own', () => {
  const folder = temporaryFolder('config');
  const codeOf = (file: string) => {
    try {
      loadConfig(join(folder, file));
    } catch (error) {
      if (error instanceof NorthError) return error.code;
      throw error;
    }
    return undefined;
  };
  mkdirSync(join(folder, 'folder'));
  writeFileSync(join(folder, 'large'), '#'.repeat(16 * 1024 ** 2 + 1));
  writeFileSync(join(folder, 'latin1'), Buffer.from([0x61, 0x3a, 0x20, 0xe9]));
  writeFileSync(join(folder, 'bom.yaml'), '\uFEFFdataDir: x\n');
  symlinkSync(join(folder, 'bom.yaml'), join(folder, 'link'));
  assert.deepEqual(['nope', 'folder', 'large', 'latin1', 'bom.yaml', 'link'].map(codeOf), [
    'CONFIG_MISSING',
    'CONFIG_MISSING',
    'CONFIG_MISSING',
    'CONFIG_SYNTAX',
    undefined,
    undefined,
  ]);
});

test('opening a wrong configuration throws one error with all problems in it', () => {
  const file = join(temporaryFolder('config'), 'c.yaml');
  writeFileSync(file, `${CONNECTOR}      qos: 3\n      retain: 5\n`);
  assert.throws(
    () => openConfig(file),
    (error) => {
      assert.ok(error instanceof NorthError);
      assert.equal(error.code, 'CONFIG_INVALID');
      assert.equal(error.place, `${file}:5`);
      assert.match(error.message, /2 errors:\n {2}5: .*qos.*\n {2}6: .*retain/);
      return true;
    },
  );
  writeFileSync(file, CONNECTOR);
  assert.equal(openConfig(file).config.connectors[0]?.id, 'plant');
});
