// Writes what is made from the code: the JSON Schema and the reference pages. `--check` writes nothing, names the files
// that are not what the code gives, and exits with 1 if there are any.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { compile } from './compile.mjs';

const root = dirname(import.meta.dirname);
const isCheck = process.argv.includes('--check');
// A check runs beside the tests, which have compiled already and are using the result.
if (!isCheck || !existsSync(join(root, 'build/src/cli/main.js'))) compile();

const { configJsonSchema } = await import('../build/src/config/json-schema.js');
const { renderConfigurationReference } = await import('../build/src/config/configuration-reference.js');
const { renderErrorsReference } = await import('../build/src/cli/errors-reference.js');
const { renderMetricsReference } = await import('../build/src/http/metrics-reference.js');

const files = {
  'schema/mqtt-north.schema.json': `${JSON.stringify(configJsonSchema(), null, 2)}\n`,
  'docs/configuration.md': renderConfigurationReference(),
  'docs/errors.md': renderErrorsReference(),
  'docs/metrics.md': renderMetricsReference(),
};

for (const [name, text] of Object.entries(files)) {
  const file = join(root, name);
  const old = existsSync(file) ? readFileSync(file, 'utf8') : undefined;
  if (old === text) continue;
  if (isCheck) {
    console.error(`${name} is not what the code gives; run "npm run docs".`);
    process.exitCode = 1;
    continue;
  }
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  console.log(`${name} is written.`);
}
