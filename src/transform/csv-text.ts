/** The text of a CSV row and its cells, once it is known where the row begins and ends. */
import { isUtf8 } from 'node:buffer';

export type CsvEncoding = 'utf-8' | 'latin1' | 'windows-1252';

/** The text of some bytes, or undefined when they are no valid text. */
export function decodeCsv(buffer: Buffer, start: number, end: number, encoding: CsvEncoding): string | undefined {
  if (encoding === 'utf-8') {
    const text = buffer.toString('utf8', start, end);
    // The replacement character may also be in the bytes themselves.
    return text.includes('\ufffd') && !isUtf8(buffer.subarray(start, end)) ? undefined : text;
  }
  const text = buffer.toString('latin1', start, end);
  if (encoding === 'latin1') return text;
  return text.replace(C1, (char) => WINDOWS_1252.charAt(char.charCodeAt(0) - 0x80));
}

// The one range in which windows-1252 differs from latin1; its five holes are left as they are.
const C1 = /[\u0080-\u009f]/g;
const WINDOWS_1252 =
  '\u20ac\u0081\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u008d\u017d\u008f' +
  '\u0090\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u009d\u017e\u0178';

/** The cells of a row whose quotes are known to be in order. */
export function splitCells(text: string, delimiter: string, quote: string): string[] {
  const cells: string[] = [];
  let at = 0;
  for (;;) {
    if (text.charAt(at) === quote) {
      let close = text.indexOf(quote, at + 1);
      while (text.charAt(close + 1) === quote) close = text.indexOf(quote, close + 2);
      cells.push(text.slice(at + 1, close).replaceAll(quote + quote, quote));
      at = close + 1;
      if (at >= text.length) return cells;
    } else {
      const next = text.indexOf(delimiter, at);
      if (next < 0) {
        cells.push(text.slice(at));
        return cells;
      }
      cells.push(text.slice(at, next));
      at = next;
    }
    at += delimiter.length;
  }
}
