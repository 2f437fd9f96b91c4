import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { open, run } from './recording-sink.js';

describe('ignore', () => {
  it('everything is dropped, and how much it was is told', async () => {
    const lists = await run({ type: 'ignore' }, { type: 'time-values', elements: [1, 2, 3] });
    assert.deepEqual([lists.ignoredCount, lists.indices], [3, []]);
    assert.equal((await run({ type: 'ignore' }, { type: 'json', document: [1, 2] })).ignoredCount, 1);
    assert.equal((await run({ type: 'ignore' }, { type: 'csv', body: Buffer.from('a\n1\n') })).ignoredCount, 1);
  });

  it('a stream is read to its end, so that what feeds it does not wait for ever', async () => {
    const body = Readable.from([Buffer.from('a\n'), Buffer.from('1\n')]);
    const sink = await run({ type: 'ignore' }, { type: 'csv', body });
    assert.deepEqual([sink.ignoredCount, body.readableEnded], [1, true]);
  });

  it('types limits it to some content', () => {
    const some = open({ type: 'ignore', from: 'lab', types: ['csv', 'json'] });
    assert.deepEqual(
      [some.takes('csv', 'lab'), some.takes('json', 'lab'), some.takes('messages', 'lab'), some.takes('csv', 'x')],
      [true, true, false, false],
    );
    assert.equal(open({ type: 'ignore' }).takes('setpoints', 'x'), true);
  });
});
