/**
 * The content endpoints of OIBus, so that what feeds an OIBus North feeds this one unchanged: the same paths and
 * parameters, Basic authentication, and 204 once it is stored.
 */
import { extname } from 'node:path';
import type { MultipartFile } from '@fastify/multipart';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Content } from '../core/content.js';
import { errorText, NorthError, systemCode } from '../core/error.js';
import { parseJson, parseJsonText } from '../core/json.js';
import { readBody } from './body.js';
import type { Share } from './budget.js';
import { checkMediaType, PARSED_PER_BYTE, parseMediaType, reserve } from './content-form.js';
import { CONTENT_ERRORS, readKey } from './content-routes.js';
import { chooseConnectors, handOver, scopedKey } from './intake.js';
import { type Route, type RouteContext, readQuery } from './route.js';
import { idempotencyHeaders, oibusQuery, timeValues } from './schemas.js';

export const oibusRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/api/content/file',
    role: 'producer',
    tag: 'OIBus',
    summary: 'Hand in a file',
    description: 'Its name decides what it is: .csv or .json. Two files of the same name are two files.',
    query: oibusQuery,
    headers: idempotencyHeaders,
    body: {
      description: 'One file, in the field `file`.',
      required: true,
      content: { 'multipart/form-data': { schema: z.object({ file: z.string().meta({ format: 'binary' }) }) } },
    },
    answers: { 204: { description: 'Stored.' } },
    errors: CONTENT_ERRORS,
    handle: takeFile,
  },
  {
    method: 'POST',
    path: '/api/content/content',
    role: 'producer',
    tag: 'OIBus',
    summary: 'Hand in JSON content',
    description:
      'An OIBus content object: `{"type":"time-values","content":[…]}` or `{"type":"setpoint","content":[…]}`. ' +
      'Any other JSON is taken as a document for a json transformer.',
    query: oibusQuery,
    headers: idempotencyHeaders,
    body: {
      description: 'The content. `Content-Encoding: gzip` is understood.',
      required: true,
      content: {
        'application/json': {
          schema: z.union([z.object({ type: z.literal('time-values'), content: timeValues }), z.unknown()]),
          example: {
            type: 'time-values',
            content: [{ pointId: 'boiler/t1', timestamp: '2026-01-15T10:00:00.000Z', data: { value: '23.5' } }],
          },
        },
      },
    },
    answers: { 204: { description: 'Stored.' } },
    errors: CONTENT_ERRORS,
    handle: takeObject,
  },
];

async function takeObject(context: RouteContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const media = parseMediaType(request.headers['content-type']);
  checkMediaType('json', media);
  return takeFrom(context, request, reply, async (share) => {
    const body = await readBody(request.raw, { sizeMaxBytes: context.bodySizeMaxBytes, share });
    reserve(share, body.length * PARSED_PER_BYTE);
    return contentOfObject(parseJson(body));
  });
}

async function takeFile(context: RouteContext, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  if (!request.isMultipart()) {
    throw new NorthError('CONTENT_TYPE_UNSUPPORTED', 'The file is not sent as multipart/form-data.', {
      remedy: 'Send it as a form upload with the field "file".',
    });
  }
  const coding = request.headers['content-encoding'];
  if (coding !== undefined && coding !== 'identity') {
    throw new NorthError('CONTENT_TYPE_UNSUPPORTED', 'A form upload is taken without content coding only.');
  }
  return takeFrom(context, request, reply, async (share) => {
    const { name, bytes } = await readFile(request, context.bodySizeMaxBytes, share);
    if (extname(name).toLowerCase() === '.json') reserve(share, bytes.length * PARSED_PER_BYTE);
    return contentOfFile(name, bytes);
  });
}

/** What both have in common. The connectors are known before the body is read, but not yet what is in it. */
async function takeFrom(
  context: RouteContext,
  request: FastifyRequest,
  reply: FastifyReply,
  read: (share: Share) => Promise<Content>,
): Promise<unknown> {
  if (context.service.stopping) throw new NorthError('SERVICE_STOPPING', 'The service is stopping.');
  const { northId: ids, dataSourceId: source } = readQuery(oibusQuery, request);
  const idempotencyKey = scopedKey(request.caller, readKey(request));
  const share = context.budget.enter();
  try {
    const content = await read(share);
    const connectors = chooseConnectors(context, request.caller, ids, content.type, source);
    await handOver({ content, rejected: [], indices: undefined }, { connectors, source, idempotencyKey });
  } finally {
    share.release();
  }
  return reply.code(204).send();
}

/** OIBus content as content of ours. Throws CONTENT_MALFORMED. */
export function contentOfObject(body: unknown): Content {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return { type: 'json', document: body };
  const { type, content } = body as { type?: unknown; content?: unknown };
  if (type === 'time-values' || type === 'setpoint') {
    if (!Array.isArray(content)) throw new NorthError('CONTENT_MALFORMED', `The content of type ${type} has no list.`);
    return { type: type === 'setpoint' ? 'setpoints' : 'time-values', elements: content };
  }
  if ((type === 'any' || type === 'raw') && 'filePath' in body) {
    // It would let whoever may post name any file of this machine.
    throw new NorthError('CONTENT_MALFORMED', 'Content that names a file on the server is not taken.', {
      remedy: 'Upload the file to /api/content/file.',
    });
  }
  if (type === 'any-content' && typeof content === 'string') return { type: 'json', document: parseJsonText(content) };
  return { type: 'json', document: body };
}

function contentOfFile(fileName: string, bytes: Buffer): Content {
  const extension = extname(fileName).toLowerCase();
  if (extension === '.csv') return { type: 'csv', body: bytes, fileName };
  if (extension === '.json') return { type: 'json', document: parseJson(bytes), fileName };
  throw new NorthError('CONTENT_TYPE_UNSUPPORTED', `The kind of the file "${fileName}" is not known.`, {
    remedy: 'Name it .csv or .json.',
  });
}

async function readFile(
  request: FastifyRequest,
  sizeMaxBytes: number,
  share: Share,
): Promise<{ name: string; bytes: Buffer }> {
  let file: MultipartFile | undefined;
  try {
    file = await request.file({ limits: { fileSize: sizeMaxBytes, files: 1, fields: 20, fieldSize: 65_536 } });
    if (file === undefined || file.fieldname !== 'file') {
      throw new NorthError('CONTENT_MALFORMED', 'The form has no field "file" with a file.');
    }
    const chunks: Buffer[] = [];
    for await (const chunk of file.file) {
      reserve(share, chunk.length);
      chunks.push(chunk);
    }
    if (file.file.truncated) throw new NorthError('CONTENT_TOO_LARGE', 'The file is larger than the server takes.');
    return { name: file.filename, bytes: Buffer.concat(chunks) };
  } catch (error) {
    if (error instanceof NorthError) throw error;
    const code = systemCode(error);
    if (code === 'FST_REQ_FILE_TOO_LARGE') {
      throw new NorthError('CONTENT_TOO_LARGE', 'The file is larger than the server takes.');
    }
    throw new NorthError('CONTENT_MALFORMED', `The form cannot be read: ${errorText(error)}.`, { cause: error });
  }
}
