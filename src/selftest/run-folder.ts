/** A folder of its own for a run that works on the user's disk. */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { errorText, NorthError } from '../core/error.js';
import { freeSizeBytes, ROOM_NEEDED_BYTES } from './storage-checks.js';

/**
 * Makes a new folder below `parent`, whose name begins with `name`. Throws COMMAND_INVALID when none can be made there.
 */
export function makeRunFolder(parent: string, name: string): string {
  try {
    return mkdtempSync(join(parent, `${name}-`));
  } catch (error) {
    throw new NorthError('COMMAND_INVALID', `No folder can be made there: ${errorText(error)}.`, {
      place: parent,
      remedy: 'Name an existing folder that this user may write to, on the disk in question, with --dir.',
      cause: error,
    });
  }
}

/** Throws CACHE_DISK_FULL when the disk has too little room for `what`; otherwise gives what is free. */
export function assertRoom(folder: string, what: string): number {
  const freeBytes = freeSizeBytes(folder);
  if (freeBytes >= ROOM_NEEDED_BYTES) return freeBytes;
  throw new NorthError('CACHE_DISK_FULL', `The disk has too little room left for ${what}, which wants 256 MiB.`, {
    place: folder,
    remedy: 'Make room, or name a folder on another disk with --dir.',
  });
}
