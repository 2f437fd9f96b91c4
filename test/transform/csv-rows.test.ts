import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { NorthError } from '../../src/core/error.js';
import { type CsvFormat, CsvRows } from '../../src/transform/csv-rows.js';

const FORMAT: CsvFormat = { delimiter: ';', quote: '"', encoding: 'utf-8', rowSizeMaxBytes: 1000 };

interface ReadRow {
  line: number;
  raw: string;
  cells: string[];
  problem: string | undefined;
  isTooLong: boolean;
}

function read(content: string | Uint8Array, format: Partial<CsvFormat> = {}, cuts: readonly number[] = []): ReadRow[] {
  const bytes = typeof content === 'string' ? Buffer.from(content) : Buffer.from(content);
  const rows = new CsvRows({ ...FORMAT, ...format });
  const found: ReadRow[] = [];
  const drain = () => {
    for (let row = rows.next(); row !== undefined; row = rows.next()) {
      found.push({ ...row, raw: Buffer.from(row.raw).toString('latin1') });
    }
  };
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const to of [...places, bytes.length]) {
    rows.push(bytes.subarray(from, to));
    drain();
    from = to;
  }
  rows.end();
  drain();
  return found;
}

const cellsOf = (rows: readonly ReadRow[]) => rows.map(({ cells }) => cells);
const problemsOf = (rows: readonly ReadRow[]) =>
  rows.filter(({ problem }) => problem !== undefined).map(({ line, raw }) => [line, raw]);

/** CSV as a careful program writes it. */
function write(table: readonly (readonly string[])[], format: { delimiter: string; quote: string; lineEnd: string }) {
  const { delimiter, quote, lineEnd } = format;
  const cell = (text: string) => {
    const needsQuotes = [delimiter, quote, '\r', '\n'].some((part) => text.includes(part));
    return needsQuotes ? quote + text.replaceAll(quote, quote + quote) + quote : text;
  };
  return table.map((row) => row.map(cell).join(delimiter) + lineEnd).join('');
}

const cellText = fc.string({
  unit: fc.constantFrom('a', 'é', '😀', ' ', '\t', '"', ';', ',', '\n', '\r', '\r\n', '\0', ''),
});
const cuts = fc.array(fc.nat(), { maxLength: 8 });

