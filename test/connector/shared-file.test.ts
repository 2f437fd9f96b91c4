import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { readSharedPosition } from '../../src/connector/shared-file.js';
import { decodeFileProgress, type FileContent, type FileReceipt } from '../../src/inputs/file.js';
import { Random } from '../simulation/random.js';
import { type Death, RealParts } from './real-parts.js';

const ROWS = 60;
const SEEDS = [1, 2, 3, 4, 5, 6];
const SOURCE = 'folder:files';

function topicOf(row: number): string {
  return `t/${row % 7}`;
}

/** A list in chunks of ten elements; each reading may cut it elsewhere. */
function list(rows: number, chunk = 10): FileContent {
  return {
    type: 'messages',
    fileName: 'list.json',
    chunks: async function* () {
      for (let from = 0; from < rows; from += chunk) {
        const count = Math.min(chunk, rows - from);
        yield Array.from({ length: count }, (_, index) => ({
          topic: topicOf(from + index),
          payload: `${from + index}`,
        }));
      }
    },
  };
}

function csv(rows: number): FileContent {
  const lines = Array.from({ length: rows }, (_, row) => `${topicOf(row)},${row}`);
  return { type: 'csv', fileName: 'rows.csv', open: () => Readable.from([`topic,value\n${lines.join('\n')}\n`]) };
}

function take(parts: RealParts, content: FileContent, fileKey = 'key', death?: Death): Promise<FileReceipt> {
  return parts.acceptance(death).acceptFile(content, { source: 'files', positionSource: SOURCE, fileKey });
}

/** Each row is there once, and the rows of a topic are in order. */
function assertRows(parts: RealParts, rows: number, note: string): void {
  const found = parts.byTopic();
  for (let topic = 0; topic < Math.min(7, rows); topic++) {
    const expected = Array.from({ length: rows }, (_, row) => row)
      .filter((row) => row % 7 === topic)
      .map(String);
    assert.deepEqual(found.get(`t/${topic}`), expected, `${note}, topic ${topic}`);
  }
}

function* deaths(): Generator<Death> {
  for (let afterAppends = 0; afterAppends < 30; afterAppends += afterAppends < 8 ? 1 : 5) {
    yield { afterAppends, stored: [0b0101, 0b1010, 0b0000, 0b1111][afterAppends % 4]! };
  }
}

describe('a file for several parts', () => {
  test('is taken once by the part of each topic, and not again', async (t) => {
    const parts = new RealParts(4);
    t.after(() => parts.close());
    const receipt = await take(parts, list(ROWS));
    assert.deepEqual([receipt.rowsTaken, receipt.accepted, receipt.complete], [ROWS, ROWS, true]);
    assertRows(parts, ROWS, 'once');
    const again = await take(parts, list(ROWS));
    assert.deepEqual([again.accepted, again.complete], [ROWS, true]);
    assertRows(parts, ROWS, 'again');
    const stored = await readSharedPosition(parts, SOURCE);
    assert.equal(decodeFileProgress(stored ?? '')?.complete, true);
  });

  test('goes on after each death of the process, from parts at different rows, without loss and repetition', async () => {
    for (const death of deaths()) {
      const parts = new RealParts(4);
      await take(parts, list(ROWS), 'key', death).catch(() => undefined);
      // The second death meets parts that stand apart already, and a file that is read in other chunks.
      await take(parts, list(ROWS, 7), 'key', { afterAppends: 6, stored: 0b0110 }).catch(() => undefined);
      const receipt = await take(parts, list(ROWS, 13));
      assert.deepEqual([receipt.rowsTaken, receipt.accepted, receipt.complete], [ROWS, ROWS, true]);
      assertRows(parts, ROWS, JSON.stringify(death));
      parts.close();
    }
  });

  test('as CSV goes on where its parts stand, also in the middle of a chunk', async () => {
    for (const afterAppends of [3, 7, 9]) {
      const parts = new RealParts(4);
      const rows = 12_000;
      await take(parts, csv(rows), 'key', { afterAppends, stored: 0b0101 }).catch(() => undefined);
      const receipt = await take(parts, csv(rows));
      assert.deepEqual([receipt.rowsTaken, receipt.accepted], [rows, rows]);
      assertRows(parts, rows, `after ${afterAppends}`);
      parts.close();
    }
  });

  test('is taken from its start when another file was begun in between', async (t) => {
    const parts = new RealParts(4);
    t.after(() => parts.close());
    await take(parts, list(ROWS), 'first');
    // Only the first part has something of the other file; the others still say that they have all of the first one.
    await take(parts, list(ROWS), 'other', { afterAppends: 1, stored: 0 }).catch(() => undefined);
    parts.acceptance();
    parts.settleAll();
    await take(parts, list(ROWS), 'first', { afterAppends: 1, stored: 0 }).catch(() => undefined);
    await take(parts, list(ROWS), 'first');
    assertRows(parts, ROWS, 'taken anew');
  });

  test('is told to be begun before anything of it is stored, because its first chunk may fail with a part of it stored', async () => {
    for (const stored of [0b0000, 0b1111]) {
      for (let afterAppends = 0; afterAppends < 4; afterAppends++) {
        const parts = new RealParts(4);
        const told: number[] = [];
        const onProgress = ({ rowsTaken }: { rowsTaken: number }) => void told.push(rowsTaken);
        const options = { source: 'files', positionSource: SOURCE, fileKey: 'key', onProgress };
        const taking = parts.acceptance({ afterAppends, stored }).acceptFile(list(ROWS), options);
        await assert.rejects(taking, /The process is gone/);
        assert.deepEqual(told, [0]);
        parts.close();
      }
    }
  });

  test('as one JSON document is stored once, whenever the process dies', async () => {
    for (const connections of [1, 4]) {
      for (let afterAppends = 0; afterAppends < 8; afterAppends++) {
        const parts = new RealParts(connections);
        const document: FileContent = { type: 'json', fileName: 'one.json', document: [{ topic: 'a', value: 1 }] };
        await take(parts, document, 'key', { afterAppends, stored: 0b0101 }).catch(() => undefined);
        const receipt = await take(parts, document);
        assert.equal(receipt.complete, true);
        assert.deepEqual(parts.waitingCount, 1, `${connections} connections, after ${afterAppends}`);
        parts.close();
      }
    }
  });
});

