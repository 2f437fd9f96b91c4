/** The routes of the table on Fastify. */
import type { RequestListener, Server } from 'node:http';
import type { FastifyError, FastifyInstance } from 'fastify';
import type { TokenConfig } from '../config/server.js';
import { letGo } from './body.js';
import { BrokenRequests } from './broken-request.js';
import { answerError, answerUnknownRoute } from './error-reply.js';
import { fastifyPackage, multipartPackage } from './fastify-package.js';
import { addGate } from './gate.js';
import type { ServerLimits } from './limits.js';
import type { Route, RouteContext } from './route.js';
import { DOCS_PATH, ROUTES } from './routes.js';

export interface AppOptions {
  tokens: readonly TokenConfig[];
  hosts?: readonly string[];
  limits: ServerLimits;
  createServer: (listener: RequestListener) => Server;
}

/** Everything but the port. */
export async function buildApp(options: AppOptions, context: RouteContext): Promise<FastifyInstance> {
  const { limits } = options;
  const brokenRequests = new BrokenRequests();
  const app = fastifyPackage().fastify({
    serverFactory: options.createServer,
    logger: false,
    bodyLimit: context.bodySizeMaxBytes,
    exposeHeadRoutes: true,
    return503OnClosing: false,
    routerOptions: { maxParamLength: 200 },
    // The routes check and write everything themselves; Fastify would load a validator and a serializer for nothing.
    schemaController: { compilersFactory: { buildValidator: refuseSchemas, buildSerializer: refuseSchemas } },
    frameworkErrors: (error, request, reply) => answerError(context, error, request, reply),
    clientErrorHandler: (error, socket) => brokenRequests.answer(error, socket),
  });
  // Bodies are read by the routes themselves, once the gate has let the request in and they know how much they take.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  app.setErrorHandler<FastifyError>((error, request, reply) => answerError(context, error, request, reply));
  app.setNotFoundHandler((request, reply) => answerUnknownRoute(context, request, reply));
  app.addHook('onRequest', (_request, reply, done) => {
    brokenRequests.begun(reply.raw);
    done();
  });
  addGate(app, { tokens: options.tokens, hosts: options.hosts ?? [] });
  app.addHook('onResponse', (request, reply, done) => {
    context.metrics.countRequest(request.method, request.routeOptions.url ?? 'unknown', reply.statusCode);
    letGo(request.raw, limits.lingerMs);
    done();
  });

  for (const route of ROUTES.filter((one) => !isUpload(one))) addRoute(app, route, context);
  await app.register(async (scope) => {
    // Its hooks would cost every other request time.
    await scope.register(multipartPackage().fastifyMultipart);
    for (const route of ROUTES.filter(isUpload)) addRoute(scope, route, context);
  });
  addDocs(app, context);
  return app;
}

function isUpload(route: Route): boolean {
  return route.body !== undefined && 'multipart/form-data' in route.body.content;
}

function addRoute(app: FastifyInstance, route: Route, context: RouteContext): void {
  app.route({
    method: route.method,
    url: route.path,
    config: { role: route.role },
    // A HEAD of an endless stream would never be answered.
    exposeHeadRoute: route.method === 'GET' && route.path !== '/api/events',
    handler: (request, reply) => route.handle(context, request, reply),
  });
}

function refuseSchemas(): never {
  throw new Error('A route of the table has no JSON Schema for Fastify.');
}

/** The documentation for people is made when it is first asked for: most services never are, and it takes memory. */
function addDocs(app: FastifyInstance, context: RouteContext): void {
  let made: Promise<FastifyInstance> | undefined;
  const make = async (): Promise<FastifyInstance> => {
    const { buildDocs } = await import('./api-docs.js');
    return buildDocs(DOCS_PATH, ROUTES, context);
  };
  for (const url of [DOCS_PATH, `${DOCS_PATH}/*`]) {
    app.get(url, async (request, reply) => {
      made ??= make();
      const docs = await made.catch((error: unknown) => {
        // The next request tries again.
        made = undefined;
        throw error;
      });
      reply.hijack();
      docs.routing(request.raw, reply.raw);
    });
  }
  app.addHook('onClose', async () => (await made?.catch(() => undefined))?.close());
}
