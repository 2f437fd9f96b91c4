/**
 * SQLite's write-ahead log and the header of its index, read and written without SQLite
 * [https://www.sqlite.org/fileformat2.html, section 4; https://www.sqlite.org/walformat.html].
 *
 *     header   magic, version, page size, sequence, salt (8), checksum (8)
 *     frame    page number, size of the database after a commit or 0, salt (8), checksum (8), page
 *
 * The checksum of a frame goes on from that of the frame before. Seeded with what that frame's header says, each frame
 * can be checked by itself, also behind one that is damaged.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';
import { systemCode } from '../core/error.js';
import { PAGE_SIZE_BYTES } from './schema.js';

export const LOG_HEADER_BYTES = 32;
export const FRAME_HEADER_BYTES = 24;
export const FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_SIZE_BYTES;

/** The lowest bit says that the checksums are made of big-endian words. */
const MAGIC = 0x377f0682;
const VERSION = 3007000;
const SALT_BYTES = 8;

export interface Checksum {
  first: number;
  second: number;
}

export interface Frame {
  index: number;
  page: number;
  isCommit: boolean;
  /** Of this log, and not left over from an older one. */
  isOfLog: boolean;
  /** Its bytes are those that were written, provided that the checksum in the frame before is. */
  isWhole: boolean;
}

export class LogFile {
  readonly frameCount: number;
  /** The salt that its frames have. */
  readonly salt: Buffer;
  readonly isHeaderWhole: boolean;
  readonly #file: number;
  readonly #isBigEndian: boolean;
  readonly #headerChecksum: Checksum;

