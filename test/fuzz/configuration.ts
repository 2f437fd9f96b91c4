/**
 * Any text as a configuration: it is one, or there is a list of problems, each with its code, its place and its remedy,
 * and without a word of a secret. Out of what is accepted, every part of a connector can be made.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import mqttPacket from 'mqtt-packet';
import { parse as parseYaml, stringify } from 'yaml';
import { STARTER_CONFIG } from '../../src/cli/starter-config.js';
import { transformerErrors } from '../../src/cli/transformer-check.js';
import { type Config, configSchema } from '../../src/config/config.js';
import type { ConnectorConfig } from '../../src/config/connector.js';
import { checkConnector, type LoadedConfig, loadConfig, readConfig } from '../../src/config/loading.js';
import { type Problem, problemText } from '../../src/config/problem.js';
import { redactConfig } from '../../src/config/redaction.js';
import { saveConnector } from '../../src/config/saving.js';
import { REDACTED, Secret } from '../../src/config/secret.js';
import { SecretStore } from '../../src/config/secret-store.js';
import { formatPath, parsePath, shapeOf } from '../../src/config/shape.js';
import {
  messageDefaults,
  reconnectOptions,
  sessionOptions,
  storeLimits,
  transportOptions,
} from '../../src/connector/settings-of.js';
import { systemClock } from '../../src/core/clock.js';
import { NorthError } from '../../src/core/error.js';
import { ERRORS } from '../../src/core/error-codes.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import { TokenBook } from '../../src/http/caller.js';
import type { Delivery } from '../../src/inputs/input.js';
import { openInput } from '../../src/inputs/open-input.js';
import { encodeConnect } from '../../src/wire/control-packets.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import type { FuzzTarget } from './fuzz.js';
import { type ByteText, damaged, toBytes } from './mutation.js';
import { assertRefusal } from './transformed.js';
import { weighted } from './weighted.js';

export interface ConfigurationCase {
  text: ByteText;
  /** Tries to save a change of a connector into it, too. */
  isSaved: boolean;
}

/** In every secret of the documents below, and nowhere else. */
const CANARY = 'c4n4ry';

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

const configurationCase: fc.Arbitrary<ConfigurationCase> = fc.record({
  text: damaged(
    document.map((text) => Buffer.from(text)),
    [...YAML_TOKENS, ...KEYS],
    0.4,
  ),
  isSaved: weighted<boolean>([30, fc.constant(false)], [1, fc.constant(true)]),
});

class Subject {
  readonly cases = configurationCase;
  readonly #folder = temporaryFolder('fuzz-configuration');
  readonly #file = join(this.#folder, 'c.yaml');
  readonly #env = { HOME: this.#folder, X: 'filled' };
  readonly #store = new SecretStore({ dataDir: this.#folder, env: this.#env });

