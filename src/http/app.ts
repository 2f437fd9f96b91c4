/** The routes of the table on Fastify, and one form of answer for every error. */
import type { RequestListener, Server } from 'node:http';
import multipart from '@fastify/multipart';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { TokenConfig } from '../config/server.js';
import { errorText, NorthError, systemCode } from '../core/error.js';
import { answerOf } from './answer.js';
import { letGo } from './body.js';
import { BrokenRequests } from './broken-request.js';
import { addGate } from './gate.js';
import type { ServerLimits } from './limits.js';
import { describeApi } from './openapi.js';
import type { Route, RouteContext } from './route.js';
import { DOCS_PATH, ROUTES } from './routes.js';

/** Swagger UI sets styles on its elements, and has its arrows as data URLs. Nothing is loaded from elsewhere. */
const DOCS_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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
  const app = Fastify({
    serverFactory: options.createServer,
    logger: false,
    bodyLimit: context.bodySizeMaxBytes,
    exposeHeadRoutes: true,
    return503OnClosing: false,
    routerOptions: { maxParamLength: 200 },
    frameworkErrors: (error, request, reply) => answerError(context, error, request, reply),
    clientErrorHandler: (error, socket) => brokenRequests.answer(error, socket),
  });
  // Bodies are read by the routes themselves, once the gate has let the request in and they know how much they take.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  app.setErrorHandler<FastifyError>((error, request, reply) => answerError(context, error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const error = new NorthError('ROUTE_UNKNOWN', `There is no ${request.method} ${pathOf(request).slice(0, 200)}.`);
    return answerError(context, error, request, reply);
  });
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
    await scope.register(multipart);
    for (const route of ROUTES.filter(isUpload)) addRoute(scope, route, context);
  });
  await app.register(async (scope) => {
    // Both are written against Fastify's loosest types; the document is a plain JSON object.
    const document = describeApi(ROUTES, context.service.version);
    await scope.register(swagger, { mode: 'static', specification: { document: document as never } });
    await scope.register(swaggerUi, {
      routePrefix: DOCS_PATH,
      staticCSP: DOCS_POLICY,
      uiConfig: { validatorUrl: null, docExpansion: 'list', layout: 'BaseLayout' },
      theme: { title: 'MQTT North Connector: API' },
    });
  });
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

function answerError(
  context: RouteContext,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const { status, retryAfterSeconds, body } = answerOf(asNorthError(error), (incident, cause) => {
    const { method } = request;
    context.logger.error({ err: cause, incident, method, path: pathOf(request) }, 'A request failed unforeseen.');
  });
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds);
  if (status === 401) {
    // A browser asks for name and token then; for programs, Bearer is the way.
    const wantsPage = request.headers.accept?.includes('text/html') === true;
    reply.header(
      'www-authenticate',
      wantsPage ? 'Basic realm="mqtt-north", charset="UTF-8"' : 'Bearer realm="mqtt-north"',
    );
  }
  if (context.service.stopping) reply.header('connection', 'close');
  reply.code(status).header('content-type', 'application/json; charset=utf-8');
  return reply.send(JSON.stringify(body));
}

/** The errors of Fastify and of its file server for bad requests, in our terms. */
function asNorthError(error: unknown): unknown {
  if (error instanceof NorthError) return error;
  const code = systemCode(error);
  if (code === undefined || !code.startsWith('FST_')) return fileError(error) ?? error;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new NorthError('CONTENT_TOO_LARGE', errorText(error));
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' || code === 'FST_ERR_CTP_INVALID_CONTENT_TYPE') {
    return new NorthError('CONTENT_TYPE_UNSUPPORTED', 'The Content-Type of the request is not a media type.');
  }
  if (code === 'FST_ERR_BAD_URL' || code === 'FST_ERR_MAX_PARAM_LENGTH') {
    return new NorthError('REQUEST_INVALID', 'The path of the request is not valid.');
  }
  const { statusCode } = error as FastifyError;
  return statusCode !== undefined && statusCode < 500 ? new NorthError('REQUEST_INVALID', errorText(error)) : error;
}

/**
 * What the file server of the API documentation refuses, with a status and without a code: a path that leaves its folder
 * is 403 there, which would tell that there is something.
 */
function fileError(error: unknown): NorthError | undefined {
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined;
  const { statusCode } = error;
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode >= 500) return undefined;
  if (statusCode === 403 || statusCode === 404) return new NorthError('ROUTE_UNKNOWN', 'There is no such file.');
  return new NorthError('REQUEST_INVALID', `The file cannot be given like this: ${errorText(error)}.`);
}

/** Without the query, which may carry what is nobody's business. */
function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}
