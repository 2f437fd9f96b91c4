/** The service as a whole: is it alive, is it ready, what happens, how much of it. */
import { z } from 'zod';
import { readinessOf } from './readiness.js';
import type { Route } from './route.js';
import { PAGE_FILES } from './status-page.js';

const readinessSchema = z.object({ ready: z.boolean(), reasons: z.array(z.string()) });

const tag = 'Service';

export const serviceRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/healthz',
    role: 'none',
    tag,
    summary: 'Is the process alive?',
    answers: {
      200: { description: 'ok', content: { 'text/plain': z.literal('ok') } },
      503: { description: 'not ok: it is stopping', content: { 'text/plain': z.literal('not ok') } },
    },
    errors: [],
    handle: ({ service }, _request, reply) => {
      reply.code(service.stopping ? 503 : 200).header('content-type', 'text/plain; charset=utf-8');
      return reply.send(service.stopping ? 'not ok' : 'ok');
    },
  },
  {
    method: 'GET',
    path: '/readyz',
    role: 'any',
    tag,
    summary: 'Is everything open that takes content?',
    answers: {
      200: { description: 'Ready.', content: { 'application/json': readinessSchema } },
      503: { description: 'Not ready, with the reasons.', content: { 'application/json': readinessSchema } },
    },
    errors: [],
    handle: ({ service }, { caller }, reply) => {
      const { ready, reasons } = readinessOf(service, caller);
      return reply.code(ready ? 200 : 503).send({ ready, reasons });
    },
  },
  {
    method: 'GET',
    path: '/metrics',
    role: 'viewer',
    tag,
    summary: "All metrics, in Prometheus' text format",
    answers: { 200: { description: 'The metrics.', content: { 'text/plain': z.string() } } },
    errors: [],
    handle: async ({ metrics }, { caller }, reply) => {
      const text = await metrics.render(caller);
      return reply.header('content-type', metrics.contentType).send(text);
    },
  },
  {
    method: 'GET',
    path: '/api/events',
    role: 'viewer',
    tag,
    summary: 'What happens, as it happens',
    description:
      'Server-sent events. `status` comes at once and every second: all connectors and inputs. ' +
      '`state`, `quarantined`, `warning` and `failure` come when a connector tells them; when there are more than 50 ' +
      'in a second, the rest is only counted, in `suppressed`.',
    answers: { 200: { description: 'The stream.', content: { 'text/event-stream': z.string() } } },
    errors: [],
    handle: ({ events }, request, reply) => {
      events.open(request, reply);
      return reply;
    },
  },
  ...PAGE_FILES.map(
    (name): Route => ({
      method: 'GET',
      path: name === 'index.html' ? '/' : `/page/${name}`,
      role: 'viewer',
      tag: 'Page',
      summary: name === 'index.html' ? 'The status page' : `The status page's ${name}`,
      answers: { 200: { description: 'The file.', content: { [mediaType(name)]: z.string() } } },
      errors: [],
      handle: ({ page }, request, reply) => page.send(name, request, reply),
    }),
  ),
];

function mediaType(name: string): string {
  if (name.endsWith('.html')) return 'text/html';
  if (name.endsWith('.css')) return 'text/css';
  return name.endsWith('.js') ? 'text/javascript' : 'image/svg+xml';
}
