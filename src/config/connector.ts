/** A connector: one destination with its settings, cache and transformers. */
import { z } from 'zod';
import { CACHE_SIZE_MIN_BYTES, cachingSchema } from './caching.js';
import { CONNECTIONS_MAX, settingsSchema } from './settings.js';
import { transformerSchema } from './transformers.js';

/** An id names folders, metrics and API paths, so it is plain; it never changes while data is queued under it. */
export function id() {
  return z.string().regex(/^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$/, {
    error: 'must be 1 to 64 characters of a-z, 0-9 and -, not beginning or ending with -',
  });
}

export const connectorSchema = z
  .strictObject({
    id: id().describe('1 to 64 of a-z, 0-9 and -. Unique, and for life: the queued data stands under it.'),
    name: z
      .string()
      .min(1)
      .max(200)
      .exactOptional()
      .meta({ description: 'For people.', 'x-default': 'the same as id' }),
    description: z.string().max(2000).default('').describe('For people.'),
    enabled: z.boolean().default(true).describe('A disabled connector takes no content and does not connect.'),
    settings: settingsSchema.describe('The connection to the broker.'),
    caching: cachingSchema.prefault({}).describe('The store between acceptance and acknowledgement.'),
    transformers: z
      .array(transformerSchema)
      .max(1000)
      .prefault([])
      .describe('Content to messages: the first whose `from` and content type fit is taken.'),
  })
  .superRefine(checkCacheSize, { when: ({ value }) => typeof value === 'object' && value !== null })
  .transform((connector) => ({ ...connector, name: connector.name ?? connector.id }));

/** Each connection has its share of the cache. Values that are wrong by themselves are told as such, and may be anything. */
function checkCacheSize(connector: { settings?: unknown; caching?: unknown }, context: z.RefinementCtx): void {
  const connections = numberIn(connector.settings, 'connections');
  const maxSize = numberIn(connector.caching, 'maxSize');
  if (connections === undefined || maxSize === undefined) return;
  const isWrongItself = !(connections <= CONNECTIONS_MAX) || !(maxSize >= CACHE_SIZE_MIN_BYTES);
  if (isWrongItself || maxSize >= connections * CACHE_SIZE_MIN_BYTES) return;
  context.addIssue({
    code: 'custom',
    path: ['caching', 'maxSize'],
    message: `is less than 1 MiB for each of the ${connections} connections`,
    params: { hint: 'Give a larger size, or fewer connections.' },
  });
}

function numberIn(section: unknown, key: string): number | undefined {
  if (typeof section !== 'object' || section === null || !(key in section)) return undefined;
  const value: unknown = section[key as keyof typeof section];
  return typeof value === 'number' ? value : undefined;
}

export type ConnectorConfig = z.output<typeof connectorSchema>;
/** As a user writes it, with everything optional that has a default. */
export type ConnectorInput = z.input<typeof connectorSchema>;
