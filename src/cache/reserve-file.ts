/**
 * Room on the disk that is kept for the moment when the disk is full.
 *
 * Settling messages makes room, but a save needs a little itself: in the write-ahead log, and in the file when the log is
 * carried over. With a disk that others have filled to the last byte, both would wait for ever. Then this file is given
 * up, the log is carried over into what it leaves, and from there on the log has room that it uses again and again.
 * It is filled anew when the disk has room.
 */
import { randomFillSync } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { isDiskFull } from './store-error.js';

const CHUNK_SIZE_BYTES = 256 * 1024;

/** It is not taken from a disk that has less than so many times its size left. */
const FREE_FACTOR = 4;

export class ReserveFile {
  readonly #path: string;
  sizeBytes: number;

  constructor(path: string, sizeBytes: number) {
    this.#path = path;
    this.sizeBytes = sizeBytes;
  }

  /** Makes the file when it is missing and the disk has room for it. */
  fill(): void {
    if (existsSync(this.#path)) return;
    const { bavail, bsize } = statfsSync(dirname(this.#path));
    if (bavail * bsize < this.sizeBytes * FREE_FACTOR) return;
    const descriptor = openSync(this.#path, 'w', 0o600);
    try {
      // Bytes that no file system can compress or leave out.
      const chunk = randomFillSync(Buffer.alloc(Math.min(CHUNK_SIZE_BYTES, this.sizeBytes)));
      for (let written = 0; written < this.sizeBytes; ) written += writeSync(descriptor, chunk);
      fsyncSync(descriptor);
    } catch (error) {
      rmSync(this.#path, { force: true });
      // Somebody else was faster; it is tried again later.
      if (!isDiskFull(error)) throw error;
    } finally {
      closeSync(descriptor);
    }
  }

  /** Gives the room free. False when there is none left to give. */
  release(): boolean {
    if (!existsSync(this.#path)) return false;
    rmSync(this.#path, { force: true });
    return true;
  }
}
