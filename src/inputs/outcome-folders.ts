/**
 * Where files go when they are done with: `done/` and `failed/` inside the watched folder, the latter with the reason
 * beside the file. Nothing there is ever overwritten.
 */
import { constants } from 'node:fs';
import { access, lstat, mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { join, parse } from 'node:path';
import { errorText, NorthError, systemCode } from '../core/error.js';

export type Outcome = 'done' | 'failed';

/** Most file systems allow 255 bytes; a number and the name of a note must still fit behind. */
const NAME_MAX_BYTES = 220;

/** A longer ending is cut like the rest of the name; every ending that means something is shorter. */
const EXTENSION_MAX_BYTES = 32;

/** Names of which the next free number is remembered, so that a name that comes every minute needs no search. */
const REMEMBERED_NAMES_MAX = 1000;

export class OutcomeFolders {
  readonly #path: string;
  readonly #nextNumbers = new Map<string, number>();

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Makes the folders where they are missing and checks that files can be moved there. Rejects with FOLDER_UNUSABLE.
   * A symbolic link instead of one is refused: who may write into the folder could otherwise choose where files go.
   */
  async prepare(): Promise<void> {
    try {
      await mkdir(this.#path, { recursive: true });
      await access(this.#path, constants.R_OK | constants.W_OK | constants.X_OK);
      for (const outcome of ['done', 'failed'] as const) {
        const folder = join(this.#path, outcome);
        await mkdir(folder, { recursive: true });
        if (!(await lstat(folder)).isDirectory()) throw unusable(folder, 'it is a symbolic link');
        await access(folder, constants.W_OK | constants.X_OK);
      }
    } catch (error) {
      if (error instanceof NorthError) throw error;
      throw unusable(this.#path, errorText(error), error);
    }
  }

  /**
   * Moves the file and writes the note, if any, beside it as `<name>.<noteName>.txt`. When it resolves, the move is on
   * stable storage: after a power cut the file does not come back to be published again. A name that is taken gets a
   * number. Rejects with FOLDER_UNUSABLE, with the file where it was.
   */
  async take(name: string, outcome: Outcome, note?: { name: string; text: string }): Promise<string> {
    const folder = join(this.#path, outcome);
    try {
      const target = await this.#reserve(folder, name, note?.name);
      try {
        // The note first: a file in failed/ never stands there without its reason.
        if (note !== undefined) await writeFile(join(folder, noteOf(target, note.name)), note.text);
        await rename(join(this.#path, name), join(folder, target));
      } catch (error) {
        await rm(join(folder, target), { force: true });
        if (note !== undefined) await rm(join(folder, noteOf(target, note.name)), { force: true });
        throw error;
      }
      await syncFolder(folder);
      await syncFolder(this.#path);
      return target;
    } catch (error) {
      throw unusable(folder, `"${name}" cannot be moved there: ${errorText(error)}`, error);
    }
  }

  /**
   * Takes a free name by making an empty file of it, which the rename then replaces, and the same for the note. A rename
   * alone would overwrite, and a hard link, which would not, does not exist on many network shares.
   */
  async #reserve(folder: string, name: string, noteName: string | undefined): Promise<string> {
    const key = join(folder, name);
    const parsed = parse(name);
    const isLong = Buffer.byteLength(parsed.ext) > EXTENSION_MAX_BYTES;
    const ext = isLong ? '' : parsed.ext;
    const stem = shorten(isLong ? name : parsed.name, NAME_MAX_BYTES - Buffer.byteLength(ext));
    for (let number = this.#nextNumbers.get(key) ?? 0; ; number++) {
      const target = number === 0 ? stem + ext : `${stem}-${number}${ext}`;
      if (!(await makeEmpty(join(folder, target)))) continue;
      // A file may itself be named like a note.
      if (noteName === undefined || (await makeEmpty(join(folder, noteOf(target, noteName))))) {
        this.#remember(key, number + 1);
        return target;
      }
      await rm(join(folder, target), { force: true });
    }
  }

  #remember(key: string, number: number): void {
    this.#nextNumbers.delete(key);
    this.#nextNumbers.set(key, number);
    if (this.#nextNumbers.size <= REMEMBERED_NAMES_MAX) return;
    const [first] = this.#nextNumbers.keys();
    if (first !== undefined) this.#nextNumbers.delete(first);
  }
}

function noteOf(target: string, noteName: string): string {
  return `${target}.${noteName}.txt`;
}

/** False when something has that name already. */
async function makeEmpty(path: string): Promise<boolean> {
  try {
    await (await open(path, 'wx')).close();
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** The beginning of the text that fits, without half a character at its end. */
function shorten(text: string, sizeMaxBytes: number): string {
  if (Buffer.byteLength(text) <= sizeMaxBytes) return text;
  let short = '';
  let sizeBytes = 0;
  for (const char of text) {
    sizeBytes += Buffer.byteLength(char);
    if (sizeBytes > sizeMaxBytes) break;
    short += char;
  }
  return short;
}

function unusable(folder: string, problem: string, cause?: unknown): NorthError {
  return new NorthError('FOLDER_UNUSABLE', `The folder ${folder} cannot be used: ${problem}.`, {
    place: folder,
    cause,
  });
}

/** Not every system lets a folder be opened or synced: Windows and many shares do not, and sync on their own terms. */
const SYNC_UNSUPPORTED: ReadonlySet<string | undefined> = new Set([
  'EISDIR',
  'EINVAL',
  'EPERM',
  'EACCES',
  'ENOTSUP',
  'ENOSYS',
  'EBADF',
]);

async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch (error) {
    if (!SYNC_UNSUPPORTED.has(systemCode(error))) throw error;
  }
}
