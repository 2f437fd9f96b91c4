/**
 * Rows out of the bytes of a CSV, in whatever chunks they come [RFC 4180].
 *
 *     bytes --push--> [ ... | row being looked for ... ] --next--> row: raw bytes, cells or what is wrong
 *
 * It is made so that one bad row never costs another one. A quote that is not closed, or not where a quote may be,
 * costs the line that it stands in: reading goes on with the next line. That, and the raw bytes of every row, is why
 * this is not one of the common parsers: they take the rest of the file for one cell.
 *
 * - A quote opens at the beginning of a cell only; elsewhere it is a character like others. Two quotes inside a quoted
 *   cell are one. After the closing quote comes a delimiter or the end of the line, or the row is bad.
 * - A line ends with LF or CR LF; with CR where the first 64 KiB have no LF. Empty lines are passed over.
 * - What the rows are depends on the bytes alone and not on how they were cut into chunks.
 * - A row of more than `rowSizeMaxBytes` is bad and has no raw bytes; if only its quotes make it so long, its first
 *   line is. Memory holds one row and one chunk.
 */
import { NorthError } from '../core/error.js';
import { type CsvEncoding, decodeCsv, splitCells } from './csv-text.js';

export interface CsvFormat {
  delimiter: string;
  /** One ASCII character, or empty. */
  quote: string;
  encoding: CsvEncoding;
  rowSizeMaxBytes: number;
}

export interface CsvRow {
  /** 1-based number of the line that the row begins in. */
  line: number;
  /** The row without its line end; a view that is valid until the next call. Empty when the row was too long. */
  raw: Uint8Array;
  /** The row as text, where there is no problem. */
  text: string;
  cells: string[];
  problem: string | undefined;
  isTooLong: boolean;
}

const LF = 0x0a;
const CR = 0x0d;
const LINE_END_SEARCH_BYTES = 65_536;
const EMPTY: Buffer = Buffer.alloc(0);

export class CsvRows {
  readonly #format: CsvFormat;
  readonly #delimiter: Buffer;
  readonly #quote: number;
  #buffer = EMPTY;
  /** Chunks that wait until they are as large as what is left in the buffer, so that a long row is not copied for each. */
  #waiting: Buffer[] = [];
  #waitingSizeBytes = 0;
  /** Where the row that is looked for begins. */
  #start = 0;
  /** Up to here there is no line end behind `#start`. */
  #searched = 0;
  /** Position of the first quote at or behind `#start`; undefined when it was not looked for. */
  #quoteAt: number | undefined;
  #line = 1;
  #lineEnd: number | undefined;
  #ended = false;
  #begun = false;
  /** True while the rest of a line that is too long passes by. */
  #skipping = false;

  constructor(format: CsvFormat) {
    this.#format = format;
    this.#delimiter = Buffer.from(format.delimiter, format.encoding === 'utf-8' ? 'utf8' : 'latin1');
    this.#quote = format.quote === '' ? -1 : format.quote.charCodeAt(0);
  }

  /** Adds bytes. They are not copied and must not change until the rows in them have been read. */
  push(chunk: Uint8Array): void {
    this.#waiting.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    this.#waitingSizeBytes += chunk.byteLength;
    if (this.#waitingSizeBytes >= this.#buffer.length - this.#start) this.#join();
  }

  /** Says that there are no more bytes, so that the last line needs no end. */
  end(): void {
    this.#join();
    this.#ended = true;
  }

  #join(): void {
    const rest = this.#buffer.subarray(this.#start);
    if (rest.length > 0) this.#waiting.unshift(rest);
    this.#buffer = this.#waiting.length === 1 ? this.#waiting[0]! : Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.#waitingSizeBytes = 0;
    this.#searched -= this.#start;
    this.#start = 0;
    this.#quoteAt = undefined;
  }

