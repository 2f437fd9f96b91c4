/** The options of a connector's cache. */
import { z } from 'zod';
import { duration, size } from './quantity.js';
import { rateSchema } from './settings.js';

/** The least that `maxSize` may be, for each connection. */
export const CACHE_SIZE_MIN_BYTES = 1024 ** 2;

const TEN_YEARS_MS = 10 * 365 * 86_400_000;
const retention = () => duration({ min: 0, max: TEN_YEARS_MS });

export const cachingSchema = z.strictObject({
  maxSize: size({ min: CACHE_SIZE_MIN_BYTES, max: 100 * 1024 ** 4 })
    .prefault('10 GiB')
    .describe('Most that the cache takes on disk, quarantine and archive included.'),
  onFull: z
    .enum(['reject', 'drop-oldest'])
    .default('reject')
    .describe('When it is full: refuse what is new, or drop the oldest telemetry. Commands and alerts never drop.'),
  maxAge: retention()
    .prefault('0 h')
    .describe('What waited longer than this is not sent any more but set aside. 0: it waits for ever.'),
  throttling: rateSchema.prefault({}).describe('Limit at which the cache is emptied, to spare a slow line.'),
  quarantine: z
    .strictObject({
      retentionDuration: retention().prefault('0 h').describe('How long a refused message is kept. 0: for ever.'),
    })
    .prefault({})
    .describe('Messages that the broker refused or that break its limits.'),
  archive: z
    .strictObject({
      enabled: z.boolean().default(false).describe('Keep messages after they were published.'),
      retentionDuration: retention().prefault('72 h').describe('How long. 0: until the cache is full.'),
    })
    .prefault({})
    .describe('Published messages, to look at or to replay.'),
});

/** Sizes in bytes, times in milliseconds. */
export type CachingConfig = z.output<typeof cachingSchema>;
