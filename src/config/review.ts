/** Looks a configuration over for warnings: each part for itself, so that an error elsewhere hides none. */
import { type ConnectorConfig, connectorSchema } from './connector.js';
import { type InputConfig, inputSchema } from './inputs.js';
import type { Finding } from './problem.js';
import { serverSchema } from './server.js';
import { type Path, valueAt } from './shape.js';
import { inputWarnings, serverWarnings, settingsWarnings, transformerWarnings } from './warning.js';

/** `value` has its references resolved; parts of it that are invalid are passed over. */
export function reviewConfig(value: unknown): Finding[] {
  const server = serverSchema.safeParse(valueAt(value, ['server']) ?? {});
  const inputs = listAt(value, 'inputs').map((part) => inputSchema.safeParse(part).data);
  const connectors = listAt(value, 'connectors').map((part) => connectorSchema.safeParse(part).data);
  const inputIds = inputs.flatMap((input) => (input === undefined ? [] : [input.id]));
  return [
    ...(server.success ? below(['server'], serverWarnings(server.data)) : []),
    ...connectors.flatMap((connector, index) =>
      connector === undefined ? [] : below(['connectors', index], connectorWarnings(connector, inputIds)),
    ),
    ...reviewTogether(inputs, connectors),
  ];
}

/** The same for a connector alone. */
export function reviewConnector(value: unknown): Finding[] {
  const { data } = connectorSchema.safeParse(value);
  return data === undefined ? [] : connectorWarnings(data, []);
}

function connectorWarnings({ settings, transformers }: ConnectorConfig, inputIds: readonly string[]): Finding[] {
  return [...below(['settings'], settingsWarnings(settings)), ...transformerWarnings(transformers, inputIds)];
}

type Parsed<T> = readonly (T | undefined)[];

function reviewTogether(inputs: Parsed<InputConfig>, connectors: Parsed<ConnectorConfig>): Finding[] {
  const soundInputs = inputs.filter((input) => input !== undefined);
  const soundConnectors = connectors.filter((connector) => connector !== undefined);
  // What feeds what cannot be told while a part of it is unknown.
  if (soundInputs.length < inputs.length || soundConnectors.length < connectors.length) return [];
  if (soundConnectors.length > 0) return below(['inputs'], inputWarnings(soundInputs, soundConnectors));
  const hint = 'Add one below connectors, or in the console; "mqtt-north init" writes an example.';
  const message = 'There is no connector, so nothing is published.';
  return [{ severity: 'warning', code: 'SETTING_DOUBTFUL', path: [], message, hint }];
}

function below(path: Path, findings: readonly Finding[]): Finding[] {
  return findings.map((finding) => ({ ...finding, path: [...path, ...finding.path] }));
}

function listAt(value: unknown, key: string): unknown[] {
  const list = valueAt(value, [key]);
  return Array.isArray(list) ? list : [];
}
