/** Reads a request's body into memory, within bounds, whatever the client declares, sends or compresses. */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { formatSize } from '../config/units.js';
import { errorText, NorthError } from '../core/error.js';
import { noRoom, type Share } from './budget.js';

export interface BodyOptions {
  /** After decompression. */
  sizeMaxBytes: number;
  share: Share;
}

/**
 * The whole body, unpacked. Rejects with CONTENT_TOO_LARGE, REQUEST_TOO_MANY, CONTENT_TYPE_UNSUPPORTED (another coding
 * than gzip), CONTENT_MALFORMED (no valid gzip), or REQUEST_INVALID when the client goes away in the middle.
 */
export async function readBody(raw: IncomingMessage, options: BodyOptions): Promise<Buffer> {
  const declaredBytes = Number(raw.headers['content-length'] ?? 0);
  if (declaredBytes > options.sizeMaxBytes) throw tooLarge(options.sizeMaxBytes);
  const coding = raw.headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
  if (coding === 'identity') return collect(raw, raw, options);
  if (coding !== 'gzip' && coding !== 'x-gzip') {
    throw new NorthError('CONTENT_TYPE_UNSUPPORTED', `The content coding "${coding}" is not supported.`, {
      remedy: 'Send the body as it is, or with Content-Encoding: gzip.',
    });
  }
  const unpacked = createGunzip();
  raw.pipe(unpacked);
  try {
    return await collect(raw, unpacked, options);
  } finally {
    // The rest of a refused body flows into nothing; see `letGo`.
    raw.unpipe(unpacked);
    unpacked.destroy();
    raw.resume();
  }
}

function tooLarge(sizeMaxBytes: number): NorthError {
  return new NorthError('CONTENT_TOO_LARGE', `The body is larger than ${formatSize(sizeMaxBytes)}.`);
}

/**
 * Collects `stream`, which is `raw` itself or what unpacks it. The bytes are counted as they come, since a declared
 * length may be absent, and a kilobyte of gzip can become a megabyte: a bomb is stopped at the limit.
 */
function collect(raw: IncomingMessage, stream: Readable, options: BodyOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const finish = (): void => {
      stream.off('data', onData);
      stream.off('end', onEnd);
      raw.off('close', onClose);
      // `error` keeps its listener: a stream that is given up may still fail, and nobody else would hear it.
    };
    const fail = (error: NorthError): void => {
      finish();
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      sizeBytes += chunk.length;
      if (sizeBytes > options.sizeMaxBytes) fail(tooLarge(options.sizeMaxBytes));
      else if (!options.share.tryGrow(chunk.length)) fail(noRoom());
      else chunks.push(chunk);
    };
    const onEnd = (): void => {
      finish();
      resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, sizeBytes));
    };
    const onClose = (): void => {
      if (!raw.complete) fail(new NorthError('REQUEST_INVALID', 'The connection closed before the body was complete.'));
    };
    stream.on('data', onData);
    stream.once('end', onEnd);
    stream.on('error', (error) => {
      if (stream === raw) fail(new NorthError('REQUEST_INVALID', `The body broke off: ${errorText(error)}.`));
      else fail(new NorthError('CONTENT_MALFORMED', `The body is not valid gzip: ${errorText(error)}.`));
    });
    raw.once('close', onClose);
  });
}

/**
 * After an answer that came before the body's end: goes on taking the rest for a while, so that the client gets to read
 * the answer instead of a reset, then cuts the connection, so that nobody can feed it for ever.
 */
export function letGo(raw: IncomingMessage, lingerMs: number): void {
  if (raw.complete || raw.destroyed) return;
  const timer = setTimeout(() => raw.destroy(), lingerMs);
  timer.unref();
  raw.once('end', () => clearTimeout(timer));
  raw.once('close', () => clearTimeout(timer));
  // What still reads it would go on collecting.
  raw.unpipe();
  raw.resume();
}