  /** Undefined when there is no log, or none with a frame in it. */
  static open(path: string): LogFile | undefined {
    let file: number;
    try {
      file = openSync(path, 'r');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    const frameCount = Math.floor((fstatSync(file).size - LOG_HEADER_BYTES) / FRAME_BYTES);
    if (frameCount > 0) return new LogFile(file, frameCount);
    closeSync(file);
    return undefined;
  }

  private constructor(file: number, frameCount: number) {
    this.#file = file;
    this.frameCount = frameCount;
    const header = this.#read(0, LOG_HEADER_BYTES);
    const magic = header.readUInt32BE(0);
    this.#isBigEndian = (magic & 1) === 1;
    this.#headerChecksum = storedChecksum(header, 24);
    const isKnown = (magic & ~1) >>> 0 === MAGIC && header.readUInt32BE(8) === PAGE_SIZE_BYTES;
    const sum = addChecksum({ first: 0, second: 0 }, header.subarray(0, 24), this.#isBigEndian);
    this.isHeaderWhole = isKnown && isSame(sum, this.#headerChecksum);
    // Without its header, the log is what its first frame says: an older one has nothing new before it.
    const salt = this.isHeaderWhole ? header.subarray(16, 24) : this.frameHeader(0).subarray(8, 16);
    this.salt = Buffer.from(salt);
  }

  /** All frames in order. */
  *frames(): Generator<Frame> {
    let before = this.#headerChecksum;
    for (let index = 0; index < this.frameCount; index++) {
      const bytes = this.#read(LOG_HEADER_BYTES + index * FRAME_BYTES, FRAME_BYTES);
      const stored = storedChecksum(bytes, 16);
      const isOfLog = bytes.subarray(8, 8 + SALT_BYTES).equals(this.salt);
      const sum = isOfLog ? frameChecksum(before, bytes, this.#isBigEndian) : undefined;
      yield {
        index,
        page: bytes.readUInt32BE(0),
        isCommit: bytes.readUInt32BE(4) !== 0,
        isOfLog,
        isWhole: sum !== undefined && isSame(sum, stored),
      };
      before = stored;
    }
  }

  frameHeader(index: number): Buffer {
    return this.#read(LOG_HEADER_BYTES + index * FRAME_BYTES, FRAME_HEADER_BYTES);
  }

  framePage(index: number): Buffer {
    return this.#read(LOG_HEADER_BYTES + index * FRAME_BYTES + FRAME_HEADER_BYTES, PAGE_SIZE_BYTES);
  }

  close(): void {
    closeSync(this.#file);
  }

  #read(at: number, size: number): Buffer {
    const bytes = Buffer.alloc(size);
    readSync(this.#file, bytes, 0, size, at);
    return bytes;
  }
}

/** Writes frames one after the other into a new log, with checksums that are right. */
export class LogWriter {
  readonly #write: (bytes: Buffer) => void;
  readonly #salt: Buffer;
  #sum: Checksum;

  constructor(salt: Buffer, write: (bytes: Buffer) => void) {
    this.#write = write;
    this.#salt = salt;
    const header = Buffer.alloc(LOG_HEADER_BYTES);
    header.writeUInt32BE(MAGIC, 0);
    header.writeUInt32BE(VERSION, 4);
    header.writeUInt32BE(PAGE_SIZE_BYTES, 8);
    salt.copy(header, 16);
    this.#sum = addChecksum({ first: 0, second: 0 }, header.subarray(0, 24), false);
    writeChecksum(header, 24, this.#sum);
    write(header);
  }

  /** @param header of a frame, of which page number and size of the database are taken. */
  add(header: Buffer, page: Buffer): void {
    const bytes = Buffer.concat([header.subarray(0, 8), this.#salt, Buffer.alloc(8), page]);
    this.#sum = frameChecksum(this.#sum, bytes, false);
    writeChecksum(bytes, 16, this.#sum);
    this.#write(bytes);
  }
}

function frameChecksum(before: Checksum, frame: Buffer, isBigEndian: boolean): Checksum {
  const sum = addChecksum(before, frame.subarray(0, 8), isBigEndian);
  return addChecksum(sum, frame.subarray(FRAME_HEADER_BYTES), isBigEndian);
}

function addChecksum({ first, second }: Checksum, bytes: Buffer, isBigEndian: boolean): Checksum {
  let one = first;
  let other = second;
  for (let at = 0; at < bytes.length; at += 8) {
    const even = isBigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at);
    const odd = isBigEndian ? bytes.readUInt32BE(at + 4) : bytes.readUInt32LE(at + 4);
    one = (one + even + other) >>> 0;
    other = (other + odd + one) >>> 0;
  }
  return { first: one, second: other };
}

function storedChecksum(bytes: Buffer, at: number): Checksum {
  return { first: bytes.readUInt32BE(at), second: bytes.readUInt32BE(at + 4) };
}

function writeChecksum(bytes: Buffer, at: number, { first, second }: Checksum): void {
  bytes.writeUInt32BE(first, at);
  bytes.writeUInt32BE(second, at + 4);
}

function isSame(one: Checksum, other: Checksum): boolean {
  return one.first === other.first && one.second === other.second;
}

const INDEX_HEADER_BYTES = 48;
const INDEX_CHECKED_BYTES = 40;

/** What the index of the log (`cache.db-shm`) says: how many frames were committed, and how many carried over. */
export interface LogIndex {
  salt: Buffer;
  committedFrames: number;
  carriedOverFrames: number;
}

/**
 * The index as the last process left it, or undefined when there is none that can be relied on. SQLite writes it after
 * the sync of a commit, so that it never counts a frame that was not on the disk; after a power cut it may be old.
 */
export function readLogIndex(path: string): LogIndex | undefined {
  const bytes = Buffer.alloc(2 * INDEX_HEADER_BYTES + 8);
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    if (readSync(file, bytes, 0, bytes.length, 0) < bytes.length) return undefined;
  } finally {
    closeSync(file);
  }
  const isBigEndian = endianness() === 'BE';
  const read = (at: number): number => (isBigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at));
  const header = bytes.subarray(0, INDEX_HEADER_BYTES);
  if (!header.equals(bytes.subarray(INDEX_HEADER_BYTES, 2 * INDEX_HEADER_BYTES))) return undefined;
  const sum = addChecksum({ first: 0, second: 0 }, header.subarray(0, INDEX_CHECKED_BYTES), isBigEndian);
  if (read(0) !== VERSION || !isSame(sum, { first: read(40), second: read(44) })) return undefined;
  return { salt: Buffer.from(header.subarray(32, 40)), committedFrames: read(16), carriedOverFrames: read(96) };
}