describe('CSV rows', () => {
  it('cells are split at the delimiter and nowhere else, and nothing in them is changed', () => {
    assert.deepEqual(cellsOf(read('007;1e3; x ;\t;a,b\n')), [['007', '1e3', ' x ', '\t', 'a,b']]);
    assert.deepEqual(cellsOf(read('a\tb c\td\n', { delimiter: '\t' })), [['a', 'b c', 'd']]);
    assert.deepEqual(cellsOf(read('a||b|c\n', { delimiter: '||' })), [['a', 'b|c']]);
  });

  it('quotes enclose delimiters, line ends and doubled quotes', () => {
    assert.deepEqual(cellsOf(read('"a;b";"say ""x""";"l1\nl2\r\nl3";""\r\nz\n')), [
      ['a;b', 'say "x"', 'l1\nl2\r\nl3', ''],
      ['z'],
    ]);
  });

  it('a quote inside an unquoted cell is a character like others', () => {
    assert.deepEqual(cellsOf(read('5" pipe;a"b"\n')), [['5" pipe', 'a"b"']]);
  });

  it('another quote, or none, can be set', () => {
    assert.deepEqual(cellsOf(read(`'a;b';"c"\n`, { quote: "'" })), [['a;b', '"c"']]);
    assert.deepEqual(cellsOf(read('"a;b"\n', { quote: '' })), [['"a', 'b"']]);
  });

  it('lines end with LF, CR LF or, where there is no LF, with CR', () => {
    for (const lineEnd of ['\n', '\r\n', '\r']) {
      const rows = read(['a;b', '"c";d', '1;"2"'].join(lineEnd) + lineEnd);
      assert.deepEqual(cellsOf(rows), [
        ['a', 'b'],
        ['c', 'd'],
        ['1', '2'],
      ]);
      assert.deepEqual(
        rows.map(({ line }) => line),
        [1, 2, 3],
      );
    }
    assert.deepEqual(cellsOf(read('a\rb;c\n')), [['a\rb', 'c']]);
  });

  it('the last line needs no end', () => {
    for (const text of ['a;b\n1;2', 'a;b\n1;"2"', 'a;b\r\n1;"2"\r', 'a;b\r\n1;2\r']) {
      assert.deepEqual(cellsOf(read(text))[1], ['1', '2']);
    }
  });

  it('empty lines are passed over, but counted as lines', () => {
    const rows = read('\n\r\na\n\n\nb\n\n');
    assert.deepEqual(
      rows.map(({ line, cells }) => [line, cells]),
      [
        [3, ['a']],
        [6, ['b']],
      ],
    );
    assert.deepEqual(read(''), []);
    assert.deepEqual(read('\n\n'), []);
  });

  it('a row of several lines counts them', () => {
    const rows = read('"a\nb\nc";d\nx\n');
    assert.deepEqual(
      rows.map(({ line }) => line),
      [1, 4],
    );
  });

  it('a byte-order mark is removed', () => {
    assert.deepEqual(cellsOf(read('\ufeffa;b\n')), [['a', 'b']]);
    assert.deepEqual(cellsOf(read('\ufeff"a";b\n', {}, [1, 2])), [['a', 'b']]);
    assert.deepEqual(cellsOf(read('\ufeffa\n', { encoding: 'latin1' })), [['a']]);
  });

  it('UTF-16 is named as such', () => {
    assert.throws(
      () => read(Buffer.from('\ufeffa;b\n', 'utf16le')),
      (error) => error instanceof NorthError && error.code === 'CONTENT_MALFORMED' && /UTF-16/.test(error.message),
    );
  });

  it('latin1 and windows-1252 are decoded', () => {
    const bytes = Buffer.from([0xe9, 0x3b, 0x80, 0x3b, 0xa0, 0x0a]);
    assert.deepEqual(cellsOf(read(bytes, { encoding: 'latin1' })), [['é', '\u0080', '\u00a0']]);
    assert.deepEqual(cellsOf(read(bytes, { encoding: 'windows-1252' })), [['é', '€', '\u00a0']]);
    const all = Buffer.from(Array.from({ length: 32 }, (_, index) => 0x80 + index));
    // The five bytes that windows-1252 leaves open are as in latin1, which is also how browsers read them.
    const expected = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ';
    assert.deepEqual(cellsOf(read(all, { encoding: 'windows-1252' })), [[expected]]);
  });

  it('a row that is no UTF-8 is bad, and the others are read', () => {
    const rows = read(
      Buffer.concat([Buffer.from('a;b\n'), Buffer.from([0xff, 0x3b, 0x31]), Buffer.from('\nc;\ufffd\n')]),
    );
    assert.deepEqual(cellsOf(rows), [['a', 'b'], [], ['c', '\ufffd']]);
    assert.deepEqual(problemsOf(rows), [[2, '\xff;1']]);
  });

  it('a quote that is never closed costs its line alone', () => {
    const rows = read('a;b\n1;"x\n2;y\n3;z\n');
    assert.deepEqual(problemsOf(rows), [[2, '1;"x']]);
    assert.match(rows[1]!.problem!, /quote at byte 2 is not closed/);
    assert.deepEqual(cellsOf(rows), [['a', 'b'], [], ['2', 'y'], ['3', 'z']]);
  });

  it('something after a closing quote costs its line alone', () => {
    const rows = read('1;"x"y;"\n2;"z"\n"a\n"b;c\nd;e\n');
    assert.deepEqual(problemsOf(rows), [
      [1, '1;"x"y;"'],
      [3, '"a'],
      [4, '"b;c'],
    ]);
    assert.match(rows[0]!.problem!, /delimiter is missing after the quote that closes at byte 4/);
    assert.deepEqual(cellsOf(rows), [[], ['2', 'z'], [], [], ['d', 'e']]);
  });

  it('a line above the limit is told as such and passed over, at the limit it is read', () => {
    const rows = read(`${'x'.repeat(1000)}\r\n${'y'.repeat(1001)}\n${'z'.repeat(5000)}\nend\n`);
    assert.deepEqual(
      rows.map(({ line, isTooLong, raw }) => [line, isTooLong, raw.length]),
      [
        [1, false, 1000],
        [2, true, 0],
        [3, true, 0],
        [4, false, 3],
      ],
    );
  });

  it('a row that only its quotes make too long costs its first line alone', () => {
    const rows = read(`a;"b\n${'x\n'.repeat(600)}";c\nd;e\n`);
    assert.deepEqual(problemsOf(rows), [
      [1, 'a;"b'],
      [602, '";c'],
    ]);
    assert.equal(rows.length, 603);
    assert.deepEqual(rows.at(-1)?.cells, ['d', 'e']);
  });

  it('what a careful program writes is read as it was, whatever is in the cells', () => {
    const format = fc.record({
      delimiter: fc.constantFrom(';', ',', '\t', '||', 'é'),
      quote: fc.constantFrom('"', "'"),
      lineEnd: fc.constantFrom('\n', '\r\n'),
    });
    const row = fc.array(cellText, { minLength: 1, maxLength: 5 }).filter((cells) => cells.join('x') !== '');
    fc.assert(
      fc.property(fc.array(row, { maxLength: 6 }), format, cuts, (table, format, cuts) => {
        // The line end is told by the first one in the bytes, and a byte-order mark is no content.
        const text = `first\n${write(table, format)}`;
        const rows = read(text, { delimiter: format.delimiter, quote: format.quote }, cuts);
        assert.deepEqual(cellsOf(rows), [['first'], ...table]);
      }),
      { numRuns: 500 },
    );
  });

  it('where csv-parse can read it, we read the same', () => {
    const unit = fc.constantFrom('a', ';', '"', '\n', '\r\n', ' ', '""', '";"', 'é');
    const text = fc.string({ unit, maxLength: 40, size: 'max' });
    fc.assert(
      fc.property(text, (text) => {
        let expected: string[][];
        try {
          expected = parse(text, {
            delimiter: ';',
            relax_column_count: true,
            skip_empty_lines: true,
            record_delimiter: ['\r\n', '\n'],
          });
        } catch {
          return;
        }
        assert.deepEqual(cellsOf(read(`x\n${text}`)).slice(1), expected);
      }),
      { numRuns: 2000 },
    );
  });

  it('the rows do not depend on how the bytes are cut', () => {
    const unit = fc.constantFrom('a', ';', '"', '\n', '\r', '\r\n', 'aaaaaaaaaa', '""', '";"', 'é', '\ufeff');
    const text = fc.string({ unit, maxLength: 60, size: 'max' });
    fc.assert(
      fc.property(text, cuts, fc.integer({ min: 3, max: 40 }), (text, cuts, rowSizeMaxBytes) => {
        for (const delimiter of [';', ';;']) {
          const whole = read(text, { rowSizeMaxBytes, delimiter });
          assert.deepEqual(read(text, { rowSizeMaxBytes, delimiter }, cuts), whole);
          assert.deepEqual(
            read(
              text,
              { rowSizeMaxBytes, delimiter },
              [...text].map((_, index) => index),
            ),
            whole,
          );
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('any bytes give rows without an error, and no byte of a line is lost', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.array(fc.constantFrom(0x22, 0x3b, 0x0a, 0x0d, 0x61, 0xff, 0xc3, 0xa9, 0x00), { maxLength: 300 }),
    );
    fc.assert(
      fc.property(bytes, cuts, (bytes, cuts) => {
        const content = Buffer.concat([Buffer.from('x\n'), Buffer.from(bytes)]);
        const rows = read(content, {}, cuts);
        // Line ends between rows, and the CR before them, are all that is left out.
        const left = content.toString('latin1').replaceAll(/[\r\n]/g, '');
        const kept = rows
          .map(({ raw }) => raw)
          .join('')
          .replaceAll(/[\r\n]/g, '');
        assert.equal(kept, left);
      }),
      { numRuns: 2000 },
    );
  });

  it('a file of nothing but quotes, or but delimiters, is read in time that grows with its size', () => {
    // Each of these took minutes with a reader that starts again at every quote or looks for the line end at every cell.
    const size = 1024 * 1024;
    const format = { rowSizeMaxBytes: size };
    for (const unit of ['"', '"\n', '"""\n', ';', '"a";', 'x\n"', '";\n', '"a\n""']) {
      const content = Buffer.alloc(size, unit);
      const cutsEvery64KiB = Array.from({ length: size / 65_536 }, (_, index) => index * 65_536);
      const rows = read(content, format, cutsEvery64KiB);
      assert.ok(rows.length > 0, unit);
    }
  });
});
