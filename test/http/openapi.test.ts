import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { describe, it } from 'node:test';
import { systemClock } from '../../src/core/clock.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import { STATUS_OF_ERROR } from '../../src/http/answer.js';
import { buildApp } from '../../src/http/app.js';
import { Budget } from '../../src/http/budget.js';
import { EventStream } from '../../src/http/event-stream.js';
import { SERVER_LIMITS } from '../../src/http/limits.js';
import { MetricsPage } from '../../src/http/metrics-page.js';
import { ROUTES } from '../../src/http/routes.js';
import { StatusPage } from '../../src/http/status-page.js';
import { MemoryService, withServer } from './memory-service.js';

interface Operation {
  operationId: string;
  summary: string;
  parameters?: { name: string; in: string; required: boolean; schema: object; description?: string }[];
  requestBody?: { content: Record<string, { schema: object; example?: unknown }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
}

interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
}

async function documentOf(url: string): Promise<Document> {
  const response = await fetch(`${url}/api/openapi.json`);
  assert.equal(response.status, 200);
  return (await response.json()) as Document;
}

describe('the table of routes', () => {
  it('is what is registered, with the documentation and nothing else besides', async () => {
    const service = new MemoryService();
    const clock = systemClock();
    const events = new EventStream(service, clock, SILENT_LOGGER);
    const app = await buildApp(
      { tokens: [], limits: SERVER_LIMITS, createServer: (listener) => createServer(listener) },
      {
        service,
        clock,
        events,
        logger: SILENT_LOGGER,
        budget: new Budget({ requestsMax: 1, sizeMaxBytes: 1 }),
        controlBudget: new Budget({ requestsMax: 1, sizeMaxBytes: 1 }),
        metrics: new MetricsPage(service, events, clock),
        page: new StatusPage(),
        bodySizeMaxBytes: 1024,
      },
    );
    await app.ready();
    const tree = app.printRoutes({ commonPrefix: false });
    const registered = new Set<string>();
    const parents: string[] = [];
    for (const line of tree.split('\n')) {
      const match = /^([│ ]*)(?:├──|└──) (.*?)(?: \(([A-Z, ]+)\))?$/.exec(line);
      if (match === null) continue;
      const depth = match[1]!.length / 4;
      parents.length = depth;
      parents[depth] = match[2]!;
      const path = parents.join('').replace(/\/$/, '') || '/';
      for (const method of match[3]?.split(', ') ?? []) registered.add(`${method} ${path}`);
    }
    await app.close();
    for (const { method, path } of ROUTES) assert.ok(registered.has(`${method} ${path}`), `${method} ${path}\n${tree}`);
    const declared = new Set(ROUTES.map(({ method, path }) => `${method} ${path}`));
    const outside = [...registered].filter((route) => {
      const [method = '', path = ''] = route.split(' ');
      return !(
        declared.has(route) ||
        (method === 'HEAD' && declared.has(`GET ${path}`)) ||
        path.startsWith('/api/docs')
      );
    });
    assert.deepEqual(outside, []);
    assert.equal(registered.has('HEAD /api/events'), false);
  });

  it('names only errors that have a status', () => {
    for (const route of ROUTES) {
      for (const code of route.errors) assert.ok(STATUS_OF_ERROR[code] !== undefined, `${route.path}: ${code}`);
    }
  });
});

