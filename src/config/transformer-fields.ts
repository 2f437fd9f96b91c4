/** Options that the transformers of CSV and JSON share: what a value is to become, and how times are written. */
import { z } from 'zod';
import { luxon } from '../core/calendar.js';

const timezone = z
  .string()
  .default('UTC')
  .refine((zone) => luxon().DateTime.utc().setZone(zone).isValid, {
    error: 'expected a time zone such as UTC or Europe/Paris',
  });

const locale = z.string().default('en').refine(isLocale, { error: 'expected a locale such as en, fr or de-AT' });

function isLocale(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length === 1;
  } catch {
    return false;
  }
}

/** The tokens become a regular expression, whose size the engine limits. */
const FORMAT_LENGTH_MAX = 200;

export const datetimeSchema = z.strictObject({
  input: z
    .strictObject({
      format: z
        .string()
        .min(1)
        .max(FORMAT_LENGTH_MAX)
        .default('iso')
        .describe('iso, unix-seconds, unix-ms, or tokens such as "dd/MM/yyyy HH:mm:ss".'),
      timezone: timezone.describe('Time zone of a time that does not name its own.'),
      locale: locale.describe('Language of the names of months and days.'),
    })
    .prefault({})
    .describe('How the time is written in the content.'),
  output: z
    .strictObject({
      format: z
        .string()
        .min(1)
        .max(FORMAT_LENGTH_MAX)
        .default('iso-utc')
        .describe('iso-utc, iso (with the offset of the time zone), unix-seconds, unix-ms, or tokens.'),
      timezone: timezone.describe('Time zone of iso and of tokens.'),
      locale: locale.describe('Language of the names of months and days.'),
    })
    .prefault({})
    .describe('How the time is written in the message.'),
});

export const DATETIME_HELP = 'How times are read and written; only for the type datetime.';

/** Reports `datetime` at `path` where it stands beside another type, which would make nothing of it. */
export function reportDatetime(
  field: { type: string; datetime?: unknown },
  path: (string | number)[],
  context: z.RefinementCtx,
): void {
  if (field.datetime === undefined || field.type === 'datetime') return;
  context.addIssue({ code: 'custom', path, message: `only the type datetime takes this, not ${field.type}` });
}

const COLUMN_EXPECTED = 'expected the name of a column or its number, from 0';
/** A column by the name in the header or by its 0-based number. */
export const columnSchema = z
  .union([z.string().min(1), z.int().min(0, { error: COLUMN_EXPECTED })], { error: COLUMN_EXPECTED })
  .meta({ examples: ['topic', 0] });

export const FIELD_TYPES = ['string', 'number', 'boolean', 'datetime'] as const;

export type DatetimeConfig = z.output<typeof datetimeSchema>;
export type FieldType = (typeof FIELD_TYPES)[number];
