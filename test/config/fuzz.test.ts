import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { STARTER_CONFIG } from '../../src/cli/starter-config.js';
import { configSchema } from '../../src/config/config.js';
import { readConfig } from '../../src/config/loading.js';
import { formatPath, parsePath, shapeOf } from '../../src/config/shape.js';

/** All keys that mean something somewhere, so that random documents get past the first check. */
const KEYS = [...JSON.stringify(shapeOf(configSchema)).matchAll(/"(\w+)":\{/g)].map(([, key]) => key ?? '');

function assertReadable(text: string): void {
  const { config, errors, warnings } = readConfig(text, '/c.yaml', { env: {} });
  assert.equal(config === undefined, errors.length > 0, text);
  const lineCount = text.split(/\r\n|[\r\n]/).length;
  for (const { line, column, message, hint, path } of [...errors, ...warnings]) {
    assert.ok(message !== '' && hint !== '', text);
    assert.ok(line !== undefined && line >= 1 && line <= lineCount + 1, `line ${line} of ${lineCount}: ${text}`);
    assert.ok(column !== undefined && column >= 1);
    assert.equal(formatPath(parsePath(path)), path);
  }
}

const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(
      null,
      true,
      false,
      0,
      1,
      2,
      -1,
      1.5,
      Number.POSITIVE_INFINITY,
      '',
      'none',
      'basic',
      'cert',
      '*',
      'mqtt://127.0.0.1',
      '10 s',
      'a',
      '$' + '{X}',
      'file:x',
    ),
    fc.constantFrom('time-values-to-mqtt', 'csv-to-mqtt', 'json-to-mqtt', 'host-sensors', 'folder', 'ignore'),
    fc.string({ unit: 'binary', maxLength: 8 }),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...KEYS, '__proto__', 'constructor', 'toString', '', 'a.b', '[0]'), tie('value'), {
      maxKeys: 5,
    }),
  ),
})).value;

test('any document of known keys and any values is a configuration or a list of problems', () => {
  const settings = fc.dictionary(fc.constantFrom(...KEYS), value, { maxKeys: 6 });
  const document = fc.record({
    server: fc.option(value),
    connectors: fc.array(
      fc.record({ id: value, settings: fc.oneof(settings, value), transformers: value, caching: value }),
    ),
    inputs: value,
  });
  fc.assert(
    fc.property(fc.oneof(document, value), (written) => assertReadable(stringify(written))),
    { numRuns: 600 },
  );
});

test('a configuration that was damaged anywhere is a configuration or a list of problems', () => {
  fc.assert(
    fc.property(
      fc.nat(STARTER_CONFIG.length),
      fc.nat(20),
      fc.string({ unit: fc.constantFrom(...'{}[]:-,#&*!|>\'"%@` \n\tab1?'), maxLength: 6 }),
      (at, count, text) => assertReadable(STARTER_CONFIG.slice(0, at) + text + STARTER_CONFIG.slice(at + count)),
    ),
    { numRuns: 600 },
  );
});

test('any text is a configuration or a list of problems', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 200 }),
        fc.string({ unit: fc.constantFrom(...'{}[]:-,#&*!|>\'"%@` \n\r\tab1?<=~'), maxLength: 60 }),
      ),
      assertReadable,
    ),
    { numRuns: 1500 },
  );
});
