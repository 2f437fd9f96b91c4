import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import type { TransformerOptions } from '../../src/config/transformers.js';
import { NorthError } from '../../src/core/error.js';
import type { ChunkOptions, MessageDraft } from '../../src/transform/transformer.js';
import { open, RecordingSink, run } from './recording-sink.js';

type Options = Omit<Extract<TransformerOptions, { type: 'csv-to-mqtt' }>, 'type'>;

function transform(options: Options, body: string | Buffer, chunks?: ChunkOptions): Promise<RecordingSink> {
  return run({ type: 'csv-to-mqtt', ...options }, { type: 'csv', body: Buffer.from(body) }, chunks);
}

function malformed(message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof NorthError);
    assert.equal(error.code, 'CONTENT_MALFORMED');
    assert.match(error.message, message);
    return true;
  };
}

function refused(options: Options, place: string) {
  assert.throws(
    () => open({ type: 'csv-to-mqtt', ...options }),
    (error) => {
      assert.ok(error instanceof NorthError);
      assert.deepEqual([error.code, error.place], ['CONFIG_INVALID', place]);
      return true;
    },
  );
}

describe('CSV: topics', () => {
  it('a column by name gives the topic', async () => {
    const sink = await transform({ topicColumn: 'topic', payloadType: 'line' }, 'x,topic\n1,a/b\n2,c\n');
    assert.deepEqual(sink.messages, ['a/b 1,a/b', 'c 2,c']);
    assert.equal(sink.pushed[0]!.draft.isTopicFromContent, true);
  });

  it('a column by number gives the topic, with and without a header', async () => {
    const named = await transform({ topicColumn: 1, payloadType: 'line' }, 'x,topic\n1,a\n');
    assert.deepEqual(named.messages, ['a 1,a']);
    const unnamed = await transform({ topicColumn: '1', hasHeader: false, payloadType: 'line' }, '1,a\n2,b\n');
    assert.deepEqual(unnamed.messages, ['a 1,a', 'b 2,b']);
  });

  it('a column whose name is a number is found by its name', async () => {
    const sink = await transform({ topicColumn: '1', payloadType: 'line' }, '1,0\nby-name,by-number\n');
    assert.equal(sink.pushed[0]!.topic, 'by-name');
  });

  it('a template takes columns by name and number, with dots and spaces in their names', async () => {
    const sink = await transform({ topic: 'p/{site name}/{a.b}/{2}', payloadType: 'line' }, 'site name,a.b,c\nx,y,z\n');
    assert.deepEqual([sink.pushed[0]!.topic, sink.pushed[0]!.draft.isTopicFromContent], ['p/x/y/z', false]);
  });

  it('a topic without fields is the same for all rows', async () => {
    assert.deepEqual((await transform({ topic: 'fixed', payloadType: 'line' }, 'a\n1\n2\n')).messages, [
      'fixed 1',
      'fixed 2',
    ]);
  });

  it('clean replaces what no topic may have, in the column and in the template', async () => {
    const body = 't\n$a/+/b\n';
    const topicOf = async (options: Options) => (await transform(options, body)).pushed[0]!.topic;
    assert.equal(await topicOf({ topicColumn: 't', clean: true }), '_a/_/b');
    assert.equal(await topicOf({ topic: '{t}', clean: true }), '_a/_/b');
    assert.equal(await topicOf({ topicColumn: 't' }), '$a/+/b');
  });

  it('an empty cell as topic puts the row into quarantine with its payload', async () => {
    const sink = await transform({ topicColumn: 't' }, 't,v\n,1\n');
    const { index, code, reason, payload } = sink.quarantined[0]!;
    assert.deepEqual([index, code, payload], [0, 'TOPIC_INVALID', '{"t":"","v":"1"}']);
    assert.match(reason, /^Line 2: the cell with the topic is empty/);
  });

  it('an empty cell in a template puts the row into quarantine and names the field', async () => {
    const sink = await transform({ topic: 'p/{site}/x' }, 'site,v\n,1\n');
    assert.equal(sink.quarantined[0]?.code, 'UNMAPPED');
    assert.match(sink.quarantined[0]!.reason, /Line 2: The field \{site\} of the topic is empty/);
  });

  it('a column that the header lacks refuses the whole, with a hint', async () => {
    await assert.rejects(
      transform({ topicColumn: 'topic' }, 'Topics,v\na,1\n'),
      malformed(/no column "topic".*"Topics"/),
    );
    await assert.rejects(transform({ topicColumn: 2 }, 'a,b\n1,2\n'), malformed(/no column 2.*2 columns/));
    await assert.rejects(transform({ topic: '{x}' }, 'a,b\n1,2\n'), malformed(/no column "x", which topic names/));
  });

  it('a name without a header is refused when the transformer is opened', () => {
    refused({ topicColumn: 'topic', hasHeader: false }, 'topicColumn');
    refused({ topic: 'a/{name}', hasHeader: false }, 'topic');
    const payload: Options = { payloadType: 'object', objectFields: [{ key: 'a', column: 'x' }] };
    refused({ topic: 'a', hasHeader: false, ...payload }, 'objectFields[0].column');
  });
});