  /** The next row, or undefined when more bytes are needed, or after `end` when there is none left. */
  next(): CsvRow | undefined {
    if (!this.#begin()) return undefined;
    for (;;) {
      if (this.#skipping && !this.#skipLine()) return undefined;
      const eol = this.#findLineEnd();
      const row = eol === undefined ? this.#unfinishedRow() : this.#rowUpTo(eol);
      if (row !== 'empty') return row;
    }
  }

  /** Looks at the first bytes: byte-order mark and kind of line end. False when there are too few of them. */
  #begin(): boolean {
    if (this.#begun) return true;
    const buffer = this.#buffer;
    const hasLineFeed = buffer.subarray(0, LINE_END_SEARCH_BYTES).includes(LF);
    if (!this.#ended && !hasLineFeed && buffer.length < LINE_END_SEARCH_BYTES) return false;
    if ((buffer[0] === 0xff && buffer[1] === 0xfe) || (buffer[0] === 0xfe && buffer[1] === 0xff)) {
      throw new NorthError('CONTENT_MALFORMED', 'The CSV is UTF-16.', { remedy: 'Save it as UTF-8.' });
    }
    const hasMark = buffer[0] === 0xef && buffer[1] === 0xbb && buffer[2] === 0xbf;
    this.#start = hasMark ? 3 : 0;
    this.#searched = this.#start;
    this.#lineEnd = !hasLineFeed && buffer.subarray(0, LINE_END_SEARCH_BYTES).includes(CR) ? CR : LF;
    this.#begun = true;
    return true;
  }

  #findLineEnd(): number | undefined {
    const at = this.#buffer.indexOf(this.#lineEnd!, this.#searched);
    if (at >= 0) return at;
    this.#searched = this.#buffer.length;
    return this.#ended && this.#start < this.#buffer.length ? this.#buffer.length : undefined;
  }

  #unfinishedRow(): CsvRow | undefined {
    // One byte more than the limit may still be the CR of the line end.
    if (this.#buffer.length - this.#start < this.#format.rowSizeMaxBytes + 2) return undefined;
    this.#skipping = true;
    return this.#tooLong();
  }

  /** Passes over the rest of a long line; false when its end has not come yet. */
  #skipLine(): boolean {
    const eol = this.#findLineEnd();
    if (eol === undefined) {
      this.#buffer = EMPTY;
      this.#start = 0;
      this.#searched = 0;
      this.#quoteAt = undefined;
      return false;
    }
    this.#advance(eol, 1);
    this.#skipping = false;
    return true;
  }

  #rowUpTo(eol: number): CsvRow | 'empty' | undefined {
    const start = this.#start;
    const end = this.#contentEnd(start, eol);
    if (end - start > this.#format.rowSizeMaxBytes) {
      const row = this.#tooLong();
      this.#advance(eol, 1);
      return row;
    }
    if (end === start) {
      this.#advance(eol, 1);
      return 'empty';
    }
    if (this.#quote < 0 || this.#firstQuote() >= end) {
      const text = decodeCsv(this.#buffer, start, end, this.#format.encoding);
      return this.#row(start, end, eol, 1, text, text?.split(this.#format.delimiter) ?? [], undefined);
    }
    return this.#quotedRow(end, eol);
  }

  /** A row with quotes in it, which may go on in further lines. */
  #quotedRow(firstEnd: number, firstEol: number): CsvRow | undefined {
    const found = this.#scan();
    if (found === 'more') return undefined;
    const start = this.#start;
    if (typeof found === 'string') {
      return this.#row(start, firstEnd, firstEol, 1, '', [], found);
    }
    const text = decodeCsv(this.#buffer, start, found.end, this.#format.encoding);
    const cells = text === undefined ? [] : splitCells(text, this.#format.delimiter, this.#format.quote);
    const linesCount = found.eol === firstEol ? 1 : 1 + countByte(this.#buffer, this.#lineEnd!, start, found.end);
    return this.#row(start, found.end, found.eol, linesCount, text, cells, undefined);
  }

  /** Finds the end of the row that begins at `#start`, or says that it is bad, or that more bytes are needed. */
  #scan(): { end: number; eol: number } | 'more' | string {
    const buffer = this.#buffer;
    // Bytes beyond the limit play no part, so that the outcome does not depend on how many have come already.
    const limit = this.#start + this.#format.rowSizeMaxBytes;
    const mayGrow = !this.#ended && buffer.length < limit + 2;
    let eol: number | undefined;
    let at = this.#start;
    while (at <= limit) {
      if (buffer[at] === this.#quote) {
        const close = this.#closingQuote(at + 1);
        if (close === undefined || close >= limit) {
          return mayGrow && close === undefined ? 'more' : `the quote at byte ${at - this.#start} is not closed`;
        }
        at = close + 1;
        const lineEnd = this.#lineEndAt(at);
        if (lineEnd === 'more') return 'more';
        if (lineEnd !== undefined) return { end: at, eol: lineEnd };
        if (!this.#delimiterAt(at)) {
          if (!this.#ended && buffer.length - at < this.#delimiter.length) return 'more';
          return `a delimiter is missing after the quote that closes at byte ${close - this.#start}`;
        }
        at += this.#delimiter.length;
      } else {
        if (eol === undefined || eol < at) eol = this.#nextLineEnd(at);
        const end = eol === undefined ? buffer.length : this.#contentEnd(at, eol);
        const cellSize = buffer.subarray(at, end).indexOf(this.#delimiter);
        if (cellSize >= 0) at += cellSize + this.#delimiter.length;
        else if (eol === undefined) return mayGrow ? 'more' : this.#tooLongWithQuotes();
        else return end > limit ? this.#tooLongWithQuotes() : { end, eol };
      }
    }
    return this.#tooLongWithQuotes();
  }

  #tooLongWithQuotes(): string {
    return `the row that begins here is longer than ${this.#format.rowSizeMaxBytes} bytes because of its quotes`;
  }

  /** Position of the quote that closes a cell, unless another one follows; undefined when it has not come. */
  #closingQuote(from: number): number | undefined {
    let at = this.#buffer.indexOf(this.#quote, from);
    while (at >= 0 && this.#buffer[at + 1] === this.#quote) at = this.#buffer.indexOf(this.#quote, at + 2);
    return at < 0 ? undefined : at;
  }

  /** The position of the line end when there is one at `at`: that of its last byte, or the end of all bytes. */
  #lineEndAt(at: number): number | 'more' | undefined {
    const buffer = this.#buffer;
    if (at >= buffer.length) return this.#ended ? buffer.length : 'more';
    if (buffer[at] === this.#lineEnd) return at;
    if (this.#lineEnd !== LF || buffer[at] !== CR) return undefined;
    if (at + 1 >= buffer.length) return this.#ended ? buffer.length : 'more';
    return buffer[at + 1] === LF ? at + 1 : undefined;
  }

  #nextLineEnd(from: number): number | undefined {
    const at = this.#buffer.indexOf(this.#lineEnd!, from);
    return at >= 0 ? at : this.#ended ? this.#buffer.length : undefined;
  }

  /** The end of a line without the CR of CR LF; a CR before the end of all bytes counts as one, too. */
  #contentEnd(start: number, eol: number): number {
    return this.#lineEnd === LF && eol > start && this.#buffer[eol - 1] === CR ? eol - 1 : eol;
  }

  #delimiterAt(at: number): boolean {
    return this.#buffer.subarray(at, at + this.#delimiter.length).equals(this.#delimiter);
  }

  #firstQuote(): number {
    if (this.#quoteAt === undefined || this.#quoteAt < this.#start) {
      const at = this.#buffer.indexOf(this.#quote, this.#start);
      this.#quoteAt = at < 0 ? Number.POSITIVE_INFINITY : at;
    }
    return this.#quoteAt;
  }

  #row(
    start: number,
    end: number,
    eol: number,
    linesCount: number,
    text: string | undefined,
    cells: string[],
    problem: string | undefined,
  ): CsvRow {
    const raw = this.#buffer.subarray(start, end);
    const line = this.#line;
    this.#advance(eol, linesCount);
    if (text !== undefined) return { line, raw, text, cells, problem, isTooLong: false };
    return { line, raw, text: '', cells: [], problem: 'the row is not valid UTF-8', isTooLong: false };
  }

  #tooLong(): CsvRow {
    const problem = `the row is longer than ${this.#format.rowSizeMaxBytes} bytes`;
    return { line: this.#line, raw: EMPTY, text: '', cells: [], problem, isTooLong: true };
  }

  #advance(eol: number, linesCount: number): void {
    this.#start = Math.min(eol + 1, this.#buffer.length);
    this.#searched = this.#start;
    this.#line += linesCount;
  }
}

function countByte(buffer: Buffer, byte: number, start: number, end: number): number {
  let count = 0;
  for (let at = buffer.indexOf(byte, start); at >= 0 && at < end; at = buffer.indexOf(byte, at + 1)) count++;
  return count;
}
