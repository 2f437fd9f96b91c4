/** One form of answer for every error of a request, whoever has thrown it. */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { errorText, NorthError, systemCode } from '../core/error.js';
import { answerOf } from './answer.js';
import type { RouteContext } from './route.js';

export function answerError(
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

export function answerUnknownRoute(context: RouteContext, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = new NorthError('ROUTE_UNKNOWN', `There is no ${request.method} ${pathOf(request).slice(0, 200)}.`);
  return answerError(context, error, request, reply);
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
