import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  linkSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { systemCode } from '../core/error.js';

/**
 * Replaces `file` as a whole: after a crash at any point there is the old text or the new one, never a part. It
 * returns when the new text is on stable storage. A link keeps pointing where it points, and an old file keeps its
 * rights; a new one gets `mode`. Throws the error of the operating system, and then the old file is unchanged.
 */
export function replaceFile(file: string, text: string, mode: number): void {
  const target = realFile(file);
  const temporary = writeTemporary(target, text, statSync(target, { throwIfNoEntry: false })?.mode ?? mode);
  try {
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(dirname(target));
}

/** Like `replaceFile`, but for a file that must be new; false when there is one already, which stays as it is. */
export function createFile(file: string, text: string, mode: number): boolean {
  const temporary = writeTemporary(file, text, mode);
  try {
    // Unlike a rename, a link never takes the place of what another process made in the meantime.
    linkSync(temporary, file);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
  syncFolder(dirname(file));
  return true;
}

function writeTemporary(target: string, text: string, mode: number): string {
  const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`);
  const descriptor = openSync(temporary, 'wx', 0o600);
  try {
    writeFileSync(descriptor, text);
    fchmodSync(descriptor, mode & 0o777);
    fsyncSync(descriptor);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
  return temporary;
}

function realFile(file: string): string {
  try {
    return realpathSync(file);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return file;
    throw error;
  }
}

/** The new name is durable only when its folder is. Windows has no such call, and needs none. */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
