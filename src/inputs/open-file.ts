/** One file while it is taken: opened once, read from its beginning as often as needed, and watched for changes. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { errorText, NorthError, systemCode } from '../core/error.js';
import type { FileStat } from './file-key.js';

const READ_SIZE_BYTES = 256 * 1024;

/**
 * A symbolic link is not followed, since it could lead to any file of this machine; a pipe does not hold up the opening.
 * The flags do not exist on Windows, where they are nothing.
 */
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

export class OpenFile {
  readonly name: string;
  readonly stat: FileStat;
  readonly handle: FileHandle;

  private constructor(name: string, handle: FileHandle, stat: FileStat) {
    this.name = name;
    this.handle = handle;
    this.stat = stat;
  }

  /** Undefined when it has vanished. Rejects with FILE_UNREADABLE, also for what is no plain file. */
  static async open(path: string, name: string): Promise<OpenFile | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(path, FLAGS);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw new NorthError('FILE_UNREADABLE', `"${name}" cannot be opened: ${errorText(error)}.`, { cause: error });
    }
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) throw new NorthError('FILE_UNREADABLE', `"${name}" is no plain file.`);
      return new OpenFile(name, handle, { sizeBytes: stat.size, modifiedMs: stat.mtimeMs });
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The bytes from the beginning. Readings are independent of each other. Fails with FILE_CHANGED or FILE_UNREADABLE. */
  stream(): Readable {
    return Readable.from(this.chunks(), { objectMode: false, highWaterMark: READ_SIZE_BYTES });
  }

  /** The bytes from the beginning, chunk by chunk. */
  async *chunks(): AsyncGenerator<Buffer, void, undefined> {
    const { sizeBytes } = this.stat;
    for (let offset = 0; offset < sizeBytes; ) {
      const buffer = Buffer.allocUnsafe(Math.min(READ_SIZE_BYTES, sizeBytes - offset));
      const bytesRead = await this.#read(buffer, offset);
      if (bytesRead === 0) throw this.#changed();
      yield bytesRead < buffer.length ? buffer.subarray(0, bytesRead) : buffer;
      offset += bytesRead;
    }
    // Before the end is told: rows that stand at the end of an unfinished file may be cut in the middle.
    await this.checkUnchanged();
  }

  /** Rejects with FILE_CHANGED when the file is not as it was when it was opened. */
  async checkUnchanged(): Promise<void> {
    const now = await this.handle.stat();
    if (now.size !== this.stat.sizeBytes || now.mtimeMs !== this.stat.modifiedMs) throw this.#changed();
  }

  close(): Promise<void> {
    return this.handle.close();
  }

  async #read(buffer: Buffer, offset: number): Promise<number> {
    try {
      return (await this.handle.read(buffer, 0, buffer.length, offset)).bytesRead;
    } catch (error) {
      throw new NorthError('FILE_UNREADABLE', `"${this.name}" cannot be read: ${errorText(error)}.`, { cause: error });
    }
  }

  #changed(): NorthError {
    return new NorthError('FILE_CHANGED', `"${this.name}" was changed while it was read.`);
  }
}
