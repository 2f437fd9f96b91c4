/**
 * Any text as an export of OIBus: a configuration that passes every check, with notes about what was left out, or an
 * error that says why there is none.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { convertOibus, type Imported } from '../../src/cli/import.js';
import { transformerErrors } from '../../src/cli/transformer-check.js';
import { readConfig } from '../../src/config/loading.js';
import { json as anyJson } from './any-json.js';
import type { FuzzTarget } from './fuzz.js';
import { type ByteText, damaged, toBytes } from './mutation.js';
import { assertRefusal } from './transformed.js';
import { weighted } from './weighted.js';

export interface ImportCase {
  text: ByteText;
}

const FIXTURES = join(import.meta.dirname, '..', 'cli', 'fixtures');
const EXPORTS = ['oibus-north.json', 'oibus-full.json'].map((name) => readFileSync(join(FIXTURES, name), 'utf8'));
const KEYS = [...new Set(EXPORTS.flatMap((text) => [...text.matchAll(/"(\w+)":/g)].map(([, key]) => key!)))];
const VALUES = [
  'mqtt',
  'mqtts://127.0.0.1',
  'basic',
  'cert',
  'none',
  'json',
  'csv',
  'unix-epoch',
  '$[*]',
  'a/#',
  '{',
  '',
];

/** An export with some of its values replaced, wherever they stand. */
const replaced = fc
  .tuple(
    fc.constantFrom(...EXPORTS),
    fc.array(fc.tuple(fc.nat(0xffff), anyJson(KEYS, VALUES), fc.constantFrom(...KEYS), fc.boolean()), { maxLength: 5 }),
  )
  .map(([text, changes]) => {
    const document = JSON.parse(text) as Record<string, unknown>;
    for (const [at, given, key, isAdding] of changes) {
      const sections = sectionsOf(document);
      const section = sections[at % sections.length]!;
      const known = Object.keys(section);
      section[isAdding || known.length === 0 ? key : known[at % known.length]!] = structuredClone(given);
    }
    return JSON.stringify(document);
  });

function sectionsOf(root: unknown): Record<string, unknown>[] {
  if (typeof root !== 'object' || root === null) return [];
  return [root as Record<string, unknown>, ...Object.values(root).flatMap(sectionsOf)];
}

const document = weighted<string>(
  [8, replaced],
  [1, fc.constantFrom(...EXPORTS)],
  [1, anyJson(KEYS, VALUES).map((value) => JSON.stringify(value))],
);
const importCase: fc.Arbitrary<ImportCase> = fc.record({
  text: damaged(
    document.map((text) => Buffer.from(text)),
    ['"settings":{},', '"type":"mqtt",', '"transformers":[],'],
    0.7,
  ),
});

function check({ text }: ImportCase): string {
  const decoded = new TextDecoder().decode(toBytes(text));
  let imported: Imported;
  try {
    imported = convertOibus(decoded);
  } catch (error) {
    assertRefusal(error, ['IMPORT_UNREADABLE']);
    return 'refused';
  }
  const loaded = readConfig(JSON.stringify(imported.config), '/import.json', { env: {} });
  assert.deepEqual([...loaded.errors, ...transformerErrors(loaded)], []);
  assert.ok((loaded.config?.connectors.length ?? 0) > 0);
  for (const { connector, part, message } of imported.notes) {
    assert.ok(connector.length > 0 && part.length > 0 && message.length > 0);
  }
  return imported.notes.length > 0 ? 'converted with notes' : 'converted';
}

export const oibusImport: FuzzTarget<ImportCase> = { name: 'import', open: () => ({ cases: importCase, check }) };
