/**
 * Fastify and its plugin for uploads, which are CommonJS.
 *
 * Were they imported, Node.js would search their sources for the names that they export, which takes so long that it
 * compiles that search for speed, twice; of the memory that the compiler needs for it, 5 MB stay with the process.
 */
import { lazily } from '../core/lazily.js';

export const fastifyPackage = lazily<typeof import('fastify')>('fastify');
export const multipartPackage = lazily<typeof import('@fastify/multipart')>('@fastify/multipart');
