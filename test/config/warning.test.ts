import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readConfig } from '../../src/config/loading.js';
import { SecretStore } from '../../src/config/secret-store.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const folder = temporaryFolder('warning');
const file = join(folder, 'mqtt-north.yaml');
for (const name of ['ca.pem', 'cert.pem', 'key.pem']) writeFileSync(join(folder, name), '');

function warningsOf(text: string, env: Record<string, string> = {}): string[] {
  const { errors, warnings } = readConfig(text, file, { env });
  assert.deepEqual(errors, []);
  return warnings.map(({ line, code, path }) => `${line} ${code} ${path}`);
}

function settings(lines: string): string {
  return `connectors:\n  - id: plant\n    settings:\n${lines.replaceAll(/^/gm, '      ')}\n`;
}

const CERT = 'authentication: { type: cert, certFilePath: cert.pem, keyFilePath: key.pem }';
const P = 'connectors[0].settings';

/** The lines of the settings, which begin at line 4, and all warnings that they give. */
const KINDS: readonly [name: string, lines: string, warnings: readonly string[]][] = [
  ['nothing on this machine', 'url: mqtt://localhost', []],
  [
    'nothing with a password over TLS from the environment',
    'url: mqtts://b.example\nauthentication: { type: basic, username: u, password: "$' + '{P}" }',
    [],
  ],
  ['no authentication on another machine', 'url: mqtts://b.example', [`4 AUTHENTICATION_MISSING ${P}.url`]],
  [
    'no authentication on a further broker',
    'url: mqtt://[::1]\nbrokers: [mqtts://b.example]',
    [`5 AUTHENTICATION_MISSING ${P}.brokers[0]`],
  ],
  [
    'a password over plain TCP',
    'url: ws://b.example\nauthentication: { type: basic, username: u, password: "$' + '{P}" }',
    [`4 CONNECTION_UNENCRYPTED ${P}.url`],
  ],
  [
    'no password over plain TCP to this machine',
    'url: tcp://127.0.0.1\nauthentication: { type: basic, username: u, password: "$' + '{P}" }',
    [],
  ],
  [
    'a secret in plain text',
    'url: mqtts://b.example\nauthentication: { type: basic, username: u, password: x }',
    [`5 SECRET_IN_PLAIN_TEXT ${P}.authentication.password`],
  ],
  [
    'a certificate that is not checked',
    `url: mqtts://b.example\nrejectUnauthorized: false\n${CERT}`,
    [`5 CERTIFICATE_UNCHECKED ${P}.rejectUnauthorized`],
  ],
  [
    'a certificate that is never shown',
    `url: mqtt://127.0.0.1\n${CERT}`,
    [`5 SETTING_WITHOUT_EFFECT ${P}.authentication.type`],
  ],
  [
    'an authority that is never needed',
    'url: mqtt://127.0.0.1\nauthentication: { type: none, caFilePath: ca.pem }',
    [`5 SETTING_WITHOUT_EFFECT ${P}.authentication.caFilePath`],
  ],
  [
    'a certificate file that is not there',
    'url: mqtts://127.0.0.1\nauthentication: { type: none, caFilePath: nope.pem }',
    [`5 CERTIFICATE_FILE_MISSING ${P}.authentication.caFilePath`],
  ],
  [
    'a passphrase without a key',
    'url: mqtt://127.0.0.1\nkeyPassphrase: "$' + '{P}"',
    [`5 SETTING_WITHOUT_EFFECT ${P}.keyPassphrase`],
  ],
  [
    'exactly once without a session',
    'url: mqtt://127.0.0.1\nqos: 2\npersistent: false',
    [`6 SETTING_DOUBTFUL ${P}.persistent`],
  ],
  [
    'a session that expires at once',
    'url: mqtt://127.0.0.1\nsessionExpiryInterval: 0',
    [`5 SETTING_DOUBTFUL ${P}.sessionExpiryInterval`],
  ],
  ['no keep-alive', 'url: mqtt://127.0.0.1\nkeepalive: 0', [`5 SETTING_DOUBTFUL ${P}.keepalive`]],
  [
    'what MQTT 3.1.1 does not have',
    'url: mqtt://127.0.0.1\nprotocolVersion: 3.1.1\nuserProperties: { a: b }\nmessageIdProperty: id\nwill: { topic: a, delay: 1 }',
    [
      `6 SETTING_WITHOUT_EFFECT ${P}.userProperties`,
      `7 SETTING_WITHOUT_EFFECT ${P}.messageIdProperty`,
      `8 SETTING_WITHOUT_EFFECT ${P}.will.delay`,
    ],
  ],
];

