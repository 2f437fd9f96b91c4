/** The JSON Schemas for editors, the API and the console, made from the declarations. */
import type { z } from 'zod';
import { configSchema } from './config.js';
import { connectorSchema } from './connector.js';
import { shapeOf } from './shape.js';

export type JsonSchema = Readonly<Record<string, unknown>>;

const VARIABLE = '\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}';

/** The schema of a whole configuration as it is written. */
export function configJsonSchema(): JsonSchema {
  return publish(configSchema, 'Configuration of the MQTT North Connector');
}

/** The schema of one connector as it is written; secrets are `writeOnly`. */
export function connectorJsonSchema(): JsonSchema {
  return publish(connectorSchema, 'Connector of the MQTT North Connector');
}

function publish(schema: z.ZodType, title: string): JsonSchema {
  const { $schema, ...rest } = withVariables(shapeOf(schema)) as Record<string, unknown>;
  return { $schema, title, ...rest };
}

/** Where a text must fit a pattern, it may also hold an environment variable, whose value is checked when it is known. */
function withVariables(value: unknown, key?: string): unknown {
  if (key === 'pattern' && typeof value === 'string') return `(?:${value})|${VARIABLE}`;
  if (Array.isArray(value)) return value.map((element) => withVariables(element));
  if (typeof value !== 'object' || value === null) return value;
  const isNamed = key === 'properties';
  return Object.fromEntries(
    Object.entries(value).map(([name, element]) => [name, withVariables(element, isNamed ? undefined : name)]),
  );
}
