/**
 * Lines of a stream, with bounded memory. What is complete is given as it arrives and never held back to fill a chunk: a
 * line that a person types is a message now.
 */
import { formatSize } from '../config/units.js';
import { NorthError } from '../core/error.js';

export const LINE_SIZE_MAX_BYTES = 1024 * 1024;
/** A chunk ends here at the latest, so that what is made of it stays small. */
const CHUNK_LINES_MAX = 2000;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * Gives the lines without their ends: LF, or CR and LF; a CR elsewhere is data. A last line without an end counts as
 * well; an empty line is an empty buffer. Lines are bytes, views into what was read where possible. Rejects with CONTENT_TOO_LARGE, and the number of the line, for one above `sizeMaxBytes`; the lines
 * before it have been given.
 */
export async function* readLines(
  stream: AsyncIterable<Uint8Array | string>,
  sizeMaxBytes: number = LINE_SIZE_MAX_BYTES,
): AsyncGenerator<readonly Buffer[]> {
  let rest: Buffer[] = [];
  let restSizeBytes = 0;
  let linesCount = 0;
  for await (const part of stream) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : Buffer.from(part.buffer, part.byteOffset, part.length);
    let lines: Buffer[] = [];
    let start = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
      const tail = bytes.subarray(start, end);
      const whole = rest.length === 0 ? tail : Buffer.concat([...rest, tail]);
      const line = whole.at(-1) === CARRIAGE_RETURN ? whole.subarray(0, -1) : whole;
      rest = [];
      restSizeBytes = 0;
      start = end + 1;
      linesCount++;
      if (line.length > sizeMaxBytes) {
        if (lines.length > 0) yield lines;
        throw tooLong(linesCount, sizeMaxBytes);
      }
      lines.push(line);
      if (lines.length >= CHUNK_LINES_MAX) {
        yield lines;
        lines = [];
      }
    }
    if (lines.length > 0) yield lines;
    if (start < bytes.length) {
      rest.push(bytes.subarray(start));
      restSizeBytes += bytes.length - start;
    }
    // One byte more than allowed may be the CR of its end.
    if (restSizeBytes > sizeMaxBytes + 1) throw tooLong(linesCount + 1, sizeMaxBytes);
  }
  if (restSizeBytes > sizeMaxBytes) throw tooLong(linesCount + 1, sizeMaxBytes);
  if (restSizeBytes > 0) yield [Buffer.concat(rest)];
}

function tooLong(lineNumber: number, sizeMaxBytes: number): NorthError {
  return new NorthError('CONTENT_TOO_LARGE', `Line ${lineNumber} is longer than ${formatSize(sizeMaxBytes)}.`, {
    place: `line ${lineNumber}`,
    remedy: 'Publish it as a file of its own, or split it.',
  });
}
