/** Small files and names that survive a power cut. */
import { closeSync, copyFileSync, existsSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** A file that is being written has this at its end, and counts for nothing. */
export const UNFINISHED_SUFFIX = '.part';

/** Makes new names in a folder survive a power cut. Where a folder cannot be opened (Windows), the system does it. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  syncPath(folder, 'r');
}

/** What is in the file survives a power cut when this returns. */
export function syncFile(path: string): void {
  syncPath(path, 'r+');
}

function syncPath(path: string, flags: string): void {
  const descriptor = openSync(path, flags);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Writes a new file and syncs it. What a full disk leaves of it is removed.
 *
 * @param fill is given a function that writes bytes at a place of the file, or behind those written last.
 */
export function writeSynced(path: string, fill: (write: (bytes: Uint8Array, place?: number) => void) => void): void {
  try {
    const descriptor = openSync(path, 'w', 0o600);
    try {
      let end = 0;
      fill((bytes, place = end) => {
        for (let at = 0; at < bytes.length; ) {
          at += writeSync(descriptor, bytes, at, bytes.length - at, place + at);
        }
        end = place + bytes.length;
      });
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}

/** The file has the new text, or is what it was before: nothing in between is ever seen. */
export function replaceSynced(path: string, text: string): void {
  const written = path + UNFINISHED_SUFFIX;
  writeSynced(written, (write) => write(Buffer.from(text)));
  renameSync(written, path);
  syncFolder(dirname(path));
}

/** Copies a file to where it stays; a copy that is there already is whole, and is left. */
export function copySynced(from: string, to: string): void {
  if (existsSync(to)) return;
  const written = to + UNFINISHED_SUFFIX;
  try {
    copyFileSync(from, written);
    syncFile(written);
  } catch (error) {
    rmSync(written, { force: true });
    throw error;
  }
  renameSync(written, to);
  syncFolder(dirname(to));
}
