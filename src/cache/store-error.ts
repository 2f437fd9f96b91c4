/** Turns what SQLite and the file system throw into the product's errors. */
import { NorthError, systemCode } from '../core/error.js';

/** True for an error that says that the file itself is damaged, as against the disk, the rights or the request. */
export function isDamage(error: unknown): boolean {
  if (error instanceof NorthError) return error.code === 'CACHE_DAMAGED';
  const code = systemCode(error) ?? '';
  return code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB';
}

export function isDiskFull(error: unknown): boolean {
  const code = systemCode(error);
  // The log's index is a file, too, and growing it fails under this name.
  return (
    code === 'SQLITE_FULL' ||
    code === 'SQLITE_IOERR_SHMSIZE' ||
    code === 'ENOSPC' ||
    code === 'EDQUOT' ||
    code === 'CACHE_DISK_FULL'
  );
}

/** RangeErrors stay as they are: they say that a request is impossible, which is the caller's mistake. */
export function storeError(error: unknown, path: string): Error {
  if (error instanceof NorthError || error instanceof RangeError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const code = systemCode(error);
  const message = code === undefined ? text : `${text} (${code})`;
  return new NorthError(isDiskFull(error) ? 'CACHE_DISK_FULL' : 'CACHE_FAILED', message, { place: path, cause: error });
}