describe('CSV: payloads', () => {
  it('row-object has all cells as texts under the names of the columns, and nothing is retyped', async () => {
    const sink = await transform({ topicColumn: 0 }, 't,a,b,c,d\nx,007,1e3,2026-01-15,\tt \n');
    assert.equal(sink.pushed[0]!.payload, '{"t":"x","a":"007","b":"1e3","c":"2026-01-15","d":"\\tt "}');
  });

  it('row-object without a header has the numbers of the columns as keys', async () => {
    const sink = await transform({ topicColumn: 0, hasHeader: false }, 'x,1\n');
    assert.equal(sink.pushed[0]!.payload, '{"0":"x","1":"1"}');
  });

  it('columns without a name, or with a name that is taken, keep their cells', async () => {
    const sink = await transform({ topicColumn: 0 }, 'v,v,,v_2,v,column_2\na,b,c,d,e,f\n');
    const expected = { v: 'a', v_3: 'b', column_2_2: 'c', v_2: 'd', v_4: 'e', column_2: 'f' };
    assert.deepEqual(JSON.parse(sink.pushed[0]!.payload), expected);
  });

  it('line is the row as it stands, in UTF-8', async () => {
    const body = Buffer.from('t;v\nx;"é";5\n', 'latin1');
    const options: Options = { topicColumn: 0, delimiter: ';', encoding: 'latin1', raggedRows: 'accept' };
    assert.equal((await transform({ ...options, payloadType: 'line' }, body)).pushed[0]!.payload, 'x;"é";5');
  });

  it('column is one cell alone, bare', async () => {
    const options: Options = { topicColumn: 0, payloadType: 'column', valueColumn: 'v' };
    assert.deepEqual((await transform(options, 't,v\nx,007\ny,"a,""b"\nz,\n')).messages, ['x 007', 'y a,"b', 'z ']);
  });

  it('column with a type is converted, and null where it is empty', async () => {
    const options: Options = { topicColumn: 0, payloadType: 'column', valueColumn: 1 };
    const messages = async (valueType: 'number' | 'boolean' | 'datetime', cell: string) =>
      (await transform({ ...options, valueType }, `t,v\nx,${cell}\n`)).pushed[0]?.payload;
    assert.equal(await messages('number', '007'), '7');
    assert.equal(await messages('number', ''), 'null');
    assert.equal(await messages('boolean', 'TRUE'), 'true');
    assert.equal(await messages('datetime', '2026-01-15T10:00:00+01:00'), '2026-01-15T09:00:00.000Z');
  });

  it('object has its fields with their types, in their order', async () => {
    const sink = await transform(
      {
        topicColumn: 't',
        payloadType: 'object',
        objectFields: [
          { key: 'n', column: 'n', type: 'number' },
          { key: '__proto__', column: 's' },
          { key: 'b', column: 2, type: 'boolean' },
          { key: 'at', column: 'd', type: 'datetime', datetime: { output: { format: 'unix-ms' } } },
          { key: 'day', column: 'd', type: 'datetime', datetime: { output: { format: 'yyyy-MM-dd' } } },
        ],
      },
      't,n,b,s,d\nx,1.50,1,007,2026-01-15T10:00:00Z\ny,,,,\n',
    );
    assert.deepEqual(sink.messages, [
      'x {"n":1.50,"__proto__":"007","b":true,"at":1768471200000,"day":"2026-01-15"}',
      'y {"n":null,"__proto__":"","b":null,"at":null,"day":null}',
    ]);
  });

  it('numbers are written digit for digit, however JSON wants them', async () => {
    const options: Options = { topic: 'x', payloadType: 'column', valueColumn: 0, valueType: 'number' };
    const numbers = ['12345678901234567890', '1.10', '-0', '+5', '.5', '5.', '007', '1e3', '-00.50E-2', ' 7 ', '0.1'];
    const sink = await transform(options, `n\n${numbers.join('\n')}\n`);
    assert.deepEqual(
      sink.pushed.map(({ payload }) => payload),
      ['12345678901234567890', '1.10', '-0', '5', '0.5', '5', '7', '1e3', '-0.50E-2', '7', '0.1'],
    );
    for (const { payload } of sink.pushed) JSON.parse(payload);
  });

  it('what is no number puts the row into quarantine as it came', async () => {
    const options: Options = { topicColumn: 't', payloadType: 'column', valueColumn: 'v', valueType: 'number' };
    const cells = ['abc', '0x10', '1e400', 'NaN', 'Infinity', '1 000', '1.2.3', '-', '.', 'e5', '1e', '٣', '1\t'];
    const sink = await transform(options, `t,v\n${cells.map((cell) => `x,${cell}\n`).join('')}y,"1,5"\n`);
    assert.deepEqual(sink.messages, []);
    assert.deepEqual(
      sink.quarantined.map(({ index, code }) => [index, code]),
      [...cells, ''].map((_, index) => [index, 'ROW_INVALID']),
    );
    assert.match(sink.quarantined[0]!.reason, /^Line 2: the cell of column "v": "abc" is no number\.$/);
    assert.deepEqual([sink.quarantined[0]!.payload, sink.quarantined[0]!.draft.topic], ['x,abc', 'x']);
  });

  it('a cell that is full of spaces or digits is judged in time that grows with its size', async () => {
    const size = 1024 * 1024 - 10;
    for (const valueType of ['number', 'boolean', 'datetime'] as const) {
      const options: Options = { topic: 'x', payloadType: 'column', valueColumn: 0, valueType };
      for (const unit of [' ', '0', '1', '.', 'T', '-', '2026-', ',1234']) {
        const sink = await transform({ ...options, delimiter: ';' }, `v\n${unit.repeat(size / unit.length)}x\n`);
        assert.equal(sink.quarantined.length, 1, unit);
      }
    }
  });

  it('a decimal comma is read where it is configured, and a point then is none', async () => {
    const options: Options = { topic: 'x', delimiter: ';', payloadType: 'column', valueColumn: 0, valueType: 'number' };
    const sink = await transform({ ...options, decimalSeparator: ',' }, 'n\n1,50\n1.50\n');
    assert.deepEqual([sink.messages, sink.quarantined.length], [['x 1.50'], 1]);
    assert.equal((await transform(options, 'n\n1,50\n')).quarantined.length, 1);
  });

  it('true, false, 1 and 0 are booleans in any case, and nothing else is', async () => {
    const options: Options = { topic: 'x', payloadType: 'column', valueColumn: 0, valueType: 'boolean' };
    const sink = await transform(options, 'b\ntrue\nFALSE\n1\n0\nyes\n2\non\n');
    assert.deepEqual(
      sink.pushed.map(({ payload }) => payload),
      ['true', 'false', 'true', 'false'],
    );
    assert.deepEqual(
      sink.quarantined.map(({ payload }) => payload),
      ['yes', '2', 'on'],
    );
  });

  it('a date format that cannot be read is refused when the transformer is opened', () => {
    const datetime = { input: { format: 'HH:mm' } };
    refused(
      { topic: 'x', payloadType: 'object', objectFields: [{ key: 'a', column: 'a', type: 'datetime', datetime }] },
      'objectFields[0].datetime.input.format',
    );
    refused(
      { topic: 'x', payloadType: 'column', valueColumn: 'a', valueType: 'datetime', datetime },
      'datetime.input.format',
    );
  });
});

