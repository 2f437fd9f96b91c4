/** The connectors: see, make, change, remove, start, stop and test them. */
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { NorthError } from '../core/error.js';
import { checkReach, mayReach, mayUse } from './caller.js';
import { readStatus, viewOf } from './connector-view.js';
import {
  check,
  connectorOf,
  JSON_BODY_ERRORS,
  type Route,
  type RouteBody,
  type RouteContext,
  readJson,
  readQuery,
} from './route.js';
import { configurationSchema, connectorViewSchema, flagParameter } from './schemas.js';

const removeQuery = z.strictObject({
  discard: flagParameter().describe('Remove it also when messages wait or are in quarantine; they are lost then.'),
});

const detailSchema = z.object({ status: connectorViewSchema, config: z.unknown() });

const testBodySchema = z.strictObject({ settings: z.looseObject({}).optional() });

const reportSchema = z
  .looseObject({
    ok: z.boolean(),
    steps: z.array(z.object({ name: z.string(), ok: z.boolean(), message: z.string(), elapsedMs: z.number() })),
  })
  .meta({ id: 'TestReport' });

const configBody: RouteBody = {
  description: 'The configuration. A secret that is `[redacted]` keeps its stored value.',
  required: true,
  content: {
    'application/json': {
      schema: configurationSchema,
      example: {
        id: 'plant-a',
        settings: { url: 'mqtts://broker.example.com:8883' },
        transformers: [{ from: '*', type: 'time-values-to-mqtt', topic: 'plant/{pointId}' }],
      },
    },
  },
};

const testBody: RouteBody = {
  description: 'Settings to test instead of the stored ones.',
  required: false,
  content: { 'application/json': { schema: testBodySchema } },
};

const detail = { 'application/json': detailSchema };
const tag = 'Connectors';

