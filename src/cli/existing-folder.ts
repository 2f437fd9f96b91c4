import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { errorText, NorthError } from '../core/error.js';

/** The absolute path of a folder that is there; throws COMMAND_INVALID when it is not one. */
export function existingFolder(folder: string): string {
  const remedy = 'Give an existing folder on the disk in question.';
  let isFolder: boolean | undefined;
  try {
    isFolder = statSync(folder, { throwIfNoEntry: false })?.isDirectory();
  } catch (error) {
    throw new NorthError('COMMAND_INVALID', `The folder cannot be read: ${errorText(error)}.`, {
      place: folder,
      remedy,
    });
  }
  if (isFolder === true) return resolve(folder);
  const text = isFolder === undefined ? 'There is no such folder.' : 'This is no folder.';
  throw new NorthError('COMMAND_INVALID', text, { place: folder, remedy });
}