describe('CSV: rows', () => {
  it('delimiter, quote and encoding are as configured', async () => {
    const body = Buffer.from("t|v\n'a|b'|\x80\n", 'latin1');
    const sink = await transform({ topicColumn: 't', delimiter: '|', quote: "'", encoding: 'windows-1252' }, body);
    assert.equal(sink.pushed[0]!.payload, '{"t":"a|b","v":"€"}');
  });

  it('a delimiter that the encoding does not have is refused when the transformer is opened', () => {
    refused({ topic: 'x', delimiter: '€', encoding: 'latin1' }, 'delimiter');
    refused({ topic: 'x', delimiter: '€', encoding: 'windows-1252' }, 'delimiter');
    open({ type: 'csv-to-mqtt', topic: 'x', delimiter: '¦', encoding: 'latin1' });
    open({ type: 'csv-to-mqtt', topic: 'x', delimiter: '€' });
  });

  it('a byte-order mark and CR LF end up neither in names nor in topics', async () => {
    const sink = await transform({ topicColumn: 't', payloadType: 'line' }, '\ufeffv,t\r\n1,a\r\n2,b\r\n');
    assert.deepEqual(sink.messages, ['a 1,a', 'b 2,b']);
  });

  it('rows with fewer or more cells go to quarantine as they came', async () => {
    const sink = await transform({ topicColumn: 't' }, 't,v\na,1\nb\nc,3,x\nd,4\n');
    assert.deepEqual(
      sink.pushed.map(({ index, topic }) => [index, topic]),
      [
        [0, 'a'],
        [3, 'd'],
      ],
    );
    assert.deepEqual(
      sink.quarantined.map(({ index, code, payload, reason }) => [index, code, payload, reason]),
      [
        [1, 'ROW_INVALID', 'b', 'Line 3: the row has 1 cells, the header has 2.'],
        [2, 'ROW_INVALID', 'c,3,x', 'Line 4: the row has 3 cells, the header has 2.'],
      ],
    );
  });

  it('without a header the first row that can be read says how many cells there are', async () => {
    const sink = await transform({ topicColumn: 0, hasHeader: false }, '"a"x,1\na,1\nb\n');
    assert.deepEqual(
      sink.quarantined.map(({ index }) => index),
      [0, 2],
    );
    assert.match(sink.quarantined[1]!.reason, /the first row has 2/);
  });

  it('raggedRows accept takes them with what is there', async () => {
    const options: Options = { topicColumn: 't', raggedRows: 'accept' };
    const sink = await transform(options, 't,v\na\nb,2,x\n');
    assert.deepEqual(sink.messages, ['a {"t":"a"}', 'b {"t":"b","v":"2"}']);
    const objectFields = [{ key: 'v', column: 'v' }];
    const object = await transform({ ...options, payloadType: 'object', objectFields }, 't,v\na\n');
    assert.deepEqual(object.messages, ['a {"v":null}']);
    const column = await transform({ ...options, payloadType: 'column', valueColumn: 'v' }, 't,v\na\n');
    assert.match(column.quarantined[0]!.reason, /there is no column "v"/);
    const topic = await transform({ ...options, topicColumn: 'v' }, 't,v\na\n');
    assert.equal(topic.quarantined[0]?.code, 'TOPIC_INVALID');
  });

  it('without a header a column beyond the rows puts them into quarantine', async () => {
    const options: Options = { topic: 'x', hasHeader: false, payloadType: 'object' };
    const sink = await transform({ ...options, objectFields: [{ key: 'v', column: 7 }] }, '1,2\n');
    assert.match(sink.quarantined[0]!.reason, /there is no column 7/);
  });

  it('a bad quote, or bytes that are no UTF-8, cost their row alone and are kept byte for byte', async () => {
    const body = Buffer.concat([
      Buffer.from('t,v\na,"1\nb,2\n'),
      Buffer.from([0x63, 0x2c, 0xff, 0x0a]),
      Buffer.from('d,4\n'),
    ]);
    const sink = await transform({ topicColumn: 't', payloadType: 'line' }, body);
    assert.deepEqual(sink.messages, ['b b,2', 'd d,4']);
    assert.deepEqual(
      sink.quarantined.map(({ index, payload }) => [index, payload]),
      [
        [0, 'a,"1'],
        [2, 'c,\xff'],
      ],
    );
    assert.match(sink.quarantined[1]!.reason, /Line 4: the row is not valid UTF-8/);
  });

  it('a row above maxRowSize is rejected, and the next one is taken', async () => {
    const sink = await transform({ topicColumn: 't', maxRowSize: '1 KiB' }, `t\n${'x'.repeat(1025)}\nb\n`);
    assert.deepEqual(
      sink.rejected.map(({ index, code }) => [index, code]),
      [[0, 'MESSAGE_TOO_LARGE']],
    );
    assert.match(sink.rejected[0]!.message, /Line 2: the row is longer than 1024 bytes/);
    assert.deepEqual(
      sink.pushed.map(({ index, topic }) => [index, topic]),
      [[1, 'b']],
    );
    assert.equal((await transform({ topicColumn: 't' }, `t\n${'x'.repeat(1025)}\n`)).pushed.length, 1);
  });

  it('a header that cannot be read refuses the whole', async () => {
    await assert.rejects(transform({ topic: 'x' }, '"a"b,c\n1,2\n'), malformed(/header .* cannot be read/));
    await assert.rejects(transform({ topic: 'x' }, Buffer.from([0xff, 0x0a])), malformed(/not valid UTF-8/));
  });

  it('no rows give no messages', async () => {
    for (const body of ['', '\n', 'a,b', 'a,b\n', '\ufeff']) {
      const sink = await transform({ topic: 'x' }, body);
      assert.deepEqual(sink.indices, []);
    }
  });

  it('QoS, retain, lane and expiry of the transformer are those of messages and quarantine', async () => {
    const options = { qos: 2, retain: true, lane: 'alert', messageExpiry: 9 } as const;
    const sink = await transform({ topicColumn: 't', ...options }, 't,v\na,1\nb\n');
    for (const draft of [sink.pushed[0]!.draft, sink.quarantined[0]!.draft]) {
      assert.deepEqual([draft.qos, draft.retain, draft.lane, draft.expirySeconds], [2, true, 'alert', 9]);
    }
  });

  it('only CSV from its source is taken', () => {
    const transformer = open({ type: 'csv-to-mqtt', topic: 'x', from: 'files' });
    assert.deepEqual(
      [transformer.takes('csv', 'files'), transformer.takes('csv', 'x'), transformer.takes('json', 'files')],
      [true, false, false],
    );
  });

  it('every row of any bytes ends in exactly one place', async () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
      fc
        .string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r\n', '1', '+', '$', '\0', 'é') })
        .map((text) => Buffer.from(text)),
    );
    const options: fc.Arbitrary<Options> = fc.constantFrom<Options[]>(
      { topicColumn: 0, hasHeader: false },
      { topic: 'x/{1}', hasHeader: false, payloadType: 'column', valueColumn: 0, valueType: 'number' },
      { topicColumn: 1, hasHeader: false, raggedRows: 'accept', payloadType: 'line', clean: true },
    );
    await fc.assert(
      fc.asyncProperty(options, bytes, async (options, bytes) => {
        const sink = await transform(options, bytes);
        assert.deepEqual(
          sink.indices,
          sink.indices.map((_, index) => index),
        );
        const rowsCount = (await transform({ topic: 'x', hasHeader: false, raggedRows: 'accept' }, bytes)).indices
          .length;
        assert.equal(sink.indices.length, rowsCount);
      }),
      { numRuns: 500 },
    );
  });
});

