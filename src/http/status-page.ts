/** The status page at /: three plain files, read once, served with a policy that allows nothing but them. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyReply, FastifyRequest } from 'fastify';

export const PAGE_FILES = ['index.html', 'status.css', 'status.js', 'icon.svg'] as const;
export type PageFile = (typeof PAGE_FILES)[number];

const MEDIA_TYPES: Readonly<Record<PageFile, string>> = {
  'index.html': 'text/html; charset=utf-8',
  'status.css': 'text/css; charset=utf-8',
  'status.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
};

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export class StatusPage {
  readonly #files = new Map<PageFile, { bytes: Buffer; tag: string }>();

  constructor(folder = join(import.meta.dirname, 'page')) {
    for (const name of PAGE_FILES) {
      const bytes = readFileSync(join(folder, name));
      const tag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 16)}"`;
      this.#files.set(name, { bytes, tag });
    }
  }

  send(name: PageFile, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const file = this.#files.get(name)!;
    reply.header('content-security-policy', POLICY);
    // Asked again each time, so that a new version shows at once; an unchanged file costs no bytes.
    reply.header('cache-control', 'no-cache').header('etag', file.tag);
    if (request.headers['if-none-match'] === file.tag) return reply.code(304).send();
    return reply.header('content-type', MEDIA_TYPES[name]).send(file.bytes);
  }
}
