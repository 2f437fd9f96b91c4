/**
 * Lines out of a stream of bytes, in bounded memory.
 *
 * A line ends with LF or CRLF, and neither is part of it; a CR elsewhere is data. The last line counts also without an
 * end; an empty one after the last line end is none. Lines are bytes: what they mean is for the reader to decide.
 *
 * What is complete is given at once and never held back to fill a chunk: a line that a person types is a message now.
 */
import { NorthError } from '../core/error.js';

export interface LineOptions {
  /** A longer line, its end not counted, is LINE_TOO_LONG. */
  lineMaxBytes?: number;
  /** Most lines in one chunk. */
  chunkLinesMax?: number;
}

export interface LineChunk {
  /** Number of the first of them, counted from 1. */
  firstLine: number;
  /** Views into the bytes that were read; at least one. */
  lines: Buffer[];
  /** Bytes of the stream up to the end of the last of them, its line end included. */
  endOffsetBytes: number;
}

export const LINE_MAX_BYTES = 1024 * 1024;
const CHUNK_LINES_MAX = 1000;
const LF = 0x0a;
const CR = 0x0d;

/** Throws LINE_TOO_LONG, with the number of the line, and whatever the source throws. */
export async function* readLines(
  source: AsyncIterable<Uint8Array>,
  options: LineOptions = {},
): AsyncGenerator<LineChunk, void, undefined> {
  const { lineMaxBytes = LINE_MAX_BYTES, chunkLinesMax = CHUNK_LINES_MAX } = options;
  /** The beginning of a line whose end has not come yet. */
  let begun: Buffer[] = [];
  let begunBytes = 0;
  let nextLine = 1;
  let offsetBytes = 0;

  const tooLong = (line: number): NorthError =>
    new NorthError('LINE_TOO_LONG', `Line ${line} is longer than ${lineMaxBytes} bytes.`);

  for await (const bytes of source) {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let lines: Buffer[] = [];
    let start = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, start)) {
      let line = chunk.subarray(start, end);
      if (begunBytes > 0) {
        line = Buffer.concat([...begun, line], begunBytes + line.length);
        begun = [];
        begunBytes = 0;
      }
      if (line.at(-1) === CR) line = line.subarray(0, -1);
      if (line.length > lineMaxBytes) {
        if (lines.length > 0) yield { firstLine: nextLine, lines, endOffsetBytes: offsetBytes + start };
        throw tooLong(nextLine + lines.length);
      }
      lines.push(line);
      start = end + 1;
      if (lines.length < chunkLinesMax) continue;
      yield { firstLine: nextLine, lines, endOffsetBytes: offsetBytes + start };
      nextLine += lines.length;
      lines = [];
    }
    if (lines.length > 0) yield { firstLine: nextLine, lines, endOffsetBytes: offsetBytes + start };
    nextLine += lines.length;
    offsetBytes += chunk.length;
    if (start < chunk.length) {
      begun.push(chunk.subarray(start));
      begunBytes += chunk.length - start;
    }
    // One byte more than allowed may still be the CR of its end.
    if (begunBytes > lineMaxBytes + 1) throw tooLong(nextLine);
  }
  if (begunBytes === 0) return;
  const last = Buffer.concat(begun, begunBytes);
  if (last.length > lineMaxBytes) throw tooLong(nextLine);
  yield { firstLine: nextLine, lines: [last], endOffsetBytes: offsetBytes };
}
