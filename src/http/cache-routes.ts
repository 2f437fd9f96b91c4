/** What is in a connector's cache: look at it, repair it, take it along. */
import { Readable } from 'node:stream';
import { z } from 'zod';
import type { ListPage, ListQuery } from '../cache/store.js';
import type { Connector } from '../connector/connector.js';
import { check, connectorOf, JSON_BODY_ERRORS, type Route, readJson, readQuery } from './route.js';
import { countParameter, laneQuery, retrySchema, selectionSchema, storedMessageSchema } from './schemas.js';
import { viewStoredMessage } from './stored-message-view.js';

/** Shown of each payload in a list; the export has all of it. */
const LIST_PAYLOAD_MAX_BYTES = 16 * 1024;
const EXPORT_PAGE_MESSAGES = 200;

const filter = {
  state: z.enum(['waiting', 'quarantined', 'archived']).default('waiting').describe('Which messages.'),
  lane: laneQuery.describe('Only those of this lane.'),
  topic: z.string().min(1).max(65_535).optional().describe('Only this topic, or a part of it between `*`.'),
};

const listQuery = z.strictObject({
  ...filter,
  after: z.string().min(1).max(1000).optional().describe('The `cursor` of the page before.'),
  limit: countParameter({ min: 1, max: 500, standard: 50 }).describe('How many, at most 500.'),
});

const exportQuery = z.strictObject(filter);

const countSchema = z.object({ count: z.int().describe('How many messages it was done to.') });

const tag = 'Cache';

export const cacheRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/api/connectors/:id/cache',
    role: 'viewer',
    tag,
    summary: 'A page of what waits, is quarantined or archived',
    query: listQuery,
    answers: {
      200: {
        description: 'Oldest first.',
        content: {
          'application/json': z.object({
            messages: z.array(storedMessageSchema),
            cursor: z.string().optional().describe('Absent on the last page.'),
          }),
        },
      },
    },
    errors: ['REQUEST_INVALID', 'CONNECTOR_UNKNOWN', 'CACHE_FAILED', 'CACHE_CLOSED'],
    handle: async (context, request) => {
      const connector = connectorOf(context, request);
      const page = await connector.list(listOf(readQuery(listQuery, request)));
      const messages = page.messages.map((message) => viewStoredMessage(message, LIST_PAYLOAD_MAX_BYTES));
      return { messages, cursor: page.cursor };
    },
  },
  {
    method: 'POST',
    path: '/api/connectors/:id/cache/retry',
    role: 'operator',
    tag,
    summary: 'Send quarantined messages again',
    description:
      'They keep their message ids and go to the end of their lanes. With exactly one id, `topic` may replace the topic.',
    body: selectionBody('Which quarantined messages.', retrySchema),
    answers: { 200: { description: 'They wait again.', content: { 'application/json': countSchema } } },
    errors: [
      ...JSON_BODY_ERRORS,
      'CONNECTOR_UNKNOWN',
      'MESSAGE_UNKNOWN',
      'TOPIC_INVALID',
      'CACHE_FAILED',
      'CACHE_FULL',
    ],
    handle: async (context, request) => {
      const connector = connectorOf(context, request);
      const selection = check(retrySchema, await readJson(context, request), 'field');
      if (!('topic' in selection)) return { count: await connector.retry(selection) };
      return { count: await connector.retry({ ids: selection.ids }, selection.topic) };
    },
  },
  {
    method: 'POST',
    path: '/api/connectors/:id/cache/remove',
    role: 'operator',
    tag,
    summary: 'Remove quarantined messages for good',
    body: selectionBody('Which quarantined messages.', selectionSchema),
    answers: { 200: { description: 'They are gone.', content: { 'application/json': countSchema } } },
    errors: [...JSON_BODY_ERRORS, 'CONNECTOR_UNKNOWN', 'MESSAGE_UNKNOWN', 'CACHE_FAILED'],
    handle: async (context, request) => {
      const connector = connectorOf(context, request);
      const which = check(selectionSchema, await readJson(context, request), 'field');
      return { count: await connector.remove(which) };
    },
  },
  {
    method: 'GET',
    path: '/api/connectors/:id/cache/export',
    role: 'viewer',
    tag,
    summary: 'All messages of a state, one JSON object per line',
    description: 'With whole payloads. A transfer that breaks off ends without the last chunk, so that it shows.',
    query: exportQuery,
    answers: {
      200: {
        description: 'Oldest first.',
        content: { 'application/x-ndjson': storedMessageSchema.describe('One such object per line.') },
      },
    },
    errors: ['REQUEST_INVALID', 'CONNECTOR_UNKNOWN', 'CACHE_FAILED', 'CACHE_CLOSED'],
    handle: async (context, request, reply) => {
      const connector = connectorOf(context, request);
      const query = listOf({ ...readQuery(exportQuery, request), limit: EXPORT_PAGE_MESSAGES });
      // The first page is read before the headers leave, so that an unreadable cache is an error and not an empty file.
      const first = await connector.list(query);
      reply.header('content-type', 'application/x-ndjson; charset=utf-8');
      reply.header('content-disposition', `attachment; filename="${connector.id}-${query.state}.ndjson"`);
      return reply.send(Readable.from(lines(connector, query, first), { objectMode: false, highWaterMark: 64 * 1024 }));
    },
  },
];

function selectionBody(description: string, schema: z.ZodType) {
  return {
    description,
    required: true,
    content: { 'application/json': { schema, example: { ids: [1, 2] } } },
  };
}

function listOf(query: z.output<typeof listQuery> | (z.output<typeof exportQuery> & { limit: number })): ListQuery {
  const { state, limit, lane, topic } = query;
  const after = 'after' in query ? query.after : undefined;
  return {
    state,
    limit,
    ...(lane === undefined ? {} : { lane }),
    ...(topic === undefined ? {} : { topic }),
    ...(after === undefined ? {} : { after }),
  };
}

/** Reads the next page only when the client has taken the one before. */
async function* lines(connector: Connector, query: ListQuery, first: ListPage): AsyncGenerator<string> {
  let page = first;
  for (;;) {
    for (const message of page.messages) {
      yield `${JSON.stringify(viewStoredMessage(message, Number.POSITIVE_INFINITY))}\n`;
    }
    if (page.cursor === undefined) return;
    page = await connector.list({ ...query, after: page.cursor });
  }
}