describe('GET /api/openapi.json', () => {
  it('describes every route of the table, with names that are used once and references that lead somewhere', () =>
    withServer(async (server) => {
      const document = await documentOf(server.url);
      assert.equal(document.openapi, '3.1.0');
      const described = Object.entries(document.paths).flatMap(([path, operations]) =>
        Object.keys(operations).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
      );
      assert.deepEqual(described.sort(), ROUTES.map(({ method, path }) => `${method} ${path}`).sort());
      const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
      assert.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length);
      for (const [, name] of JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
        assert.ok(document.components.schemas[name!] !== undefined, name);
      }
      assert.doesNotMatch(JSON.stringify(document), /\$defs/);
      const content = document.paths['/api/content']?.post;
      const parameters = content?.parameters?.map(({ name, in: place, required }) => `${place} ${name} ${required}`);
      assert.deepEqual(parameters, [
        'query connector true',
        'query type true',
        'query source false',
        'header idempotency-key false',
      ]);
      for (const status of ['202', '400', '401', '403', '404', '409', '413', '415', '422', '429', '503', '507']) {
        assert.ok(content?.responses[status] !== undefined, status);
      }
    }));

  it('has every operation answer as it says, called once with what it gives as example', () =>
    withServer(async (server) => {
      const document = await documentOf(server.url);
      const queries: Record<string, string> = {
        '/api/content': '?connector=plant-a&type=time-values',
        '/api/content/file': '?northId=plant-a',
        '/api/content/content': '?northId=plant-a',
        '/api/connectors/{id}': '?discard=true',
      };
      for (const [path, operations] of Object.entries(document.paths)) {
        for (const [method, operation] of Object.entries(operations)) {
          if (server.service.connector('plant-a') === undefined)
            await server.service.createConnector({ id: 'plant-a' });
          const connector = server.service.connector('plant-a')!;
          connector.stored.length = 0;
          for (let count = 0; count < 3; count++) connector.hold('quarantined');
          if (path === '/api/connectors' && method === 'post')
            await server.service.removeConnector('plant-a', { discard: true });
          const [[mediaType, body] = []] = Object.entries(operation.requestBody?.content ?? {});
          const example = body?.example ?? (path === '/api/test' ? { settings: {} } : undefined);
          const init: RequestInit = { method: method.toUpperCase() };
          if (mediaType === 'multipart/form-data') {
            const form = new FormData();
            form.append('file', new File(['a\n1\n'], 'a.csv'));
            init.body = form;
          } else if (mediaType !== undefined && example !== undefined) {
            init.headers = { 'content-type': mediaType };
            init.body = JSON.stringify(example);
          }
          const needsQuery = operation.parameters?.some(({ in: place }) => place === 'query') === true;
          const query = needsQuery ? (queries[path] ?? '') : '';
          const response = await fetch(server.url + path.replace('{id}', 'plant-a') + query, init);
          const type = response.headers.get('content-type')?.split(';', 1)[0];
          if (type === 'text/event-stream') await response.body?.cancel();
          const text = type === 'text/event-stream' ? '' : await response.text();
          const answer = operation.responses[String(response.status)];
          assert.ok(response.status < 300 && answer !== undefined, `${method} ${path}: ${response.status} ${text}`);
          const types = Object.keys(answer.content ?? {});
          assert.ok(type === undefined ? types.length === 0 : types.includes(type), `${method} ${path}: ${type}`);
        }
      }
    }));
});

describe('/api/docs', () => {
  it('is a page that needs nothing from elsewhere', () =>
    withServer(async (server) => {
      const page = await fetch(`${server.url}/api/docs/`);
      assert.equal(page.status, 200);
      const html = await page.text();
      const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link!);
      assert.ok(links.length > 3);
      for (const link of links) {
        const url = new URL(link, `${server.url}/api/docs/`);
        assert.equal(url.origin, server.url, link);
        const file = await fetch(url);
        await file.arrayBuffer();
        assert.equal(file.status, 200, link);
      }
      const initializer = await (await fetch(`${server.url}/api/docs/static/swagger-initializer.js`)).text();
      assert.doesNotMatch(initializer, /validator\.swagger/);
    }));

  it('refuses in the form of the API, and with its headers', () =>
    withServer(async (server) => {
      for (const [method, path, status, code] of [
        ['GET', '/api/docs/nowhere', 404, 'ROUTE_UNKNOWN'],
        ['GET', '/api/docs/static/nothing.js', 404, 'ROUTE_UNKNOWN'],
        ['GET', '/api/docs/static/%00', 400, 'REQUEST_INVALID'],
        ['POST', '/api/docs/json', 404, 'ROUTE_UNKNOWN'],
      ] as const) {
        const response = await fetch(server.url + path, { method });
        assert.equal(response.status, status, path);
        assert.equal(((await response.json()) as { code: string }).code, code, path);
        assert.equal(response.headers.get('x-frame-options'), 'DENY', path);
      }
    }));

  it('gives the same document to all who ask for it first, at the same time', () =>
    withServer(async (server) => {
      const paths = ['/api/docs/json', '/api/docs/json', '/api/openapi.json'];
      const documents = await Promise.all(paths.map(async (path) => (await fetch(server.url + path)).json()));
      assert.deepEqual(documents[0], documents[2]);
      assert.deepEqual(documents[1], documents[2]);
    }));
});
