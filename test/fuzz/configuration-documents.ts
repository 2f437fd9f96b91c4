/** Configurations as people write them, with other values in their place, at random, and damaged. */
import fc from 'fast-check';
import { parse as parseYaml, stringify } from 'yaml';
import { STARTER_CONFIG } from '../../src/cli/starter-config.js';
import { configSchema } from '../../src/config/config.js';
import { shapeOf } from '../../src/config/shape.js';
import { type ByteText, damaged } from './mutation.js';
import { weighted } from './weighted.js';

export interface ConfigurationCase {
  text: ByteText;
  /** Tries to save a change of a connector into it, too. */
  isSaved: boolean;
}

/** In every secret of the documents below, and nowhere else; no id may have capitals. */
export const CANARY = 'C4n4ry';

const FULL_CONFIG = `
dataDir: ./data
server:
  host: 0.0.0.0
  port: 0
  insecure: true
  tokens:
    - { name: press, secret: "token-${CANARY}-1", role: producer, connectors: [plant] }
    - { name: shift, secret: "token-${CANARY}-2", role: administrator }
  hosts: [north.example.com]
  maxBodySize: 1 MiB
  idempotencyRetention: 24 h
logging: { level: debug, format: json }
connectors:
  - id: plant
    name: Plant
    settings: &settings
      url: mqtt://127.0.0.1:1883
      qos: 2
      persistent: true
      clientId: plant-1
      keepalive: 30 s
      protocolVersion: 5
      reconnectPeriod: 1000
      reconnectPeriodMax: 60 s
      authentication: { type: basic, username: plant, password: "word-${CANARY}-3" }
      will: { topic: plant/state, payload: gone, qos: 1, retain: true, delay: 5 s }
      userProperties: { site: a }
      topicPrefix: site/a
      messageExpiry: 1 h
      inflightMax: 100
      rateLimit: { messagesPerSecond: 100 }
    caching:
      maxSize: 100 MiB
      onFull: drop-oldest
      maxAge: 7 d
      throttling: { messagesPerSecond: 0, bytesPerSecond: 1000 }
      quarantine: { retentionDuration: 1 d }
      archive: { enabled: true, retentionDuration: 72 h }
    transformers:
      - { from: files, type: csv-to-mqtt, delimiter: ";", topicColumn: topic, payloadType: object, objectFields: [ { key: v, column: value, type: number } ] }
      - { from: "*", type: json-to-mqtt, topic: "doc/{site}", iterator: "$.items[*]", objectFields: [ { key: t, path: time, type: datetime } ] }
      - { from: api, type: json-to-mqtt, language: jsonata, topicFrom: '"a/" & site' }
      - { from: "*", type: setpoints-to-mqtt, mapping: [ { reference: p, topic: cmd/p } ] }
      - { from: "*", type: ignore, types: [csv] }
  - id: second
    enabled: false
    settings:
      url: mqtts://127.0.0.1:8883
      brokers: [ "mqtt://127.0.0.1:1884" ]
      persistent: false
      qos: 0
      authentication: { type: cert, certFilePath: ./a.pem, keyFilePath: ./a.key, caFilePath: ./ca.pem }
      keyPassphrase: "phrase-${CANARY}-4"
inputs:
  - { id: files, type: folder, path: ./drop, pattern: "*.{csv,json}", interval: 1 s, contentType: auto }
  - { id: sensors, type: host-sensors, interval: 1 s, sensors: [cpu, memory], connectors: [plant] }
`;

