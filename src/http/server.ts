/** The HTTP server: API, metrics and status page on one port. */
import { createServer as createPlainServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { isLoopback } from '../config/broker-url.js';
import type { TokenConfig } from '../config/server.js';
import { type Clock, systemClock } from '../core/clock.js';
import { errorText, NorthError, systemCode } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import { buildApp } from './app.js';
import { refuseTunnel } from './broken-request.js';
import { Budget } from './budget.js';
import { EventStream } from './event-stream.js';
import { SERVER_LIMITS, type ServerLimits } from './limits.js';
import { MetricsPage } from './metrics-page.js';
import type { RouteContext } from './route.js';
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
  limits?: Partial<ServerLimits>;
  clock?: Clock;
}

export interface OpenServer {
  /** Such as `http://127.0.0.1:8080`, with the port that was given. */
  readonly url: string;
  /** Answers what is under way, ends the event streams and closes. What takes longer than the deadline is cut. */
  close(deadlineMs: number): Promise<void>;
}

/** How often overdue requests are looked for. */
const TIMEOUT_CHECK_MS = 2000;
const CONTROL_REQUESTS_MAX = 100;
const CONTROL_SIZE_MAX_BYTES = 32 * 1024 * 1024;
/** Refused connections are told so often at most. */
const DROP_LOG_INTERVAL_MS = 60_000;

/** Listens. Rejects with PORT_TAKEN, SERVER_EXPOSED or CONFIG_INVALID. */
export async function openServer(options: ServerOptions, service: Service, logger: Logger): Promise<OpenServer> {
  checkExposure(options);
  const clock = options.clock ?? systemClock({ unref: true });
  const limits: ServerLimits = {
    ...SERVER_LIMITS,
    // A body of the largest size must have room beside smaller ones.
    bodiesSizeMaxBytes: Math.max(SERVER_LIMITS.bodiesSizeMaxBytes, 8 * options.bodySizeMaxBytes),
    ...options.limits,
  };
  const events = new EventStream(service, clock, logger);
  const context: RouteContext = {
    service,
    logger,
    clock,
    events,
    budget: new Budget({ requestsMax: limits.requestsMax, sizeMaxBytes: limits.bodiesSizeMaxBytes }),
    controlBudget: new Budget({ requestsMax: CONTROL_REQUESTS_MAX, sizeMaxBytes: CONTROL_SIZE_MAX_BYTES }),
    metrics: new MetricsPage(service, events, clock),
    page: new StatusPage(),
    bodySizeMaxBytes: options.bodySizeMaxBytes,
  };
  const app = await buildApp(
    {
      tokens: options.tokens,
      hosts: options.hosts ?? [],
      limits,
      createServer: (listener) => createServer(options, limits, listener, context),
    },
    context,
  );
  await listen(app, options);
  return { url: urlOf(app, options), close: (deadlineMs) => close(app, context, deadlineMs) };
}

function createServer(
  { tls }: ServerOptions,
  limits: ServerLimits,
  listener: RequestListener,
  { clock, logger }: RouteContext,
): Server {
  const timeouts = {
    requestTimeout: limits.requestTimeoutMs,
    headersTimeout: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs),
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(TIMEOUT_CHECK_MS, limits.headersTimeoutMs, limits.requestTimeoutMs),
    // The gate asks for it, with an answer that says so.
    requireHostHeader: false,
  };
  const server =
    tls === undefined
      ? createPlainServer(timeouts, listener)
      : createTlsServer({ ...timeouts, ...tls, minVersion: 'TLSv1.2' }, listener);
  server.maxConnections = limits.connectionsMax;
  // Node would answer 417 without a word; an expectation that nobody knows may be passed over [RFC 9110 §10.1.1].
  server.on('checkExpectation', listener);
  server.on('connect', (_request, socket) => refuseTunnel(socket));
  let toldMs = Number.NEGATIVE_INFINITY;
  server.on('drop', () => {
    if (clock.monotonicMs() - toldMs < DROP_LOG_INTERVAL_MS) return;
    toldMs = clock.monotonicMs();
    logger.warn({ connectionsMax: limits.connectionsMax }, 'Connections are refused because there are too many.');
  });
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
