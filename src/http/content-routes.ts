/** POST /api/content: content in, a receipt out. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { NorthError } from '../core/error.js';
import { readBody } from './body.js';
import { checkMediaType, parseContent, parseMediaType } from './content-form.js';
import { chooseConnectors, handOver, type ReceiptAnswer, reachableIds, scopedKey } from './intake.js';
import { type Route, type RouteContext, readQuery } from './route.js';
import { contentQuery, idempotencyHeaders, messages, receiptSchema, setpoints, timeValues } from './schemas.js';

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;

export const CONTENT_ERRORS = [
  'REQUEST_INVALID',
  'CONTENT_MALFORMED',
  'CONNECTOR_UNKNOWN',
  'CONNECTOR_DISABLED',
  'CONTENT_TOO_LARGE',
  'CONTENT_TYPE_UNSUPPORTED',
  'CONTENT_EMPTY',
  'TRANSFORMER_MISSING',
  'IDEMPOTENCY_KEY_REUSED',
  'REQUEST_TOO_MANY',
  'SERVICE_STOPPING',
  'CACHE_FULL',
  'CACHE_DISK_FULL',
  'CACHE_FAILED',
  'CACHE_NEWER',
  'CONNECTOR_FAILED',
] as const;

export const contentRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/api/content',
    role: 'producer',
    tag: 'Content',
    summary: 'Hand in content',
    description:
      'Answers 202 only once everything that it counts is on stable storage in every connector that was named. ' +
      'An element that is not valid is rejected with its index, and the others are stored. ' +
      'With several connectors, an error says which of them have stored it.',
    query: contentQuery,
    headers: idempotencyHeaders,
    body: {
      description: 'The content. `Content-Encoding: gzip` is understood.',
      required: true,
      content: {
        'application/json': {
          schema: z.union([timeValues, setpoints, messages, z.unknown()]),
          example: [
            { pointId: 'boiler/t1', timestamp: '2026-01-15T10:00:00.000Z', data: { value: 23.5, quality: 'good' } },
          ],
        },
        'application/x-ndjson': { schema: z.string().describe('One element per line.') },
        'text/csv': { schema: z.string().describe('For the type csv.') },
      },
    },
    answers: { 202: { description: 'Stored.', content: { 'application/json': receiptSchema } } },
    errors: CONTENT_ERRORS,
    handle: takeContent,
  },
];

async function takeContent(context: RouteContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  if (!('connector' in (request.query as object))) throw connectorMissing(context, request);
  const { connector: ids, type, source } = readQuery(contentQuery, request);
  const connectors = chooseConnectors(context, request.caller, ids, type, source);
  const media = parseMediaType(request.headers['content-type']);
  checkMediaType(type, media);
  const idempotencyKey = scopedKey(request.caller, readKey(request));
  const share = context.budget.enter();
  let answer: ReceiptAnswer;
  try {
    const body = await readBody(request.raw, { sizeMaxBytes: context.bodySizeMaxBytes, share });
    answer = await handOver(parseContent(type, media, body, share), { connectors, source, idempotencyKey });
  } finally {
    share.release();
  }
  return reply.code(202).header('content-type', 'application/json; charset=utf-8').send(JSON.stringify(answer));
}

function connectorMissing(context: RouteContext, request: FastifyRequest): NorthError {
  const ids = reachableIds(context, request.caller);
  const hint = ids.length === 0 ? 'There is no connector yet.' : `Add ?connector=, one of: ${ids.join(', ')}.`;
  return new NorthError('REQUEST_INVALID', 'The parameter "connector" is missing.', { remedy: hint });
}

/** The key of the request. Throws REQUEST_INVALID for one that cannot be kept. */
export function readKey(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && IDEMPOTENCY_KEY.test(key)) return key;
  throw new NorthError('REQUEST_INVALID', 'The Idempotency-Key is not 1 to 255 printable ASCII characters.');
}