/** All keys that mean something somewhere, so that random documents get past the first check. */
const KEYS = [...JSON.stringify(shapeOf(configSchema)).matchAll(/"(\w+)":\{/g)].map(([, key]) => key ?? '');
const ODD_KEYS = ['__proto__', 'constructor', 'toString', '', 'a.b', '[0]'];

const scalar = weighted<unknown>(
  [4, fc.constantFrom<unknown>(null, true, false, 0, 1, 2, -1, 1.5, Number.POSITIVE_INFINITY, '', 'a', '*', 2 ** 53)],
  [
    4,
    fc.constantFrom<unknown>(
      'none',
      'basic',
      'cert',
      'mqtt://127.0.0.1',
      'wss://[::1]:1/x',
      '10 s',
      '1 GiB',
      `$${'{X}'}`,
    ),
  ],
  [
    2,
    fc.constantFrom<unknown>(
      'file:x',
      'secret:y',
      'time-values-to-mqtt',
      'csv-to-mqtt',
      'json-to-mqtt',
      'folder',
      'ignore',
    ),
  ],
  [1, fc.string({ unit: 'binary', maxLength: 8 })],
  [
    1,
    fc.constantFrom<unknown>(
      'x'.repeat(70_000),
      '9'.repeat(400),
      'a/#',
      '\0',
      `pass-${CANARY}-5`,
      `mqtt://u:${CANARY}@h`,
    ),
  ],
  // What throws when it is compared, added or written.
  [1, fc.constantFrom<unknown>({ toString: {} }, { valueOf: 1, toString: null }, { toJSON: 1 }, [[]])],
);
const value = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'configuration' },
    scalar,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...KEYS, ...ODD_KEYS), tie('value'), { maxKeys: 5 }),
  ),
})).value;

type Json = Record<string, unknown>;

/** The full configuration with some of its values replaced, wherever they stand. */
const replaced = fc
  .tuple(
    fc.array(fc.tuple(fc.nat(0xffff), scalar, fc.constantFrom(...KEYS, ...ODD_KEYS)), { maxLength: 4 }),
    fc.boolean(),
  )
  .map(([changes, isAdding]) => {
    const document = parseYaml(FULL_CONFIG) as Json;
    for (const [at, given, key] of changes) {
      const sections = sectionsOf(document);
      const section = sections[at % sections.length]!;
      const known = Object.keys(section);
      const name = isAdding || known.length === 0 ? key : known[at % known.length]!;
      // By assignment, `__proto__` would not become a key; and what is put in may be changed by the next change.
      Object.defineProperty(section, name, {
        value: structuredClone(given),
        enumerable: true,
        writable: true,
        configurable: true,
      });
    }
    return document;
  });

function sectionsOf(root: unknown): Json[] {
  if (typeof root !== 'object' || root === null) return [];
  const inner = Object.values(root).flatMap(sectionsOf);
  // Lists have keys, too, under which a value can be replaced.
  return [root as Json, ...inner];
}

const random = fc.record({
  server: fc.option(value),
  connectors: fc.array(
    fc.record({
      id: value,
      settings: fc.oneof(fc.dictionary(fc.constantFrom(...KEYS), value, { maxKeys: 6 }), value),
      transformers: value,
      caching: value,
    }),
    { maxLength: 2 },
  ),
  inputs: value,
});

const document = weighted<string>(
  [4, fc.constant(FULL_CONFIG)],
  [2, fc.constant(STARTER_CONFIG)],
  [6, replaced.map((one) => stringify(one))],
  [2, replaced.map((one) => JSON.stringify(one, null, 1))],
  [3, fc.oneof(random, value).map((one) => stringify(one))],
  [1, fc.string({ unit: fc.constantFrom(...'{}[]:-,#&*!|>\'"%@` \n\r\tab1?<=~'), maxLength: 60 })],
  [1, fc.string({ unit: 'binary', maxLength: 100 })],
);

const YAML_TOKENS = [
  '&a ',
  '*a',
  '*settings',
  '<<: *settings\n',
  '!!binary ',
  '!!js/function ',
  '|\n',
  '>-\n',
  '---\n',
  '...\n',
  '%YAML 1.1\n',
  '? ',
  '- ',
  ': ',
  '\n  ',
  '\t',
  'y',
  'null',
  '~',
  '0o17',
  '.inf',
  '1e400',
];

export const configurationCase: fc.Arbitrary<ConfigurationCase> = fc.record({
  text: damaged(
    document.map((text) => Buffer.from(text)),
    [...YAML_TOKENS, ...KEYS],
    0.4,
  ),
  isSaved: weighted<boolean>([30, fc.constant(false)], [1, fc.constant(true)]),
});
