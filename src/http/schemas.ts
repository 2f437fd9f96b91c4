/** The shapes that the API takes and gives, for the checks and for the OpenAPI document. */
import { z } from 'zod';
import { CONNECTOR_STATES } from '../connector/connector.js';
import { CONTENT_TYPES } from '../core/content.js';
import { commaList } from './route.js';

const source = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^\p{Cc}]+$/u, { error: 'must not contain control characters' });

export const contentQuery = z.strictObject({
  connector: commaList('connector').describe('Ids of the connectors that are to take it, separated by commas.'),
  type: z.enum(CONTENT_TYPES).describe('What the body is.'),
  source: source.default('api').describe('Where it comes from; transformers refer to it in `from`.'),
});

/** OIBus producers may send more parameters than these; they are ignored, as OIBus does. */
export const oibusQuery = z.looseObject({
  northId: commaList('northId').describe('Ids of the connectors that are to take it, separated by commas.'),
  dataSourceId: source.default('api').describe('Where it comes from; transformers refer to it in `from`.'),
});

export const idempotencyHeaders = z.object({
  'idempotency-key': z
    .string()
    .max(255)
    .optional()
    .describe('The same key gives the same receipt and is published once. 1 to 255 printable ASCII characters.'),
});

export const rejectionSchema = z.object({
  index: z.int().describe('0-based index of the element or row.'),
  code: z.string(),
  message: z.string(),
  connector: z.string().optional().describe('With several connectors, the one that refused it.'),
});

export const receiptSchema = z.object({
  receipt: z.string().describe('Names what was stored.'),
  accepted: z.int().describe('Elements on stable storage; with several connectors, the fewest.'),
  quarantined: z.int().describe('Of the accepted, those that went to quarantine, for want of a mapping for example.'),
  rejectedCount: z.int(),
  rejected: z.array(rejectionSchema).describe('Elements that were not valid, at most 10,000 of them.'),
  connectors: z
    .array(z.object({ connector: z.string(), receipt: z.string(), accepted: z.int(), quarantined: z.int() }))
    .optional()
    .describe('With several connectors, the receipt of each.'),
});

export const errorSchema = z
  .object({
    code: z.string().describe('Never changes its meaning; `mqtt-north explain CODE` tells more.'),
    message: z.string(),
    remedy: z.string(),
    place: z.string().optional(),
    rejected: z.array(rejectionSchema).optional(),
    rejectedCount: z.int().optional(),
    connectors: z.array(z.looseObject({ connector: z.string(), stored: z.boolean() })).optional(),
    incident: z.string().optional().describe('For INTERNAL: the log line with this number has the details.'),
  })
  .meta({ id: 'Error' });

export const timeValues = z.array(
  z.looseObject({ pointId: z.string(), timestamp: z.string(), data: z.looseObject({}) }),
);
export const setpoints = z.array(z.looseObject({ reference: z.string(), value: z.unknown() }));
export const messages = z.array(
  z.looseObject({
    topic: z.string(),
    payload: z.unknown().optional(),
    payloadBase64: z.string().optional(),
    qos: z.union([z.literal(0), z.literal(1), z.literal(2)]).optional(),
    retain: z.boolean().optional(),
    lane: z.enum(['command', 'alert', 'telemetry']).optional(),
    properties: z.looseObject({}).optional(),
  }),
);

export const connectorViewSchema = z
  .looseObject({
    id: z.string(),
    name: z.string(),
    state: z.enum(CONNECTOR_STATES),
    description: z.string().describe('The state in words.'),
  })
  .meta({ id: 'ConnectorStatus' });

/** A configuration is checked by the service, which knows its schema; here it is any object. */
export const configurationSchema = z
  .looseObject({ id: z.string() })
  .describe('As under `connectors` in the configuration file.');

export const laneQuery = z.enum(['command', 'alert', 'telemetry']).optional();

/** Query parameters are texts, so that numbers need their own reading. */
export function countParameter(limits: { min: number; max: number; standard: number }) {
  return z
    .union([z.string().regex(/^\d{1,15}$/), z.int()], { error: 'expected a whole number' })
    .default(limits.standard)
    .transform(Number)
    .refine((value) => value >= limits.min && value <= limits.max, {
      error: `must be between ${limits.min} and ${limits.max}`,
    });
}

export function flagParameter() {
  return z
    .enum(['true', 'false'], { error: 'expected true or false' })
    .default('false')
    .transform((text) => text === 'true');
}

const byIds = z.strictObject({ ids: z.array(z.int().min(0)).min(1).max(100_000) });
const byCodes = z.strictObject({ codes: z.array(z.string().min(1)).min(1).max(1000) });
const everything = z.strictObject({ all: z.literal(true) });

export const selectionSchema = z.union([byIds, byCodes, everything], {
  error: 'give {"ids": […]}, {"codes": […]} or {"all": true}',
});

/** With a topic it is about one message: many are hardly all meant for the same new topic. */
export const retrySchema = z.union(
  [
    byIds,
    byCodes,
    everything,
    z.strictObject({ ids: z.array(z.int().min(0)).length(1), topic: z.string().min(1).max(65_535) }),
  ],
  { error: 'give {"ids": […]}, {"codes": […]}, {"all": true}, or {"ids": [one], "topic": "…"}' },
);

export const storedMessageSchema = z
  .object({
    state: z.enum(['waiting', 'quarantined', 'archived']),
    id: z.int().optional().describe('For quarantined messages: the number for retry and remove.'),
    messageId: z.string(),
    lane: z.enum(['command', 'alert', 'telemetry']),
    offset: z.int().optional(),
    acceptedAt: z.string(),
    at: z.string().optional().describe('When it was quarantined or published.'),
    code: z.string().optional(),
    reason: z.string().optional(),
    topic: z.string().optional().describe('Absent when the stored message is damaged.'),
    qos: z.int().optional(),
    retain: z.boolean().optional(),
    expirySeconds: z.int().optional(),
    properties: z.looseObject({}).optional(),
    payloadSizeBytes: z.int(),
    payloadBase64: z.string().describe('Its beginning where `truncated` is true.'),
    payloadText: z.string().optional().describe('The first 1,000 characters, when the payload is text.'),
    truncated: z.boolean(),
    count: z.int().optional().describe('Of a damaged stretch: how many messages it stood for.'),
  })
  .meta({ id: 'StoredMessage' });
