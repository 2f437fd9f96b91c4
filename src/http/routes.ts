/** Every route of the server, in one table. A test walks it against what is registered. */
import { z } from 'zod';
import { cacheRoutes } from './cache-routes.js';
import { connectorRoutes } from './connector-routes.js';
import { contentRoutes } from './content-routes.js';
import { oibusRoutes } from './oibus-routes.js';
import { describeApi } from './openapi.js';
import type { Route } from './route.js';
import { serviceRoutes } from './service-routes.js';

const openApiRoute: Route = {
  method: 'GET',
  path: '/api/openapi.json',
  role: 'any',
  tag: 'Service',
  summary: 'This document',
  answers: { 200: { description: 'OpenAPI 3.1.', content: { 'application/json': z.looseObject({}) } } },
  errors: [],
  handle: ({ service }) => describeApi(ROUTES, service.version),
};

export const ROUTES: readonly Route[] = [
  ...contentRoutes,
  ...oibusRoutes,
  ...connectorRoutes,
  ...cacheRoutes,
  ...serviceRoutes,
  openApiRoute,
];

/** Where the document is readable for people; Swagger UI brings a few routes of its own below this path. */
export const DOCS_PATH = '/api/docs';
