/** Turns what SQLite and the file system throw into the product's errors. */
import Database from 'better-sqlite3';
import { NorthError, systemCode } from '../core/error.js';

/** True for an error that says that the file itself is damaged, as against the disk, the rights or the request. */
export function isDamage(error: unknown): boolean {
  if (error instanceof NorthError) return error.code === 'CACHE_DAMAGED';
  const code = systemCode(error) ?? '';
  return code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB';
}

/** What can be read of a file that is known to be damaged, or undefined where it cannot. */
export function unlessDamaged<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    // A table that is gone is an SQLITE_ERROR, as is every statement on a schema that cannot be parsed, and a sector that
    // the disk does not give is an SQLITE_IOERR. A text that is damaged is no JSON any more.
    if (isDamage(error) || error instanceof Database.SqliteError || error instanceof SyntaxError) return undefined;
    throw error;
  }
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
