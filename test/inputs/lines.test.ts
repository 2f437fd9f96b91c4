import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NorthError } from '../../src/core/error.js';
import { readLines } from '../../src/inputs/lines.js';

async function* split(bytes: Buffer, ...cuts: number[]): AsyncGenerator<Uint8Array> {
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    yield bytes.subarray(from, cut);
    from = cut;
  }
}

async function read(source: AsyncIterable<Uint8Array | string>, sizeMaxBytes?: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const chunk of readLines(source, sizeMaxBytes)) {
    assert.ok(chunk.length > 0, 'no empty chunk');
    lines.push(...chunk.map((line) => line.toString('utf8')));
  }
  return lines;
}

describe('readLines', () => {
  it('gives the same lines wherever the bytes are cut', async () => {
    const bytes = Buffer.from('a\r\n\nüb\rc\r\r\n\r\nlast');
    const expected = ['a', '', 'üb\rc\r', '', 'last'];
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second++) {
        assert.deepEqual(await read(split(bytes, first, second)), expected, `cut at ${first} and ${second}`);
      }
    }
  });

  it('counts a last line without an end, and none after the last end', async () => {
    assert.deepEqual(await read(split(Buffer.from('a\nb'))), ['a', 'b']);
    assert.deepEqual(await read(split(Buffer.from('a\nb\n'))), ['a', 'b']);
    assert.deepEqual(await read(split(Buffer.from('\n'))), ['']);
    assert.deepEqual(await read(split(Buffer.alloc(0))), []);
  });

  it('gives a line as soon as it is complete, without waiting for more', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const source = (async function* () {
      yield Buffer.from('first\nsec');
      await held;
      yield Buffer.from('ond\n');
    })();
    const lines = readLines(source);
    assert.deepEqual((await lines.next()).value, [Buffer.from('first')]);
    release();
    assert.deepEqual((await lines.next()).value, [Buffer.from('second')]);
  });

  it('takes a line of exactly the limit, with either end and wherever it is cut', async () => {
    for (const end of ['', '\n', '\r\n']) {
      const bytes = Buffer.from(`12345678${end}`);
      for (let cut = 0; cut <= bytes.length; cut++) assert.deepEqual(await read(split(bytes, cut), 8), ['12345678']);
    }
  });

  it('refuses a longer one with its number, after the lines before it', async () => {
    for (const end of ['', '\n', '\r\n', '\nmore']) {
      const bytes = Buffer.from(`a\nb\n123456789${end}`);
      for (let cut = 0; cut <= bytes.length; cut++) {
        const seen: string[] = [];
        const reading = (async () => {
          for await (const chunk of readLines(split(bytes, cut), 8)) seen.push(...chunk.map(String));
        })();
        await assert.rejects(reading, (error) => error instanceof NorthError && /Line 3\b/.test(error.message));
        assert.deepEqual(seen, ['a', 'b'], `cut at ${cut}`);
      }
    }
  });

  it('needs no more memory for an endless line than its limit', async () => {
    let given = 0;
    const endless = (async function* () {
      for (;;) {
        given += 65_536;
        yield Buffer.alloc(65_536, 'x');
      }
    })();
    await assert.rejects(read(endless, 1024 * 1024), NorthError);
    assert.ok(given <= 1024 * 1024 + 2 * 65_536);
  });

  it('passes on what the stream fails with', async () => {
    const broken = (async function* () {
      yield Buffer.from('a\n');
      throw new TypeError('gone');
    })();
    await assert.rejects(read(broken), TypeError);
  });
});
