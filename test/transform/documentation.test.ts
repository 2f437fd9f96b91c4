/** docs/transformers.md says what is so: its examples are run, and its tables hold every option as it is declared. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import { type TransformerConfig, transformerSchema } from '../../src/config/transformers.js';
import type { Content } from '../../src/core/content.js';
import { readRecord } from '../../src/core/record.js';
import { Collector } from '../../src/transform/collector.js';
import { openTransformer } from '../../src/transform/transformer.js';

const page = readFileSync(join(process.cwd(), 'docs/transformers.md'), 'utf8');
const EXAMPLE = /```yaml\n(.*?)```\n\n```(json|csv)\n(.*?)```\n\n```text\n(.*?)```/gs;
const SHARED = ['type', 'from', 'qos', 'retain', 'lane', 'messageExpiry'];

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  const?: unknown;
  oneOf?: Schema[];
}

const schema = z.toJSONSchema(transformerSchema, { io: 'input' }) as Schema;

function contentOf(config: TransformerConfig, language: string, text: string): Content {
  if (language === 'csv') return { type: 'csv', body: Buffer.from(text) };
  const document: unknown = JSON.parse(text);
  if (config.type === 'json-to-mqtt') return { type: 'json', document };
  assert.ok(Array.isArray(document));
  if (config.type === 'setpoints-to-mqtt') return { type: 'setpoints', elements: document };
  if (config.type === 'messages-to-mqtt') return { type: 'messages', elements: document };
  return { type: 'time-values', elements: document };
}

/** Records what the collector is told, in the words of the page. */
class Narrator extends Collector {
  readonly lines: string[] = [];

  override push(...[index, draft]: Parameters<Collector['push']>): void {
    const before = this.batches.count;
    super.push(index, draft);
    if (this.batches.count === before) return;
    const batch = this.batches.builders.find((builder) => builder !== undefined)!.finish();
    let last = readRecord(batch, 0)!;
    for (let at = last.sizeBytes; at < batch.length; at += last.sizeBytes) last = readRecord(batch, at)!;
    this.lines.push(`${Buffer.from(last.topic)} ${Buffer.from(last.payload)}`);
  }

  override quarantine(...[index, code, reason, draft]: Parameters<Collector['quarantine']>): void {
    super.quarantine(index, code, reason, draft);
    this.lines.push(`quarantined ${index} ${code} ${reason}`);
  }

  override reject(...[index, code, message]: Parameters<Collector['reject']>): void {
    super.reject(index, code, message);
    this.lines.push(`rejected ${index} ${code} ${message}`);
  }

  override ignored(count: number): void {
    super.ignored(count);
    this.lines.push(`ignored ${count}`);
  }
}

/** The table rows of one object of the schema: its keys and their descriptions. */
function rowsOf({ properties = {} }: Schema, without: readonly string[]): string[] {
  return Object.entries(properties)
    .filter(([key]) => !without.includes(key))
    .map(([key, { description = '' }]) => `| \`${key}\` | ${description.replaceAll('|', '\\|')} |`);
}

describe('docs/transformers.md', () => {
  const examples = [...page.matchAll(EXAMPLE)];

  it('shows every type of transformer at work', () => {
    const shown = examples.map(([, yaml]) => transformerSchema.parse(parse(yaml!)).type);
    const all = (schema.oneOf ?? []).map(({ properties }) => properties?.type?.const);
    assert.deepEqual([...new Set(shown)].sort(), all.sort());
    assert.equal(examples.length * 3, page.match(/```(yaml|json|csv|text)\n/g)?.length);
  });

  for (const [index, [, yaml = '', language = '', input = '', output = '']] of examples.entries()) {
    const config = transformerSchema.parse(parse(yaml));
    it(`example ${index + 1} (${config.type}) gives what the page says`, async () => {
      const narrator = new Narrator({ qos: 1, retain: false, expirySeconds: 0, topicPrefix: '', userProperties: [] });
      await openTransformer(config).transform(contentOf(config, language, input), narrator);
      assert.deepEqual(narrator.lines, output.trimEnd().split('\n'));
    });
  }

  it('has every option with the meaning that it is declared with', () => {
    const rows: string[] = [];
    for (const variant of schema.oneOf ?? []) {
      rows.push(...rowsOf(variant, SHARED));
      const fields = variant.properties?.objectFields?.items;
      if (fields !== undefined) rows.push(...rowsOf(fields, []));
      for (const side of ['input', 'output']) {
        const part = variant.properties?.datetime?.properties?.[side];
        if (part !== undefined) rows.push(...rowsOf(part, []));
      }
    }
    rows.push(
      ...rowsOf(schema.oneOf![0]!, ['type']).filter((row) => SHARED.some((key) => row.startsWith(`| \`${key}\``))),
    );
    const missing = rows.filter((row) => !page.includes(`${row}\n`));
    assert.deepEqual(missing, []);
  });
});