  check({ text, isSaved }: ConfigurationCase): string {
    const bytes = toBytes(text);
    let decoded: string;
    try {
      decoded = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      this.#checkUnreadable(bytes);
      decoded = new TextDecoder().decode(bytes);
    }
    const loaded = readConfig(decoded, this.#file, { env: this.#env });
    checkProblems(loaded, decoded);
    this.#checkParts(decoded);
    if (loaded.config === undefined) return loaded.errors[0]?.code === 'CONFIG_SYNTAX' ? 'no YAML' : 'not valid';
    // These quote templates and paths, and nothing else.
    for (const problem of transformerErrors(loaded)) checkForm(problem);
    build(loaded.config);
    checkRedaction(loaded.config);
    if (isSaved) this.#save(decoded, loaded.config);
    return loaded.warnings.length > 0 ? 'valid, with warnings' : 'valid';
  }

  #checkUnreadable(bytes: Buffer): void {
    writeFileSync(this.#file, bytes);
    assert.throws(() => loadConfig(this.#file, { env: this.#env }), { code: 'CONFIG_SYNTAX' });
  }

  /** Each connector of the document, as the API hands it in. */
  #checkParts(text: string): void {
    let connectors: unknown;
    try {
      connectors = (JSON.parse(text) as { connectors?: unknown } | null)?.connectors;
    } catch {
      return;
    }
    for (const one of Array.isArray(connectors) ? connectors : []) {
      const { connector, errors } = checkConnector(one, { baseDir: this.#folder, env: this.#env, store: this.#store });
      assert.equal(connector === undefined, errors.length > 0);
      for (const problem of errors) checkProblem(problem);
    }
  }

  /** A change of one connector leaves everything else in the file what it was. */
  #save(text: string, config: Config): void {
    const [first, ...others] = config.connectors;
    if (first === undefined) return;
    writeFileSync(this.#file, text);
    const written = { id: first.id, name: 'changed', settings: { url: 'mqtt://127.0.0.1:2' }, enabled: false };
    let saved: LoadedConfig;
    try {
      saved = saveConnector(this.#file, written, { env: this.#env, store: this.#store });
    } catch (error) {
      assertRefusal(error, ['CONFIG_INVALID', 'CONFIG_SYNTAX']);
      const again = readConfig(text, this.#file, { env: this.#env });
      assert.ok(again.config !== undefined);
      return;
    }
    assert.ok(saved.config !== undefined);
    assert.equal(saved.config.connectors.find(({ id }) => id === first.id)?.name, 'changed');
    for (const other of others) {
      const now = saved.config.connectors.find(({ id }) => id === other.id);
      assert.ok(isDeepStrictEqual(now, other), `${other.id} has changed`);
    }
    const { inputs, server } = saved.config;
    assert.ok(isDeepStrictEqual(inputs, config.inputs) && isDeepStrictEqual(server, config.server));
  }
}

function checkProblems({ config, errors, warnings }: LoadedConfig, text: string): void {
  assert.equal(config === undefined, errors.length > 0);
  const lineCount = text.split(/\r\n|[\r\n]/).length;
  for (const problem of [...errors, ...warnings]) {
    checkProblem(problem);
    const { line, column } = problem;
    assert.ok(line !== undefined && line >= 1 && line <= lineCount + 1, `line ${line} of ${lineCount}`);
    assert.ok(column !== undefined && column >= 1);
  }
}

function checkProblem(problem: Problem): void {
  checkForm(problem);
  const { message, hint } = problem;
  assert.ok(!`${message} ${hint}`.includes(CANARY), `a problem tells a secret: ${message} ${hint}`);
  assert.ok(message.length + hint.length < 3000, 'a problem repeats the file');
}

function checkForm(problem: Problem): void {
  const { code, path, message, hint } = problem;
  assert.ok(ERRORS[code] !== undefined, code);
  assert.ok(message !== '' && hint !== '', problemText(problem));
  assert.equal(formatPath(parsePath(path)), path);
}

const NO_DELIVERY: Delivery = {
  deliver: () => Promise.reject(new Error('Nothing is started.')),
  deliverFile: () => Promise.reject(new Error('Nothing is started.')),
  fileProgress: () => Promise.reject(new Error('Nothing is started.')),
};

/** Everything that a service makes of a valid configuration before it touches disk or network. */
function build(config: Config): void {
  new TokenBook(config.server.tokens);
  for (const input of config.inputs) {
    try {
      openInput(input, NO_DELIVERY, { clock: systemClock(), logger: SILENT_LOGGER });
    } catch (error) {
      if (!(error instanceof NorthError)) throw error;
      assert.equal(error.code, 'CONFIG_INVALID');
    }
  }
  for (const connector of config.connectors) buildConnector(connector);
}

function buildConnector(connector: ConnectorConfig): void {
  const { settings, caching } = connector;
  messageDefaults(settings);
  storeLimits(caching);
  const { brokers } = reconnectOptions(settings);
  assert.ok(brokers.length > 0);
  for (const broker of brokers) transportOptions(settings, broker, 1000);
  const options = sessionOptions(connector, '0badcafe');
  for (const protocolVersion of [4, 5] as const) {
    const bytes = encodeConnect({ ...options, protocolVersion, cleanStart: true });
    let parsed: mqttPacket.Packet | undefined;
    const parser = mqttPacket.parser();
    parser.on('packet', (packet) => {
      parsed = packet;
    });
    parser.parse(bytes);
    assert.ok(parsed?.cmd === 'connect', 'the CONNECT cannot be read');
    assert.equal(parsed.clientId, options.clientId);
    assert.equal(parsed.username, options.username);
    assert.equal(parsed.will?.topic, options.will?.topic);
  }
}

/** No secret is left in what is shown of a configuration. */
function checkRedaction(config: Config): void {
  const shown = JSON.stringify(redactConfig(config));
  for (const secret of secretsOf(config)) {
    if (secret.length < 6 || REDACTED.includes(secret)) continue;
    assert.ok(!shown.includes(JSON.stringify(secret).slice(1, -1)), 'the redacted configuration has a secret in it');
  }
}

function secretsOf(found: unknown): string[] {
  if (found instanceof Secret) return [found.reveal()];
  if (typeof found !== 'object' || found === null) return [];
  return Object.values(found).flatMap(secretsOf);
}

export const configuration: FuzzTarget<ConfigurationCase> = { name: 'configuration', open: () => new Subject() };
