/**
 * Any bytes as CSV, under any options. Every row has exactly one fate; what becomes of the rows depends on the bytes
 * alone, and not on the pieces they come in, nor on where a file was left off.
 */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import type { ConfigOf } from '../../src/config/transformers.js';
import type { Transformer } from '../../src/transform/transformer.js';
import type { FuzzTarget } from './fuzz.js';
import { type ByteText, damaged, split, toBytes } from './mutation.js';
import { assertComplete, assertSendable, type Fate, openFrom, type Transformed, transformed } from './transformed.js';
import { weighted } from './weighted.js';

export interface CsvCase {
  options: Record<string, unknown>;
  body: ByteText;
  cuts: number[];
  /** Every byte comes alone. */
  isByteByByte: boolean;
  rowsMax: number;
  skipRowsCount: number;
}

const COLUMNS = ['topic', 'value', 'time', 'site', 'a b', '__proto__', ''] as const;

/** Options that are taken, to which others are then added. */
const BASES: readonly Record<string, unknown>[] = [
  { topicColumn: 'topic' },
  { topicColumn: 0, hasHeader: false },
  { topic: 'plant/{site}/{topic}' },
  { topic: 'plant/{0}', hasHeader: false, payloadType: 'line' },
  { topic: '{topic}', payloadType: 'column', valueColumn: 'value' },
  { topic: 'fixed', payloadType: 'column', valueColumn: 1, valueType: 'number', hasHeader: false },
  {
    topic: 'x/{site}',
    payloadType: 'object',
    objectFields: [
      { key: 'v', column: 'value', type: 'number' },
      { key: '__proto__', column: 'topic' },
      { key: 't', column: 'time', type: 'datetime' },
      { key: 'b', column: 0, type: 'boolean' },
    ],
  },
  {
    topicColumn: 'topic',
    payloadType: 'column',
    valueColumn: 'time',
    valueType: 'datetime',
    datetime: { input: { format: 'dd/MM/yyyy HH:mm', timezone: 'Europe/Paris' }, output: { format: 'unix-ms' } },
  },
];

const soundChange = fc.constantFrom<Record<string, unknown>>(
  { clean: true },
  { raggedRows: 'accept' },
  { maxRowSize: 1024 },
  { quote: '' },
  { quote: "'" },
  { encoding: 'latin1' },
  { encoding: 'windows-1252' },
  { decimalSeparator: ',' },
  { qos: 0, retain: true, lane: 'alert', messageExpiry: 5 },
);

const brokenChange = fc.constantFrom<Record<string, unknown>>(
  { hasHeader: false },
  { payloadType: 'line' },
  { valueType: 'boolean' },
  { topicColumn: 'nowhere' },
  { topicColumn: 999_999 },
  { topic: '{' },
  { topic: 'a/+/{topic}' },
  { objectFields: [] },
  { delimiter: '' },
  { unknown: 1 },
  { datetime: { input: { format: 'QQQ' } } },
  { from: null },
);

const DELIMITERS = [',', ';', '\t', '||', '\u00a7', ' ', 'ab'] as const;

const cell = weighted<string>(
  [2, fc.constantFrom('a\nb', 'a\r\nb', '\n')],
  [6, fc.constantFrom('a/b', 'plant/1', 'x', '1', '007', '1,5', '-2.50', '1e999', 'true', '31/12/2025 23:30')],
  [
    3,
    fc.constantFrom('', ' ', '+', '#', '$SYS/x', 'a\0b', '\u00e9', '\u{1f600}', '2026-01-15T10:00:00.000Z', '"', '""'),
  ],
  [1, fc.string({ unit: 'binary', maxLength: 12 })],
  [1, fc.constantFrom('a'.repeat(1100), '"a\nb"', "'a\r\nb'")],
);

interface Table {
  delimiter: string;
  lineEnd: string;
  header: boolean;
  rows: string[][];
}