export const connectorRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/api/connectors',
    role: 'viewer',
    tag,
    summary: 'All connectors with their status',
    answers: {
      200: {
        description: 'In the order of the configuration.',
        content: { 'application/json': z.object({ connectors: z.array(connectorViewSchema) }) },
      },
    },
    errors: [],
    handle: async ({ service, clock }, { caller }) => {
      const connectors = service.connectors().filter(({ id }) => mayReach(caller, id));
      const statuses = await Promise.all(connectors.map((connector) => readStatus(connector, clock)));
      return { connectors: statuses.map(viewOf) };
    },
  },
  {
    method: 'GET',
    path: '/api/connectors/:id',
    role: 'viewer',
    tag,
    summary: 'One connector with its status and configuration',
    description: 'Secrets are shown as `[redacted]`.',
    answers: { 200: { description: 'The connector.', content: detail } },
    errors: ['CONNECTOR_UNKNOWN'],
    handle: (context, request) => describeOne(context, connectorOf(context, request).id),
  },
  {
    method: 'POST',
    path: '/api/connectors',
    role: 'administrator',
    tag,
    summary: 'Make a connector',
    body: configBody,
    answers: { 201: { description: 'Made, and started if enabled.', content: detail } },
    errors: [...JSON_BODY_ERRORS, 'CONFIG_INVALID', 'CONFIG_MISSING', 'CONNECTOR_EXISTS'],
    handle: async (context, request, reply) => {
      const config = check(configurationSchema, await readJson(context, request), 'field');
      checkReach(request.caller, config.id);
      const connector = await context.service.createConnector(config);
      reply.code(201).header('location', `/api/connectors/${encodeURIComponent(connector.id)}`);
      return describeOne(context, connector.id);
    },
  },
  {
    method: 'PUT',
    path: '/api/connectors/:id',
    role: 'administrator',
    tag,
    summary: 'Change a connector',
    description: 'Replaces its configuration. What is queued stays and is delivered with the new settings.',
    body: configBody,
    answers: { 200: { description: 'Changed.', content: detail } },
    errors: [...JSON_BODY_ERRORS, 'CONFIG_INVALID', 'CONFIG_MISSING', 'CONNECTOR_UNKNOWN'],
    handle: async (context, request) => {
      const { id } = connectorOf(context, request);
      const config = check(configurationSchema, await readJson(context, request), 'field');
      if (config.id !== id) {
        throw new NorthError('CONFIG_INVALID', `The id is "${id}" in the path and "${config.id}" in the body.`, {
          remedy: 'An id never changes, because the queued data stands under it. Make a new connector instead.',
        });
      }
      await context.service.updateConnector(id, config);
      return describeOne(context, id);
    },
  },
  {
    method: 'DELETE',
    path: '/api/connectors/:id',
    role: 'administrator',
    tag,
    summary: 'Remove a connector with its cache',
    query: removeQuery,
    answers: { 204: { description: 'Removed.' } },
    errors: ['CONNECTOR_UNKNOWN', 'CONNECTOR_NOT_EMPTY', 'CONFIG_MISSING'],
    handle: async (context, request, reply) => {
      const { id } = connectorOf(context, request);
      await context.service.removeConnector(id, readQuery(removeQuery, request));
      return reply.code(204).send();
    },
  },
  {
    method: 'POST',
    path: '/api/connectors/:id/start',
    role: 'operator',
    tag,
    summary: 'Connect, and stay connected',
    answers: { 200: { description: 'Started.', content: detail } },
    errors: ['CONNECTOR_UNKNOWN', 'CONNECTOR_DISABLED'],
    handle: async (context, request) => {
      const { id } = connectorOf(context, request);
      await context.service.startConnector(id);
      return describeOne(context, id);
    },
  },
  {
    method: 'POST',
    path: '/api/connectors/:id/stop',
    role: 'operator',
    tag,
    summary: 'Finish what is in flight, and disconnect',
    description: 'Content is still accepted, and waits.',
    answers: { 200: { description: 'Stopped.', content: detail } },
    errors: ['CONNECTOR_UNKNOWN'],
    handle: async (context, request) => {
      const { id } = connectorOf(context, request);
      await context.service.stopConnector(id);
      return describeOne(context, id);
    },
  },
  {
    method: 'POST',
    path: '/api/connectors/:id/test',
    role: 'operator',
    tag,
    summary: 'Test the connection',
    description: 'Does not disturb the running connection. Testing other settings takes an administrator.',
    body: testBody,
    answers: {
      200: { description: 'What was found, also when it failed.', content: { 'application/json': reportSchema } },
    },
    errors: [...JSON_BODY_ERRORS, 'CONNECTOR_UNKNOWN', 'CONFIG_INVALID'],
    handle: async (context, request) => {
      const { id } = connectorOf(context, request);
      const { settings } = check(testBodySchema, (await readJson(context, request)) ?? {}, 'field');
      if (settings === undefined) return test(context, request, { id });
      if (!mayUse(request.caller, 'administrator')) {
        // Whoever could name any host here could scan the network, or send a stored password elsewhere.
        throw new NorthError('TOKEN_FORBIDDEN', 'Testing other settings takes the role administrator.');
      }
      return test(context, request, { id, settings });
    },
  },
  {
    method: 'POST',
    path: '/api/test',
    role: 'administrator',
    tag,
    summary: 'Test settings before a connector is made of them',
    body: { ...testBody, description: 'The settings.', required: true },
    answers: {
      200: { description: 'What was found, also when it failed.', content: { 'application/json': reportSchema } },
    },
    errors: [...JSON_BODY_ERRORS, 'CONFIG_INVALID'],
    handle: async (context, request) => {
      const { settings } = check(testBodySchema, (await readJson(context, request)) ?? {}, 'field');
      if (settings === undefined) throw new NorthError('REQUEST_INVALID', 'The field "settings" is missing.');
      return test(context, request, { settings });
    },
  },
];

async function describeOne({ service, clock }: RouteContext, id: string): Promise<object> {
  const connector = service.connector(id);
  if (connector === undefined) throw new NorthError('CONNECTOR_UNKNOWN', `The connector "${id}" was just removed.`);
  return { status: viewOf(await readStatus(connector, clock)), config: service.connectorConfig(id) };
}

/** Ends the test when nobody waits for its answer any more. */
async function test(
  { service }: RouteContext,
  request: FastifyRequest,
  target: { id?: string; settings?: unknown },
): Promise<object> {
  const gone = new AbortController();
  const onClose = (): void => gone.abort();
  request.raw.socket.once('close', onClose);
  try {
    return await service.testConnector(target, gone.signal);
  } finally {
    request.raw.socket.off('close', onClose);
  }
}