describe('CSV: chunks', () => {
  const body = `t,v\n${Array.from({ length: 10 }, (_, index) => `a${index},${index}\n`).join('')}`;
  const options: Options = { topicColumn: 't', payloadType: 'line' };

  it('chunks end after rowsMax rows, the last one with the last row', async () => {
    const told: number[] = [];
    await transform(options, body, { rowsMax: 4, onChunk: async (rowsCount) => void told.push(rowsCount) });
    assert.deepEqual(told, [4, 8, 10]);
  });

  it('no chunk is told when no row came after the last one', async () => {
    const told: number[] = [];
    await transform(options, body, { rowsMax: 5, onChunk: async (rowsCount) => void told.push(rowsCount) });
    assert.deepEqual(told, [5, 10]);
  });

  it('chunks end when the sink has taken sizeMaxBytes', async () => {
    const told: number[] = [];
    await transform(options, body, { sizeMaxBytes: 1, onChunk: async (rowsCount) => void told.push(rowsCount) });
    assert.deepEqual(told, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('chunks end at the rows that are named, also at the last one and behind those that are skipped', async () => {
    const told: number[] = [];
    const onChunk = async (rowsCount: number) => void told.push(rowsCount);
    await transform(options, body, { rowsMax: 5, endsAtRows: [2, 3, 10, 99], onChunk });
    assert.deepEqual(told, [2, 3, 8, 10]);
    told.length = 0;
    await transform(options, body, { rowsMax: 5, skipRowsCount: 3, endsAtRows: [2, 3, 4], onChunk });
    assert.deepEqual(told, [4, 9, 10]);
  });

  it('no row is taken before the former chunk is done', async () => {
    const sink = new RecordingSink();
    const content = { type: 'csv', body: Readable.from([Buffer.from(body)]) } as const;
    const counts: number[][] = [];
    await open({ type: 'csv-to-mqtt', ...options }).transform(content, sink, {
      rowsMax: 3,
      onChunk: async () => {
        const before = sink.pushed.length;
        for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
        counts.push([before, sink.pushed.length]);
      },
    });
    assert.deepEqual(counts, [
      [3, 3],
      [6, 6],
      [9, 9],
      [10, 10],
    ]);
  });

  it('what onChunk rejects with ends the transformation', async () => {
    const onChunk = async () => {
      throw new NorthError('CACHE_FULL', 'full');
    };
    const source = Readable.from([Buffer.from(body)]);
    const content = { type: 'csv', body: source } as const;
    await assert.rejects(
      run({ type: 'csv-to-mqtt', ...options }, content, { rowsMax: 1, onChunk }),
      (error) => error instanceof NorthError && error.code === 'CACHE_FULL',
    );
    assert.equal(source.destroyed, true);
  });

  it('an error of the stream ends the transformation', async () => {
    async function* source() {
      yield Buffer.from(body);
      throw new Error('disk gone');
    }
    await assert.rejects(
      run({ type: 'csv-to-mqtt', ...options }, { type: 'csv', body: Readable.from(source()) }),
      /disk gone/,
    );
  });

  it('text chunks of a stream are taken as UTF-8', async () => {
    const source = Readable.from(['t,v\né', ',1\n']);
    const sink = await run({ type: 'csv-to-mqtt', ...options }, { type: 'csv', body: source });
    assert.deepEqual(sink.messages, ['é é,1']);
  });

  it('going on after any row gives the rest, with the same indices, whatever the rows', async () => {
    const unit = fc.constantFrom('a', ',', '"', '\n', '\n', '\r\n', '1');
    const text = fc.string({ unit, maxLength: 40, size: 'max' });
    await fc.assert(
      fc.asyncProperty(text, fc.nat({ max: 12 }), fc.integer({ min: 1, max: 4 }), async (text, skip, rowsMax) => {
        const told: number[] = [];
        const settings: Options = { topicColumn: 0, hasHeader: false };
        const whole = await transform(settings, text);
        const rest = await transform(settings, text, {
          skipRowsCount: skip,
          rowsMax,
          onChunk: async (rowsCount) => void told.push(rowsCount),
        });
        const after = <T extends { index: number }>(list: readonly T[]) => list.filter(({ index }) => index >= skip);
        assert.deepEqual(rest.pushed, after(whole.pushed));
        assert.deepEqual(rest.quarantined, after(whole.quarantined));
        const rowsCount = whole.indices.length;
        if (rowsCount > skip) assert.equal(told.at(-1), rowsCount);
        else assert.deepEqual(told, []);
      }),
      { numRuns: 500 },
    );
  });

  it('a large body in memory lets others have their turn', async () => {
    const large = Buffer.from(`t\n${'a\n'.repeat(20_000)}`);
    let turnsCount = 0;
    let isDone = false;
    const countTurn = () => {
      turnsCount++;
      if (!isDone) setImmediate(countTurn);
    };
    setImmediate(countTurn);
    const sink = await transform({ topicColumn: 't' }, large);
    isDone = true;
    assert.equal(sink.pushed.length, 20_000);
    assert.ok(turnsCount >= 3, `others had ${turnsCount} turns`);
  });

  it('memory does not depend on the size of the file', async () => {
    const row = `plant/line/sensor;${'1234567890'.repeat(10)};"quoted; text"\n`;
    const blocksCount = 400;
    async function* source() {
      yield Buffer.from('t;v;w\n');
      for (let index = 0; index < blocksCount; index++) yield Buffer.from(row.repeat(500));
    }
    let chunksCount = 0;
    let rowsCount = 0;
    const usedSizesBytes: number[] = [];
    const sink = new CountingSink();
    const content = { type: 'csv', body: Readable.from(source()) } as const;
    await open({ type: 'csv-to-mqtt', topicColumn: 't', delimiter: ';' }).transform(content, sink, {
      sizeMaxBytes: 100_000,
      onChunk: async (count) => {
        rowsCount = count;
        sink.sizeBytes = 0;
        if (chunksCount++ % 50 === 0) usedSizesBytes.push(usedMemory());
      },
    });
    assert.equal(rowsCount, blocksCount * 500);
    assert.ok(usedSizesBytes.length > 5, `measured ${usedSizesBytes.length} times`);
    // The file has 27 MB, and about twice as much becomes of it; what is kept is a chunk and a row.
    const growth = Math.max(...usedSizesBytes.slice(1)) - usedSizesBytes[0]!;
    assert.ok(growth < 4_000_000, `memory grew by ${growth} bytes: ${usedSizesBytes.join(', ')}`);
  });
});

/** Takes messages and forgets them. */
class CountingSink extends RecordingSink {
  override push(_index: number, draft: MessageDraft): void {
    this.sizeBytes += draft.payload.length;
  }
}

/** What is in use after the garbage has been collected. */
function usedMemory(): number {
  setFlagsFromString('--expose-gc');
  const collectGarbage: () => void = runInNewContext('gc');
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