function write({ delimiter, lineEnd, header, rows }: Table, isQuoted: boolean): Buffer {
  const quoted = (text: string): string => (isQuoted ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = rows.map((cells) => cells.map(quoted).join(delimiter));
  if (header) lines.unshift(COLUMNS.slice(0, 5).join(delimiter));
  return Buffer.from(lines.join(lineEnd));
}

const csvCase: fc.Arbitrary<CsvCase> = fc
  .record({
    base: fc.constantFrom(...BASES),
    changes: weighted<Record<string, unknown>[]>(
      [9, fc.array(soundChange, { maxLength: 3 })],
      [1, fc.tuple(brokenChange)],
    ),
    delimiter: fc.constantFrom(...DELIMITERS),
  })
  .chain(({ base, changes, delimiter }) => {
    const options = { type: 'csv-to-mqtt', delimiter, ...base, ...Object.assign({}, ...changes) };
    const table = fc.record({
      delimiter: weighted<string>([9, fc.constant(delimiter)], [1, fc.constantFrom(...DELIMITERS)]),
      lineEnd: fc.constantFrom('\n', '\n', '\r\n', '\r'),
      header: weighted<boolean>([9, fc.constant(options.hasHeader !== false)], [1, fc.boolean()]),
      rows: fc.array(fc.array(cell, { minLength: 5, maxLength: 5 }), { maxLength: 6 }),
    });
    const valid = fc.tuple(table, fc.boolean()).map(([one, isQuoted]) => write(one, isQuoted));
    return fc.record({
      options: fc.constant(options),
      body: damaged(valid, [delimiter, `"${delimiter}"`, `"\n`, 'a/b;1;2;3;4\n']),
      cuts: fc.array(fc.nat(0xffff), { maxLength: 6 }),
      isByteByByte: weighted<boolean>([5, fc.constant(false)], [1, fc.constant(true)]),
      rowsMax: fc.integer({ min: 1, max: 4 }),
      skipRowsCount: fc.nat(5),
    });
  });

async function check(fuzzCase: CsvCase): Promise<string> {
  const opened = openFrom(fuzzCase.options);
  if (opened === undefined) return 'options refused';
  const { transformer } = opened;
  // openFrom has checked them, and their type is the one that all cases have.
  const config = opened.config as ConfigOf<'csv-to-mqtt'>;
  const body = toBytes(fuzzCase.body);
  const whole = await transformed(transformer, { type: 'csv', body });
  await checkPieces(transformer, fuzzCase, whole);
  if (whole === undefined) return 'content refused';
  assertComplete(whole);
  assertSendable(whole);
  checkRowCount(config, body, whole);
  await checkResumption(transformer, fuzzCase, whole);
  const ways = new Set(whole.fates.map(({ way }) => way));
  return ways.size === 0 ? 'no rows' : [...ways].sort().join(' and ');
}

/** Larger content is not taken byte by byte: it would take seconds. */
const BYTE_BY_BYTE_MAX_BYTES = 1000;

function piecesOf({ body, cuts, isByteByByte }: CsvCase): Buffer[] {
  const bytes = toBytes(body);
  const isAlone = isByteByByte && bytes.length <= BYTE_BY_BYTE_MAX_BYTES;
  return split(bytes, isAlone ? [...bytes.keys()] : cuts);
}

/** Bytes that come in pieces, and are stored in chunks, give what they give as a whole. */
async function checkPieces(transformer: Transformer, fuzzCase: CsvCase, whole: Transformed | undefined): Promise<void> {
  const stream = Readable.from(piecesOf(fuzzCase));
  let rowsDone = 0;
  const inPieces = await transformed(
    transformer,
    { type: 'csv', body: stream },
    {
      rowsMax: fuzzCase.rowsMax,
      onChunk: async (rowsCount) => {
        assert.ok(rowsCount > rowsDone, 'a chunk without rows');
        rowsDone = rowsCount;
      },
    },
  );
  assert.deepEqual(inPieces?.fates, whole?.fates);
  if (whole !== undefined) assert.equal(rowsDone, whole.fates.length, 'rows behind the last chunk');
}

/** A file that is taken up again after some rows gives the rest of what it gives at once. */
async function checkResumption(transformer: Transformer, fuzzCase: CsvCase, whole: Transformed): Promise<void> {
  const { skipRowsCount, rowsMax } = fuzzCase;
  const body = Readable.from(piecesOf(fuzzCase));
  const chunks = { skipRowsCount, rowsMax, onChunk: async () => undefined };
  const rest = await transformed(transformer, { type: 'csv', body }, chunks);
  assert.deepEqual(rest?.fates, whole.fates.slice(skipRowsCount) satisfies Fate[]);
}

/** Where nothing is quoted, rows are lines, and anybody can count them. */
function checkRowCount(config: ConfigOf<'csv-to-mqtt'>, body: Buffer, whole: Transformed): void {
  if (config.quote !== '' && body.includes(config.quote)) return;
  const start = body.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf])) ? 3 : 0;
  const text = body.subarray(start).toString('latin1');
  const beginning = body.subarray(0, 65_536);
  const endsWithReturn = !beginning.includes(0x0a) && beginning.includes(0x0d);
  const lines = endsWithReturn ? text.split('\r') : text.split('\n').map((line) => line.replace(/\r$/, ''));
  const count = lines.filter((line) => line !== '').length;
  assert.equal(whole.fates.length, Math.max(0, config.hasHeader ? count - 1 : count), 'lines and rows');
}

export const csv: FuzzTarget<CsvCase> = { name: 'csv', open: () => ({ cases: csvCase, check }) };
