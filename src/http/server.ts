/**
 * The HTTP server: API, metrics and status page on one port.
 *
 * Every request passes the same gate before any route sees it: is the host one of ours, does it come from a page of
 * another site, whose token is it, may that role do this. The gate reads the role from the route's own declaration; a
 * route without one needs a token.
 */
import { createServer as createPlainServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import multipart from '@fastify/multipart';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { isLoopback } from '../config/broker-url.js';
import type { TokenConfig } from '../config/server.js';
import { type Clock, systemClock } from '../core/clock.js';
import { errorText, NorthError, systemCode } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import { answerOf } from './answer.js';
import { letGo } from './body.js';
import { answerBrokenRequest } from './broken-request.js';
import { Budget } from './budget.js';
import { mayUse, NOBODY, TokenBook } from './caller.js';
import { EventStream } from './event-stream.js';
import { MetricsPage } from './metrics-page.js';
import { describeApi } from './openapi.js';
import { checkHost, checkOrigin } from './origin.js';
import type { Route, RouteContext } from './route.js';
import { DOCS_PATH, ROUTES } from './routes.js';
import type { Service } from './service.js';
import { StatusPage } from './status-page.js';

export interface ServerOptions {
  host: string;
  /** 0 takes any free port. */
  port: number;
  /** None: everybody on this machine may do everything. */
  tokens: readonly TokenConfig[];
  /** PEM texts. */
  tls?: { cert: string | Buffer; key: string | Buffer };
  /** Allows an address that other machines reach without tokens or without TLS. */
  insecure: boolean;
  /** Further names under which the open server may be addressed, such as that of a proxy in front of it. */
  hosts?: readonly string[];
  /** Largest body of content, after decompression. */
  bodySizeMaxBytes: number;
  /** Bodies and the requests around them that are under way at once; what is over it is refused with 429. */
  requestsMax?: number;
  bodiesSizeMaxBytes?: number;
  connectionsMax?: number;
  /** Longest time for a request to arrive, its body included. */
  requestTimeoutMs?: number;
  clock?: Clock;
}

export interface OpenServer {
  /** Such as `http://127.0.0.1:8080`, with the port that was given. */
  readonly url: string;
  /** Answers what is under way, ends the event streams and closes. What takes longer than the deadline is cut. */
  close(deadlineMs: number): Promise<void>;
}

const STANDARD = {
  requestsMax: 2000,
  bodiesSizeMaxBytes: 256 * 1024 * 1024,
  connectionsMax: 5000,
  requestTimeoutMs: 300_000,
} as const;

/** The whole header of a request must come within this time, however slowly single bytes drip in. */
const HEADERS_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 75_000;
const TIMEOUT_CHECK_MS = 2000;

const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
} as const;

/** Swagger UI sets styles on its elements, and has its arrows as data URLs. Nothing is loaded from elsewhere. */
const DOCS_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Listens. Rejects with PORT_TAKEN, SERVER_EXPOSED or CONFIG_INVALID. */
export async function openServer(options: ServerOptions, service: Service, logger: Logger): Promise<OpenServer> {
  checkExposure(options);
  const clock = options.clock ?? systemClock({ unref: true });
  const events = new EventStream(service, clock, logger);
  const context: RouteContext = {
    service,
    logger,
    clock,
    events,
    budget: new Budget({
      requestsMax: options.requestsMax ?? STANDARD.requestsMax,
      sizeMaxBytes: options.bodiesSizeMaxBytes ?? STANDARD.bodiesSizeMaxBytes,
    }),
    metrics: new MetricsPage(service, events, clock),
    page: new StatusPage(),
    bodySizeMaxBytes: options.bodySizeMaxBytes,
  };
  const app = await buildApp(options, context);
  await listen(app, options);
  return { url: urlOf(app, options), close: (deadlineMs) => close(app, context, deadlineMs) };
}

/** Everything but the port; separate so that a test can ask which routes there are. */
export async function buildApp(options: ServerOptions, context: RouteContext): Promise<FastifyInstance> {
  const app = Fastify({
    serverFactory: (listener) => createServer(options, listener),
    logger: false,
    bodyLimit: options.bodySizeMaxBytes,
    exposeHeadRoutes: true,
    return503OnClosing: false,
    routerOptions: { maxParamLength: 200 },
    frameworkErrors: (error, request, reply) => answerError(context, error, request, reply),
    clientErrorHandler: answerBrokenRequest,
  });
  app.decorateRequest('caller');
  // Bodies are read by the routes themselves, once the gate has let the request in and they know how much they take.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  app.setErrorHandler<FastifyError>((error, request, reply) => answerError(context, error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const error = new NorthError('ROUTE_UNKNOWN', `There is no ${request.method} ${pathOf(request).slice(0, 200)}.`);
    return answerError(context, error, request, reply);
  });
  addGate(app, options, context);

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
      uiConfig: { validatorUrl: null, docExpansion: 'list' },
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