for (const [name, lines, warnings] of KINDS) {
  test(`the warnings are right for ${name}`, () => {
    assert.deepEqual(warningsOf(settings(lines), { P: 'from-the-environment' }), warnings);
  });
}

test('a configuration without a connector, and inputs that nobody takes, give a warning', () => {
  assert.deepEqual(warningsOf('dataDir: x'), ['1 SETTING_DOUBTFUL ']);
  const text = `${settings('url: mqtt://localhost')}    transformers:
      - { type: time-values-to-mqtt, from: sensor, topic: a }
      - { type: csv-to-mqtt, topicColumn: topic }
inputs:
  - { id: sensors, type: host-sensors }
  - { id: files, type: folder, path: drop }
  - { id: off, type: host-sensors, enabled: false }
`;
  assert.deepEqual(warningsOf(text), [
    '6 SETTING_DOUBTFUL connectors[0].transformers[0].from',
    '9 SETTING_DOUBTFUL inputs[0]',
  ]);
});

test('a transformer that those before it leave nothing for gives a warning', () => {
  const text = `${settings('url: mqtt://localhost')}    transformers:
      - { type: time-values-to-mqtt, from: a, topic: a }
      - { type: time-values-to-mqtt, topic: a }
      - { type: time-values-to-mqtt, from: a, topic: b }
      - { type: setpoints-to-mqtt, topic: b }
      - { type: ignore, types: [setpoints] }
      - { type: ignore }
      - { type: messages-to-mqtt, from: x }
`;
  assert.deepEqual(warningsOf(text), [
    '8 SETTING_WITHOUT_EFFECT connectors[0].transformers[2]',
    '10 SETTING_WITHOUT_EFFECT connectors[0].transformers[4]',
    '12 SETTING_WITHOUT_EFFECT connectors[0].transformers[6]',
  ]);
});

test('a short token and a missing server certificate give warnings, also beside an error elsewhere', () => {
  const text = `server:
  tls: { certFile: nope.pem, keyFile: key.pem }
  tokens: [{ name: a, secret: "$\{T}", role: viewer }]
connectors:
  - { id: a, settings: { url: "mqtts://b.example" } }
  - { id: b, settings: { url: nonsense } }
`;
  const { errors, warnings } = readConfig(text, file, { env: { T: 'short' } });
  assert.deepEqual(
    errors.map(({ path }) => path),
    ['connectors[1].settings.url'],
  );
  assert.deepEqual(
    warnings.map(({ line, code, path }) => `${line} ${code} ${path}`),
    [
      '2 CERTIFICATE_FILE_MISSING server.tls.certFile',
      '3 TOKEN_WEAK server.tokens[0].secret',
      '5 AUTHENTICATION_MISSING connectors[0].settings.url',
    ],
  );
});

test('a reference that cannot be resolved is an error and not a weak token, too', () => {
  const text = `${settings('url: mqtt://localhost')}server: { tokens: [{ name: a, secret: "\${T}", role: viewer }] }\n`;
  const { errors, warnings } = readConfig(text, file, { env: {} });
  assert.deepEqual(
    errors.map(({ code }) => code),
    ['CONFIG_SECRET_MISSING'],
  );
  assert.deepEqual(warnings, []);
});

test('a key file that others can read gives a warning', { skip: process.platform === 'win32' }, () => {
  const home = temporaryFolder('home');
  const env = { XDG_CONFIG_HOME: home };
  const store = new SecretStore({ dataDir: join(folder, 'data'), env });
  mkdirSync(join(folder, 'data'), { recursive: true });
  store.set('plant', 'a-secret-password');
  const text = settings('url: mqtts://127.0.0.1\nauthentication: { type: basic, username: u, password: secret:plant }');
  assert.deepEqual(warningsOf(text, env), []);
  chmodSync(store.keyFile, 0o644);
  assert.deepEqual(warningsOf(text, env), ['1 SECRET_FILE_EXPOSED ']);
});
