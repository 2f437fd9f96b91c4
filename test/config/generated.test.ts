import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import { STARTER_CONFIG } from '../../src/cli/starter-config.js';
import { configSchema } from '../../src/config/config.js';
import { configJsonSchema, connectorJsonSchema } from '../../src/config/json-schema.js';
import { type Shape, shapeOf } from '../../src/config/shape.js';
import { ERRORS } from '../../src/core/error-codes.js';
import { ROOT_FOLDER, startProcess } from '../kit/process.js';

test('the schema and the reference pages in the repository are what the code gives', async () => {
  const script = startProcess(process.execPath, ['scripts/generate-docs.mjs', '--check']);
  const { code } = await script.ended;
  assert.equal(script.output, '');
  assert.equal(code, 0);
});

test('every option has a description', () => {
  const missing: string[] = [];
  const visit = (shape: Shape, path: string): void => {
    for (const variant of [shape, ...(shape.oneOf ?? []), ...(shape.anyOf ?? [])]) {
      if (variant.items !== undefined) visit(variant.items, `${path}[]`);
      for (const [key, property] of Object.entries(variant.properties ?? {})) {
        const described = [property, ...(property.anyOf ?? [])].some(({ description }) => description !== undefined);
        if (!described && property.const === undefined) missing.push(`${path}.${key}`);
        visit(property, `${path}.${key}`);
      }
    }
  };
  visit(shapeOf(configSchema), '');
  assert.deepEqual(missing, []);
});

test('docs/errors.md has every code of ours', () => {
  const text = readFileSync(join(ROOT_FOLDER, 'docs', 'errors.md'), 'utf8');
  for (const code of Object.keys(ERRORS)) assert.ok(text.includes(`| \`${code}\` |`), code);
});

test('an editor that checks with the JSON Schema takes the starter configuration and refuses slips', () => {
  const editor = z.fromJSONSchema(configJsonSchema());
  const starter: unknown = parse(STARTER_CONFIG);
  assert.deepEqual(editor.safeParse(starter).error, undefined);
  const connector = z.fromJSONSchema(connectorJsonSchema());
  const settings = { url: 'mqtts://h', reconnectPeriod: '10 s' };
  const isTaken = (changes: Record<string, unknown>) =>
    connector.safeParse({ id: 'a', settings: { ...settings, ...changes } }).success;
  assert.ok(isTaken({}));
  assert.ok(isTaken({ reconnectPeriod: '$' + '{PERIOD}', authentication: { type: 'none' } }));
  assert.ok(!isTaken({ reconectPeriod: 5 }));
  assert.ok(!isTaken({ reconnectPeriod: 99 }));
  assert.ok(!isTaken({ reconnectPeriod: 'soon' }));
  assert.ok(!isTaken({ qos: 3 }));
  assert.ok(!isTaken({ authentication: { type: 'basic' } }));
});

test('secrets are marked as write-only in the JSON Schema', () => {
  const marked = [...JSON.stringify(configJsonSchema()).matchAll(/"(\w+)":\{[^{}]*"writeOnly":true/g)].map(
    ([, key]) => key,
  );
  assert.deepEqual(marked.sort(), ['keyPassphrase', 'password', 'secret']);
});
