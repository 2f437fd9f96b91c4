import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { configSchema } from '../../src/config/config.js';
import { invalidConfig, readConfig } from '../../src/config/loading.js';
import { redactConfig } from '../../src/config/redaction.js';
import { SecretStore } from '../../src/config/secret-store.js';
import { alternatives, isRecord, type Path, type Shape, shapeOf } from '../../src/config/shape.js';
import { runCli } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const MARKER = 'MARKER-hunter2-MARKER';
const folder = temporaryFolder('secrecy');
const dataDir = join(folder, 'data');
const env = { SECRET: MARKER, MQTT_NORTH_KEY: 'ab'.repeat(32) };
mkdirSync(dataDir);
writeFileSync(join(folder, 'secret'), MARKER);
new SecretStore({ dataDir, env }).set('stored', MARKER);

const REFERENCES = [
  MARKER,
  '$' + '{SECRET}',
  'file:secret',
  'secret:stored',
  `x${MARKER}x`,
  `file:${MARKER}`,
  `secret:${MARKER}`,
];

/** A configuration in which each secret is there; the marker stands for it in the way given. */
function fullConfig(secret: string): Record<string, unknown> {
  return {
    server: { tokens: [{ name: 'a', secret, role: 'viewer' }] },
    connectors: [
      {
        id: 'plant',
        settings: {
          url: 'mqtts://broker.example.com',
          keyPassphrase: secret,
          authentication: { type: 'basic', username: 'joe', password: secret },
        },
      },
    ],
  };
}

function shownOf(text: string): string {
  const loaded = readConfig(text, join(folder, 'c.yaml'), { env });
  const { config, errors, warnings } = loaded;
  const failure = invalidConfig('c.yaml', errors);
  return [
    JSON.stringify({ config, errors, warnings }),
    inspect({ config, errors, warnings }, { depth: 20, showHidden: true }),
    JSON.stringify(redactConfig(config)),
    JSON.stringify(failure),
    inspect(failure, { depth: 20 }),
  ].join('\n');
}

for (const secret of REFERENCES) {
  test(`a secret given as ${secret} is in no problem, inspection or serialised configuration`, () => {
    const text = stringify(fullConfig(secret));
    assert.ok(!shownOf(text).includes(MARKER));
    if (!secret.includes(MARKER)) {
      const { config } = readConfig(text, join(folder, 'c.yaml'), { env });
      assert.equal(config?.server.tokens[0]?.secret.reveal(), MARKER);
    }
  });
}

test('a secret that is repeated in another field is blanked there, too, when redacted', () => {
  const config = fullConfig(MARKER);
  const text = stringify({ ...config, connectors: [{ ...firstConnector(config), description: `see ${MARKER}` }] });
  const { config: parsed } = readConfig(text, join(folder, 'c.yaml'), { env });
  assert.ok(parsed !== undefined);
  const redacted = JSON.stringify(redactConfig(parsed));
  assert.ok(!redacted.includes(MARKER));
  assert.match(redacted, /see \[redacted\]/);
});

function firstConnector(config: Record<string, unknown>): Record<string, unknown> {
  const [first] = Array.isArray(config.connectors) ? config.connectors : [];
  assert.ok(isRecord(first));
  return first;
}

/** A path for every key of the schema, one entry deep into lists. */
function allPaths(root: Shape): Path[] {
  const paths: Path[] = [];
  const visit = (shape: Shape, path: Path): void => {
    if (path.length > 0) paths.push(path);
    for (const alternative of alternatives(root, shape, undefined)) {
      if (alternative.items !== undefined) visit(alternative.items, [...path, 0]);
      for (const [key, child] of Object.entries(alternative.properties ?? {})) visit(child, [...path, key]);
    }
  };
  visit(root, []);
  return [...new Map(paths.map((path) => [JSON.stringify(path), path])).values()];
}

function setAt(target: unknown, path: Path, value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (typeof key === 'number') {
    const list: unknown[] = Array.isArray(target) ? [...target] : [];
    list[key] = setAt(list[key], rest, value);
    return list;
  }
  const record = isRecord(target) ? target : {};
  return { ...record, [key]: setAt(record[key], rest, value) };
}

/** What a value may say of itself without being a secret: texts that are shown on purpose. */
const SHOWN = /pointId|reference|objectFields|\.key$/;

test('the marker as the value of any option whatever is in no problem', (t) => {
  let configurationCount = 0;
  const paths = allPaths(shapeOf(configSchema));
  assert.ok(paths.length > 100);
  for (const path of paths) {
    for (const value of [MARKER, [MARKER], { a: MARKER }, `mqtt://u:${MARKER}@h`, `mqtt://${MARKER}:x`]) {
      const text = stringify(setAt(fullConfig('$' + '{SECRET}'), path, value));
      const { errors, warnings } = readConfig(text, join(folder, 'c.yaml'), { env });
      const shown = JSON.stringify([errors, warnings]);
      configurationCount++;
      if (!SHOWN.test(path.join('.'))) assert.ok(!shown.includes(MARKER), `${path.join('.')}: ${shown}`);
    }
  }
  t.diagnostic(`${configurationCount} configurations`);
});

test('the marker in a broken file is in no syntax problem', () => {
  const base = stringify(fullConfig(MARKER));
  fc.assert(
    fc.property(
      fc.nat(base.length),
      fc.constantFrom('"', "'", ':', '\t', '[', '{', '}', '&', '*', '!', '%', '@', '|', '- ', '\n', '\\', '? '),
      (at, text) => {
        const broken = base.slice(0, at) + text + base.slice(at);
        // A marker that was cut in two, or became a key, is no longer the secret.
        if (!broken.includes(MARKER)) return;
        const { errors, warnings } = readConfig(broken, join(folder, 'c.yaml'), { env });
        assert.ok(
          !JSON.stringify([
            errors.map((e) => ({ ...e, path: '', message: e.code === 'CONFIG_KEY_UNKNOWN' ? '' : e.message })),
            warnings,
          ]).includes(MARKER),
          broken,
        );
      },
    ),
    { numRuns: 1500 },
  );
});

test('the command line does not print a secret, whatever form it has', async () => {
  const secretEnv = { ...env, NO_COLOR: '1' };
  for (const secret of [MARKER, '$' + '{SECRET}', `secret:${MARKER}`]) {
    const file = join(folder, 'check.yaml');
    writeFileSync(file, stringify({ ...fullConfig(secret), conectors: [] }));
    for (const args of [
      ['check', '-c', file],
      ['check', '-c', file, '--json'],
    ]) {
      const { stdout, stderr, code } = await runCli(args, { env: secretEnv });
      assert.equal(code, 2);
      assert.ok(!(stdout + stderr).includes(MARKER), stdout);
    }
  }
  const oibus = join(folder, 'oibus.json');
  writeFileSync(
    oibus,
    JSON.stringify({
      name: 'a',
      type: 'mqtt',
      settings: { url: `mqtt://joe:${MARKER}@h`, authentication: { type: 'basic', username: 'u', password: MARKER } },
    }),
  );
  for (const args of [
    ['import', 'oibus', oibus],
    ['import', 'oibus', oibus, '--json'],
  ]) {
    const { stdout, stderr } = await runCli(args, { env: secretEnv });
    assert.ok(!(stdout + stderr).includes(MARKER), stdout + stderr);
  }
});
