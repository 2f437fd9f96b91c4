/** What a route declares once: from it come the registration, the check of role and parameters, and the OpenAPI document. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Connector } from '../connector/connector.js';
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import type { ErrorCode } from '../core/error-codes.js';
import { parseJson } from '../core/json.js';
import type { Logger } from '../core/logger.js';
import { readBody } from './body.js';
import type { Budget } from './budget.js';
import { type Caller, checkReach, type RouteRole } from './caller.js';
import { parseMediaType } from './content-form.js';
import type { EventStream } from './event-stream.js';
import type { MetricsPage } from './metrics-page.js';
import type { Service } from './service.js';
import type { StatusPage } from './status-page.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before any handler runs. */
    caller: Caller;
  }
  interface FastifyContextConfig {
    role?: RouteRole;
  }
}

export interface RouteContext {
  service: Service;
  logger: Logger;
  clock: Clock;
  budget: Budget;
  /** Of requests without content: an operator gets through while producers have filled theirs. */
  controlBudget: Budget;
  events: EventStream;
  metrics: MetricsPage;
  page: StatusPage;
  bodySizeMaxBytes: number;
}

export interface RouteBody {
  description: string;
  required: boolean;
  /** For each media type its schema, and an example that works. */
  content: Readonly<Record<string, { schema: z.ZodType; example?: unknown }>>;
}

export interface RouteAnswer {
  description: string;
  /** By media type; none for an answer without a body. */
  content?: Readonly<Record<string, z.ZodType>>;
}

export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** In Fastify's form: `/api/connectors/:id`. */
  path: string;
  role: RouteRole;
  tag: string;
  summary: string;
  description?: string;
  query?: z.ZodObject;
  headers?: z.ZodObject;
  body?: RouteBody;
  /** The answers that are no errors. */
  answers: Readonly<Record<number, RouteAnswer>>;
  /** The codes that it can answer with, besides those that every route can. */
  errors: readonly ErrorCode[];
  handle(context: RouteContext, request: FastifyRequest, reply: FastifyReply): unknown;
}

/** The largest body of a request that carries no content but a setting or a selection. */
export const CONTROL_BODY_MAX_BYTES = 4 * 1024 * 1024;

/** The checked parameters. Throws REQUEST_INVALID with every problem. */
export function readQuery<T extends z.ZodObject>(schema: T, request: FastifyRequest): z.output<T> {
  return check(schema, request.query, 'parameter');
}

/** What a route can answer with that reads its body by `readJson`. */
export const JSON_BODY_ERRORS = [
  'REQUEST_INVALID',
  'CONTENT_MALFORMED',
  'CONTENT_TYPE_UNSUPPORTED',
  'CONTENT_TOO_LARGE',
  'REQUEST_TOO_MANY',
] as const;

/** The value of the JSON body; undefined when there is none. Throws one of JSON_BODY_ERRORS. */
export async function readJson(context: RouteContext, request: FastifyRequest): Promise<unknown> {
  const share = context.controlBudget.enter();
  try {
    const body = await readBody(request.raw, { sizeMaxBytes: CONTROL_BODY_MAX_BYTES, share });
    if (body.length === 0) return undefined;
    const media = parseMediaType(request.headers['content-type']);
    if (media.name !== 'application/json') {
      throw new NorthError('CONTENT_TYPE_UNSUPPORTED', 'The body of this request is JSON.', {
        remedy: 'Set Content-Type to application/json.',
      });
    }
    return parseJson(body);
  } finally {
    share.release();
  }
}

/** `value` as the schema says. Throws REQUEST_INVALID with every problem. */
export function check<T extends z.ZodType>(schema: T, value: unknown, noun: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    const place = issue.path.length === 0 ? '' : `${noun} "${issue.path.join('.')}": `;
    return `${place}${issue.message}`;
  });
  throw new NorthError('REQUEST_INVALID', `${problems.join('; ')}.`);
}

/** The connector of the path. Throws TOKEN_FORBIDDEN or CONNECTOR_UNKNOWN. */
export function connectorOf(context: RouteContext, request: FastifyRequest): Connector {
  const id = idOf(request);
  return findConnector(context, request.caller, id);
}

export function findConnector(context: RouteContext, caller: Caller, id: string): Connector {
  checkReach(caller, id);
  const connector = context.service.connector(id);
  if (connector === undefined) throw new NorthError('CONNECTOR_UNKNOWN', `There is no connector "${id}".`);
  return connector;
}

/** The `:id` of the path, as it stands there. */
export function idOf(request: FastifyRequest): string {
  // The router has matched the path of the route, which has an `:id`.
  return (request.params as { id: string }).id;
}

/** A parameter that takes a list: `a,b`, or given several times. Without repetitions, in order. */
export function commaList(noun: string) {
  return z
    .union([z.string(), z.array(z.string())], { error: `name the ${noun}, several with commas` })
    .transform((given) => {
      const parts = (Array.isArray(given) ? given : [given]).flatMap((text) => text.split(','));
      return [...new Set(parts.map((part) => part.trim()).filter((part) => part !== ''))];
    })
    .refine((list) => list.length > 0 && list.length <= 100, { error: `name 1 to 100 of the ${noun}` });
}
