/** The whole configuration. */
import { z } from 'zod';
import { NorthError } from '../core/error.js';
import type { ErrorCode } from '../core/error-codes.js';
import { parseBrokerUrl } from './broker-url.js';
import { connectorSchema } from './connector.js';
import { inputSchema } from './inputs.js';
import { nearMiss } from './near-miss.js';
import { filePath } from './secret.js';
import { serverSchema } from './server.js';
import { CONNECTIONS_MAX, clientIdOfConnection } from './settings.js';
import { isRecord } from './shape.js';

const loggingSchema = z.strictObject({
  level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe('The least that is logged.'),
  format: z
    .enum(['auto', 'pretty', 'json'])
    .default('auto')
    .describe('auto: pretty on a terminal, JSON lines otherwise.'),
});

/** Where the data is kept when `dataDir` is not set; it counts from the folder of the configuration file. */
export const DATA_DIR = './data';

export const configSchema = z
  .strictObject({
    $schema: z.string().exactOptional().describe('For editors: where the JSON Schema of this file is.'),
    dataDir: filePath()
      .prefault(DATA_DIR)
      .describe('Folder of the caches and of the stored secrets. One process at a time.'),
    server: serverSchema.prefault({}).describe('Console, API and metrics.'),
    connectors: z.array(connectorSchema).max(1000).prefault([]).describe('Where data goes.'),
    inputs: z.array(inputSchema).max(1000).prefault([]).describe('Where data comes from, besides the API.'),
    logging: loggingSchema.prefault({}).describe('What is logged, and how.'),
  })
  .superRefine(checkTogether, { when: ({ value }) => typeof value === 'object' && value !== null });

/** Everything that has a default is there. Sizes in bytes, times in milliseconds unless a field says otherwise. */
export type Config = z.output<typeof configSchema>;
export type LoggingConfig = Config['logging'];

// Runs also when single values are wrong, so that all problems are told at once; hence the checks of each value.
function checkTogether(config: Partial<Config>, context: z.RefinementCtx): void {
  const report = (path: (string | number)[], message: string, code: ErrorCode, hint: string) => {
    context.addIssue({ code: 'custom', path, message, params: { code, hint } });
  };
  for (const list of ['connectors', 'inputs'] as const) {
    const ids = new Set<string>();
    for (const [index, { id }] of sectionsOf(config[list]).entries()) {
      if (typeof id !== 'string') continue;
      if (ids.has(id)) report([list, index, 'id'], 'is used twice', 'CONFIG_NAME_TAKEN', 'Choose another id.');
      ids.add(id);
    }
  }

  const known = sectionsOf(config.connectors).flatMap(({ id }) => (typeof id === 'string' ? [id] : []));
  const checkReferences = (section: { connectors?: unknown }, path: (string | number)[]) => {
    const references: unknown[] = Array.isArray(section.connectors) ? section.connectors : [];
    for (const [index, id] of references.entries()) {
      if (typeof id !== 'string' || known.includes(id)) continue;
      const near = nearMiss(id, known);
      const hint = near === undefined ? 'Give the id of a connector of this file.' : `Did you mean ${near}?`;
      report([...path, 'connectors', index], 'is the id of no connector', 'CONNECTOR_UNKNOWN', hint);
    }
  };
  for (const [index, input] of sectionsOf(config.inputs).entries()) checkReferences(input, ['inputs', index]);
  for (const [index, token] of sectionsOf(config.server?.tokens).entries()) {
    checkReferences(token, ['server', 'tokens', index]);
  }

  const clients = new Set<string>();
  for (const [index, connector] of sectionsOf(config.connectors).entries()) {
    const settings = isRecord(connector.settings) ? connector.settings : {};
    if (connector.enabled === false || typeof settings.clientId !== 'string') continue;
    const ids = clientIdsOf(settings.clientId, settings.connections);
    const own = ids.map((clientId) => JSON.stringify([clientId, brokerOf(settings.url)]));
    if (own.some((client) => clients.has(client))) {
      const message = 'is that of another connector to the same broker, which would throw this one out';
      report(['connectors', index, 'settings', 'clientId'], message, 'CONFIG_NAME_TAKEN', 'Choose another clientId.');
    }
    for (const client of own) clients.add(client);
  }
}

/** Each connection of a connector has a client id of its own. */
function clientIdsOf(clientId: string, connections: unknown): string[] {
  const count = typeof connections === 'number' ? Math.min(connections, CONNECTIONS_MAX) : 1;
  return Array.from({ length: Math.max(1, count) }, (_, index) => clientIdOfConnection(clientId, index + 1));
}

interface Section {
  id?: unknown;
  connectors?: unknown;
  enabled?: unknown;
  settings?: unknown;
}

function sectionsOf(list: unknown): Section[] {
  return Array.isArray(list) ? list.map((element) => (isRecord(element) ? element : {})) : [];
}

function brokerOf(url: unknown): unknown {
  if (typeof url !== 'string') return url;
  try {
    const { host, port } = parseBrokerUrl(url);
    return `${host}:${port}`;
  } catch (error) {
    // A URL that cannot be parsed has its own problem already.
    if (error instanceof NorthError) return url;
    throw error;
  }
}
