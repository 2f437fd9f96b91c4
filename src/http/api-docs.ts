/** The documentation of the API for people, with Swagger UI, as an app of its own behind the gate of the server. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyError, FastifyInstance } from 'fastify';
import { answerError, answerUnknownRoute } from './error-reply.js';
import { fastifyPackage } from './fastify-package.js';
import { SECURITY_HEADERS } from './gate.js';
import { describeApi } from './openapi.js';
import type { Route, RouteContext } from './route.js';

/** Swagger UI sets styles on its elements, and has its arrows as data URLs. Nothing is loaded from elsewhere. */
const DOCS_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Takes requests by its `routing` that the gate has let in; it does not listen itself. */
export async function buildDocs(
  path: string,
  routes: readonly Route[],
  context: RouteContext,
): Promise<FastifyInstance> {
  const app = fastifyPackage().fastify({
    logger: false,
    exposeHeadRoutes: true,
    frameworkErrors: (error, request, reply) => answerError(context, error, request, reply),
  });
  app.setErrorHandler<FastifyError>((error, request, reply) => answerError(context, error, request, reply));
  app.setNotFoundHandler((request, reply) => answerUnknownRoute(context, request, reply));
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(SECURITY_HEADERS);
    done();
  });
  // Both are written against Fastify's loosest types; the document is a plain JSON object.
  const document = describeApi(routes, context.service.version);
  await app.register(swagger, { mode: 'static', specification: { document: document as never } });
  await app.register(swaggerUi, {
    routePrefix: path,
    staticCSP: DOCS_POLICY,
    uiConfig: { validatorUrl: null, docExpansion: 'list', layout: 'BaseLayout' },
    theme: { title: 'MQTT North Connector: API' },
  });
  await app.ready();
  return app;
}
