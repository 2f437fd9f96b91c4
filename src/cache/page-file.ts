/**
 * The pages of a SQLite file with its write-ahead log laid over them, read one by one and without SQLite, for a file that
 * SQLite refuses [https://www.sqlite.org/fileformat2.html, sections 1.3 and 4].
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { systemCode } from '../core/error.js';
import { PAGE_SIZE_BYTES } from './schema.js';

const WAL_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_SIZE_BYTES;

export class PageFile {
  /** Pages are numbered from 1. */
  readonly pageCount: number;
  readonly #file: number;
  readonly #log: number | undefined;
  /** Where in the log the newest version of a page stands. */
  readonly #frameAt = new Map<number, number>();

  constructor(path: string) {
    this.#file = openSync(path, 'r');
    this.#log = openIfThere(`${path}-wal`);
    if (this.#log !== undefined) this.#readLog(this.#log);
    const inFile = Math.ceil(fstatSync(this.#file).size / PAGE_SIZE_BYTES);
    this.pageCount = Math.max(inFile, ...this.#frameAt.keys());
  }

  /** The newest version of a page; what is missing of it is zeros. Undefined when a bad disk does not give it. */
  page(number: number): Buffer | undefined {
    const page = Buffer.alloc(PAGE_SIZE_BYTES);
    const frameAt = this.#frameAt.get(number);
    try {
      if (frameAt !== undefined && this.#log !== undefined) {
        readSync(this.#log, page, 0, PAGE_SIZE_BYTES, frameAt + FRAME_HEADER_BYTES);
      } else readSync(this.#file, page, 0, PAGE_SIZE_BYTES, (number - 1) * PAGE_SIZE_BYTES);
      return page;
    } catch (error) {
      if (systemCode(error) === 'EIO') return undefined;
      throw error;
    }
  }

  close(): void {
    closeSync(this.#file);
    if (this.#log !== undefined) closeSync(this.#log);
  }

  /** Notes the frames up to the last commit. Those of an older log that the new one has not reached have another salt. */
  #readLog(log: number): void {
    const header = Buffer.alloc(WAL_HEADER_BYTES);
    if (readSync(log, header, 0, WAL_HEADER_BYTES, 0) < WAL_HEADER_BYTES) return;
    const frame = Buffer.alloc(FRAME_HEADER_BYTES);
    const open: [page: number, at: number][] = [];
    for (let at = WAL_HEADER_BYTES; ; at += FRAME_BYTES) {
      if (readSync(log, frame, 0, FRAME_HEADER_BYTES, at) < FRAME_HEADER_BYTES) return;
      // Bytes 16 to 23 of the header and 8 to 15 of a frame are the salt.
      if (!frame.subarray(8, 16).equals(header.subarray(16, 24))) return;
      open.push([frame.readUInt32BE(0), at]);
      // A commit says how many pages the database has from then on; other frames say 0.
      if (frame.readUInt32BE(4) === 0) continue;
      for (const [page, frameAt] of open) this.#frameAt.set(page, frameAt);
      open.length = 0;
    }
  }
}

/** Where the header says by which rules the file is written and read: 1 without, 2 with a write-ahead log. */
const FORMAT_AT = 18;

/**
 * False when a damaged header lets SQLite open the file for reading only, which it does without a word.
 *
 * @param withLog looks at the header that is in the log, too.
 */
export function isWritableFormat(path: string, withLog: boolean): boolean {
  const file = openSync(path, 'r');
  const format = Buffer.alloc(2);
  try {
    readSync(file, format, 0, format.length, FORMAT_AT);
  } finally {
    closeSync(file);
  }
  const formats = [...format];
  if (withLog) {
    const pages = new PageFile(path);
    formats.push(...(pages.page(1)?.subarray(FORMAT_AT, FORMAT_AT + 2) ?? []));
    pages.close();
  }
  return formats.every((one) => one === 1 || one === 2);
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
