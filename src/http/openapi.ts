/** The OpenAPI 3.1 document, made from the route table: what it says is what is registered and checked. */
import { z } from 'zod';
import { ERRORS, type ErrorCode } from '../core/error-codes.js';
import { statusOf } from './answer.js';
import type { Route, RouteAnswer } from './route.js';
import { errorSchema } from './schemas.js';

type Json = Record<string, unknown>;

/** Collects the named schemas that others refer to. */
class Components {
  readonly schemas: Json = {};

  /** The schema as JSON Schema; what has an id of its own becomes a component. */
  of(schema: z.ZodType): Json {
    const { $schema: _, $defs, ...own } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
    for (const [name, definition] of Object.entries($defs ?? {})) this.schemas[name] = relink(definition as Json);
    return relink(own);
  }
}

/** References into the document's components instead of into the schema itself. */
function relink(schema: Json): Json {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/')) as Json;
}

const ROLE_TEXT: Readonly<Record<Route['role'], string>> = {
  none: 'Needs no token.',
  any: 'Needs any token.',
  producer: 'Needs the role producer, operator or administrator.',
  viewer: 'Needs the role viewer, operator or administrator.',
  operator: 'Needs the role operator or administrator.',
  administrator: 'Needs the role administrator.',
};

export function describeApi(routes: readonly Route[], version: string): Json {
  const components = new Components();
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: describeOperation(route, path, components) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'MQTT North Connector',
      version,
      description:
        'Takes industrial data, keeps it safely on disk, and publishes it to an MQTT broker. ' +
        'With no tokens configured the API is open to this machine; with any, each request carries one.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{}, { bearer: [] }, { basic: [] }],
    tags: [...new Set(routes.map((route) => route.tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: components.schemas,
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        basic: { type: 'http', scheme: 'basic', description: "A token's name as user, its secret as password." },
      },
    },
  };
}

function describeOperation(route: Route, path: string, components: Components): Json {
  const parameters = [
    ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string' },
    })),
    ...parametersOf(route.query, 'query', components),
    ...parametersOf(route.headers, 'header', components),
  ];
  const description = [route.description, ROLE_TEXT[route.role]].filter((text) => text !== undefined).join(' ');
  return {
    operationId: operationId(route),
    tags: [route.tag],
    summary: route.summary,
    description,
    ...(route.role === 'none' ? { security: [] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined ? {} : { requestBody: describeBody(route.body, components) }),
    responses: { ...describeAnswers(route.answers, components), ...describeErrors(route, components) },
  };
}

/** `GET /api/connectors/:id/cache` is `getConnectorsIdCache`. */
function operationId(route: Route): string {
  const words = route.path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '' && word !== 'api');
  const name = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
  return route.method.toLowerCase() + (name === '' ? 'Page' : name);
}

function parametersOf(schema: z.ZodObject | undefined, place: 'query' | 'header', components: Components): Json[] {
  if (schema === undefined) return [];
  return Object.entries(schema.shape).map(([name, field]) => {
    const { description, ...rest } = components.of(field as z.ZodType);
    const required = !(field as z.ZodType).safeParse(undefined).success;
    // A list is written with commas in the first place; that it may also be repeated need not be drawn.
    const { anyOf } = rest;
    const shape = Array.isArray(anyOf) && place === 'query' ? { ...anyOf[0], ...withoutAnyOf(rest) } : rest;
    return { name, in: place, required, ...(description === undefined ? {} : { description }), schema: shape };
  });
}

function withoutAnyOf({ anyOf: _, ...rest }: Json): Json {
  return rest;
}

function describeBody(body: NonNullable<Route['body']>, components: Components): Json {
  const content = Object.entries(body.content).map(([mediaType, { schema, example }]) => [
    mediaType,
    { schema: components.of(schema), ...(example === undefined ? {} : { example }) },
  ]);
  return { description: body.description, required: body.required, content: Object.fromEntries(content) };
}

function describeAnswers(answers: Readonly<Record<number, RouteAnswer>>, components: Components): Json {
  const described = Object.entries(answers).map(([status, { description, content }]) => {
    const bodies = Object.entries(content ?? {}).map(([type, schema]) => [type, { schema: components.of(schema) }]);
    return [status, { description, ...(bodies.length === 0 ? {} : { content: Object.fromEntries(bodies) }) }];
  });
  return Object.fromEntries(described);
}

function describeErrors(route: Route, components: Components): Json {
  const always: ErrorCode[] = route.role === 'none' ? ['INTERNAL'] : ['TOKEN_MISSING', 'TOKEN_FORBIDDEN', 'INTERNAL'];
  const byStatus = new Map<number, string[]>();
  for (const code of new Set([...route.errors, ...always])) {
    const status = statusOf(code);
    byStatus.set(status, [...(byStatus.get(status) ?? []), `${code}: ${ERRORS[code].meaning}`]);
  }
  const described = [...byStatus]
    .sort(([a], [b]) => a - b)
    .map(([status, lines]) => [
      status,
      { description: lines.join(' '), content: { 'application/json': { schema: components.of(errorSchema) } } },
    ]);
  return Object.fromEntries(described);
}
