/**
 * Finds rows in the leaves of a damaged SQLite file, whether or not a tree still leads to them
 * [https://www.sqlite.org/fileformat2.html, sections 1.5, 1.6 and 2].
 *
 * A leaf that was given free may hold rows that were deleted, and a row whose overflow pages are damaged comes with what
 * is left of it, filled up with zeros: whoever takes the rows must check them.
 */
import type { PageFile } from './page-file.js';
import { PAGE_SIZE_BYTES } from './schema.js';

export type Value = number | string | Buffer | null;

const TABLE_LEAF = 0x0d;
const INDEX_LEAF = 0x0a;
const FILE_HEADER_BYTES = 100;
const CELLS_MAX = (PAGE_SIZE_BYTES - 8) / 4;
const OVERFLOW_CONTENT_BYTES = PAGE_SIZE_BYTES - 4;
const LOCAL_MIN_BYTES = Math.floor(((PAGE_SIZE_BYTES - 12) * 32) / 255) - 23;
const TABLE_LOCAL_MAX_BYTES = PAGE_SIZE_BYTES - 35;
const INDEX_LOCAL_MAX_BYTES = Math.floor(((PAGE_SIZE_BYTES - 12) * 64) / 255) - 23;

/** Larger than any record with its checksums. */
const PAYLOAD_MAX_BYTES = 300_000_000;

/** What a column may hold, in one letter each: integer, text, blob, or null. */
export interface RowShape {
  /** A table WITHOUT ROWID is stored as an index. */
  isIndex: boolean;
  /** One entry per column, such as `n` or `it`. The column that is the rowid is stored as null. */
  columns: readonly string[];
}

export interface FoundRow {
  rowid: number;
  values: Value[];
}

interface Cursor {
  at: number;
}

/** All rows of that shape, in the order of the pages. */
export function* findRows(pages: PageFile, shape: RowShape): Generator<FoundRow> {
  for (let number = 1; number <= pages.pageCount; number++) {
    const page = pages.page(number);
    if (page === undefined) continue;
    const start = number === 1 ? FILE_HEADER_BYTES : 0;
    if (page[start] !== (shape.isIndex ? INDEX_LEAF : TABLE_LEAF)) continue;
    const count = page.readUInt16BE(start + 3);
    if (count > CELLS_MAX) continue;
    for (let cell = 0; cell < count; cell++) {
      const at = page.readUInt16BE(start + 8 + cell * 2);
      const row = at < PAGE_SIZE_BYTES - 4 ? readCell(pages, page, at, shape) : undefined;
      if (row !== undefined) yield row;
    }
  }
}

function readCell(pages: PageFile, page: Buffer, at: number, shape: RowShape): FoundRow | undefined {
  const cursor: Cursor = { at };
  const size = readVarint(page, cursor);
  const rowid = shape.isIndex ? 0 : readVarint(page, cursor);
  if (size === undefined || rowid === undefined || size === 0 || size > PAYLOAD_MAX_BYTES) return undefined;
  const localSize = localSizeOf(size, shape.isIndex ? INDEX_LOCAL_MAX_BYTES : TABLE_LOCAL_MAX_BYTES);
  const local = page.subarray(cursor.at, cursor.at + localSize);
  const types = readTypes(local, size, shape);
  if (types === undefined) return undefined;
  const payload = Buffer.alloc(size);
  local.copy(payload);
  if (localSize < size && cursor.at + localSize + 4 <= page.length) {
    readOverflow(pages, page.readUInt32BE(cursor.at + localSize), payload, localSize);
  }
  return { rowid, values: readValues(payload, types) };
}

function localSizeOf(size: number, max: number): number {
  if (size <= max) return size;
  const fitting = LOCAL_MIN_BYTES + ((size - LOCAL_MIN_BYTES) % OVERFLOW_CONTENT_BYTES);
  return fitting <= max ? fitting : LOCAL_MIN_BYTES;
}

/** The column types of a record when they are of that shape and add up to the payload's size. */
function readTypes(local: Buffer, size: number, shape: RowShape): number[] | undefined {
  const cursor: Cursor = { at: 0 };
  const headerSize = readVarint(local, cursor);
  if (headerSize === undefined || headerSize > local.length) return undefined;
  const types: number[] = [];
  let total = headerSize;
  while (cursor.at < headerSize) {
    const type = readVarint(local, cursor);
    if (type === undefined || types.length === shape.columns.length) return undefined;
    const letter = letterOf(type);
    if (letter === undefined || !shape.columns[types.length]!.includes(letter)) return undefined;
    types.push(type);
    total += sizeOf(type);
  }
  return types.length === shape.columns.length && total === size ? types : undefined;
}

function letterOf(type: number): string | undefined {
  if (type === 0) return 'n';
  if (type <= 6 || type === 8 || type === 9) return 'i';
  if (type < 12) return undefined;
  return type % 2 === 0 ? 'b' : 't';
}

function sizeOf(type: number): number {
  if (type >= 12) return Math.floor((type - 12) / 2);
  return [0, 1, 2, 3, 4, 6, 8, 8, 0, 0][type] ?? 0;
}

function readValues(payload: Buffer, types: readonly number[]): Value[] {
  const values: Value[] = [];
  const cursor: Cursor = { at: 0 };
  let at = readVarint(payload, cursor) ?? 0;
  for (const type of types) {
    const bytes = payload.subarray(at, at + sizeOf(type));
    at += bytes.length;
    if (type === 0) values.push(null);
    else if (type >= 12) values.push(type % 2 === 0 ? bytes : bytes.toString());
    else if (type === 6) values.push(Number(bytes.readBigInt64BE(0)));
    else values.push(type >= 8 ? type - 8 : bytes.readIntBE(0, bytes.length));
  }
  return values;
}

/** Follows the chain of overflow pages; where it breaks, the next page is the likeliest to go on with. */
function readOverflow(pages: PageFile, first: number, payload: Buffer, from: number): void {
  let number = first;
  let before = 0;
  for (let at = from; at < payload.length; at += OVERFLOW_CONTENT_BYTES) {
    if (number === 0 || number > pages.pageCount) number = before + 1;
    const page = number > pages.pageCount ? undefined : pages.page(number);
    page?.copy(payload, at, 4);
    before = number;
    number = page?.readUInt32BE(0) ?? 0;
  }
}

/** A big-endian number of seven bits per byte, at most nine bytes long; undefined at the end, or beyond what is stored. */
function readVarint(bytes: Buffer, cursor: Cursor): number | undefined {
  let value = 0;
  for (let index = 0; index < 9; index++) {
    const byte = bytes[cursor.at++];
    if (byte === undefined) return undefined;
    if (index === 8) value = value * 256 + byte;
    else value = value * 128 + (byte & 0x7f);
    if (index === 8 || byte < 0x80) return Number.isSafeInteger(value) ? value : undefined;
  }
  return undefined;
}