describe('a file that was begun before the number of connections was changed', () => {
  for (const [from, to] of [
    [4, 2],
    [2, 4],
    [1, 4],
    [4, 1],
    [3, 5],
  ] as const) {
    test(`is finished after a change from ${from} to ${to}, with each row once`, async () => {
      for (const death of deaths()) {
        const parts = new RealParts(from);
        await take(parts, list(ROWS), 'key', death).catch(() => undefined);
        const before = parts.waitingCount;
        parts.settleAll();
        parts.change(to);
        let between = 0;
        // It dies again while it goes over to the new number.
        for (const afterAppends of [1, 3, 6]) {
          await take(parts, list(ROWS, 7), 'key', { afterAppends, stored: 0b1001 }).catch(() => undefined);
        }
        between = parts.waitingCount;
        const receipt = await take(parts, list(ROWS, 11));
        const note = JSON.stringify({ death, before, between });
        assert.deepEqual([receipt.rowsTaken, receipt.accepted, receipt.complete], [ROWS, ROWS, true], note);
        const texts = [...parts.byTopic().values()].flat();
        assert.equal(new Set(texts).size, texts.length, `${note}: a row is there twice`);
        assert.equal(before + texts.length, ROWS, note);
        parts.close();
      }
    });
  }
});

test('whatever happens between deaths and changes of the number, each pass through a file takes each row once', async () => {
  for (const seed of SEEDS) {
    const random = new Random(seed);
    const parts = new RealParts(random.pick([1, 2, 4]));
    const taken = new Map<string, number>();
    const settle = (): void => {
      for (const text of [...parts.byTopic().values()].flat()) taken.set(text, (taken.get(text) ?? 0) + 1);
      parts.settleAll();
    };
    const passes = ['one', 'other', 'one'];
    for (const [index, fileKey] of passes.entries()) {
      let receipt: FileReceipt | undefined;
      for (let attempt = 0; receipt === undefined; attempt++) {
        const death = { afterAppends: random.between(0, 3 + attempt), stored: random.between(0, 15) };
        receipt = await take(parts, list(ROWS, random.between(5, 20)), fileKey, death).catch(() => undefined);
        if (random.between(0, 3) === 0) {
          settle();
          parts.change(random.pick([1, 2, 3, 4, 6]));
        }
      }
      assert.deepEqual([receipt.rowsTaken, receipt.accepted, receipt.complete], [ROWS, ROWS, true], `seed ${seed}`);
      settle();
      const wrong = [...taken].filter(([, count]) => count !== index + 1);
      assert.deepEqual([taken.size, wrong], [ROWS, []], `seed ${seed}, pass ${index}`);
    }
    parts.close();
  }
});