function addGate(app: FastifyInstance, options: ServerOptions, context: RouteContext): void {
  const tokens = new TokenBook(options.tokens);
  const hosts = new Set((options.hosts ?? []).map((host) => host.toLowerCase()));
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(SECURITY_HEADERS);
    const role = request.routeOptions.config.role ?? 'any';
    request.caller = NOBODY;
    try {
      if (tokens.isOpen) checkHost(request.headers.host, hosts);
      checkOrigin(request.method, request.headers, hosts);
      if (role !== 'none') {
        const caller = tokens.find(request.headers.authorization);
        if (caller === undefined) throw new NorthError('TOKEN_MISSING', missing(request.headers.authorization));
        request.caller = caller;
        if (!mayUse(caller, role)) {
          throw new NorthError('TOKEN_FORBIDDEN', `The role ${caller.role} does not allow this; it takes ${role}.`);
        }
      }
      done();
    } catch (error) {
      // Only NorthErrors are thrown above; the error handler copes with any other, too.
      done(error as NorthError);
    }
  });
  app.addHook('onResponse', (request, reply, done) => {
    context.metrics.countRequest(request.method, request.routeOptions.url ?? 'unknown', reply.statusCode);
    letGo(request.raw);
    done();
  });
}

function missing(authorization: string | undefined): string {
  return authorization === undefined ? 'The request carries no token.' : 'The token of the request is not known.';
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

/** Fastify's own errors for bad requests, in our terms. */
function asNorthError(error: unknown): unknown {
  const code = systemCode(error);
  if (error instanceof NorthError || code === undefined || !code.startsWith('FST_')) return error;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new NorthError('CONTENT_TOO_LARGE', errorText(error));
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' || code === 'FST_ERR_CTP_INVALID_CONTENT_TYPE') {
    return new NorthError('CONTENT_TYPE_UNSUPPORTED', 'The Content-Type of the request is not a media type.');
  }
  const { statusCode } = error as FastifyError;
  return statusCode !== undefined && statusCode < 500 ? new NorthError('REQUEST_INVALID', errorText(error)) : error;
}

/** Without the query, which may carry what is nobody's business. */
function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}

function createServer(options: ServerOptions, listener: RequestListener): Server {
  const timeouts = {
    requestTimeout: options.requestTimeoutMs ?? STANDARD.requestTimeoutMs,
    headersTimeout: HEADERS_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
  };
  const server =
    options.tls === undefined
      ? createPlainServer(timeouts, listener)
      : createTlsServer({ ...timeouts, ...options.tls, minVersion: 'TLSv1.2' }, listener);
  server.maxConnections = options.connectionsMax ?? STANDARD.connectionsMax;
  return server;
}

function checkExposure({ host, tokens, tls, insecure }: ServerOptions): void {
  if (insecure || isLoopback(host)) return;
  const lacking = [...(tokens.length === 0 ? ['tokens'] : []), ...(tls === undefined ? ['TLS'] : [])];
  if (lacking.length === 0) return;
  throw new NorthError(
    'SERVER_EXPOSED',
    `The address ${host} is reachable from other machines, without ${lacking.join(' and ')}.`,
    {
      place: 'server.host',
    },
  );
}

async function listen(app: FastifyInstance, { host, port }: ServerOptions): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    await app.close();
    const code = systemCode(error);
    if (code === 'EADDRINUSE') {
      throw new NorthError('PORT_TAKEN', `Port ${port} on ${host} is in use.`, { place: 'server.port', cause: error });
    }
    throw new NorthError('CONFIG_INVALID', `The server cannot listen on ${host}, port ${port}: ${errorText(error)}.`, {
      place: 'server.host',
      remedy: 'Choose an address of this machine, and a port above 1023 unless this process may use lower ones.',
      cause: error,
    });
  }
}

function urlOf(app: FastifyInstance, { host, tls }: ServerOptions): string {
  // A listening TCP server has an address with a port.
  const { port } = app.server.address() as AddressInfo;
  return `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

async function close(app: FastifyInstance, context: RouteContext, deadlineMs: number): Promise<void> {
  context.events.close();
  const cancel = context.clock.schedule(deadlineMs, () => app.server.closeAllConnections());
  app.server.closeIdleConnections();
  try {
    await app.close();
  } finally {
    cancel();
  }
}
