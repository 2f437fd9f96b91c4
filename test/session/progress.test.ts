import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { SessionProgress } from '../../src/cache/store.js';
import { LANES, type Lane, laneIndex } from '../../src/core/lane.js';
import { LaneCursor } from '../../src/session/lane-cursor.js';
import { OpenExchanges } from '../../src/session/open-exchanges.js';
import { type Cursors, restoreProgress, snapshotProgress } from '../../src/session/progress.js';
import { ID_RANGES, RELEASABLE, SETTLED, Slots, WAITING } from '../../src/session/slots.js';

type Mark = 'waiting' | 'settled' | 'received';

interface LaneState {
  firstUnsettled: number;
  /** From `firstUnsettled` on; the first one is not settled. */
  marks: Mark[];
  boundAhead: number;
  acceptedAhead: number;
}

const anyLane: fc.Arbitrary<LaneState> = fc.record({
  firstUnsettled: fc.oneof(fc.nat(10), fc.nat(200_000), fc.integer({ min: 2 ** 40, max: 2 ** 41 })),
  marks: fc
    .array(fc.constantFrom<Mark>('waiting', 'settled', 'received'), { maxLength: 60 })
    .map((marks) => (marks[0] === 'settled' ? marks.slice(marks.findIndex((mark) => mark !== 'settled')) : marks))
    .map((marks) => (marks.every((mark) => mark === 'settled') ? [] : marks)),
  boundAhead: fc.nat(5000),
  acceptedAhead: fc.nat(5000),
});

/** Progress by the book, worked out without the code under test. */
function progressOf(lanes: Record<Lane, LaneState>, order: readonly number[]): SessionProgress {
  const received: { lane: Lane; from: number; to: number }[] = [];
  const laneProgress = (lane: Lane): SessionProgress['lanes'][Lane] => {
    const { firstUnsettled, marks, boundAhead } = lanes[lane];
    const settled: { from: number; to: number }[] = [];
    for (const [i, mark] of marks.entries()) {
      const offset = firstUnsettled + i;
      const last = settled.at(-1);
      if (mark === 'settled' && last?.to === offset) last.to++;
      else if (mark === 'settled') settled.push({ from: offset, to: offset + 1 });
      else if (mark === 'received') received.push({ lane, from: offset, to: offset + 1 });
    }
    return { firstUnsettled, boundOffset: firstUnsettled + marks.length + boundAhead, settled };
  };
  const progress = {
    command: laneProgress('command'),
    alert: laneProgress('alert'),
    telemetry: laneProgress('telemetry'),
  };
  const shuffled = received
    .map((run, i) => ({ run, rank: order[i % order.length]! * 1000 + i }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ run }) => run);
  const runs: typeof received = [];
  for (const run of shuffled) {
    const last = runs.at(-1);
    if (last?.lane === run.lane && last.to === run.from) last.to = run.to;
    else runs.push({ ...run });
  }
  return { lanes: progress, received: runs };
}

function newCursors(): Cursors {
  return [new LaneCursor('command'), new LaneCursor('alert'), new LaneCursor('telemetry')];
}

test('progress that is restored and stored again is the same, whatever it was', () => {
  fc.assert(
    fc.property(
      fc.record({ command: anyLane, alert: anyLane, telemetry: anyLane }),
      fc.array(fc.nat(9), { minLength: 1, maxLength: 40 }),
      (lanes, order) => {
        const progress = progressOf(lanes, order);
        const nextOffsets = { command: 0, alert: 0, telemetry: 0 };
        for (const lane of LANES) {
          const { firstUnsettled, marks, acceptedAhead } = lanes[lane];
          nextOffsets[lane] = firstUnsettled + marks.length + acceptedAhead;
        }
        const cursors = newCursors();
        const slots = new Slots();
        const exchanges = new OpenExchanges();
        const receivedCount = restoreProgress(progress, nextOffsets, cursors, slots, exchanges);
        assert.equal(exchanges.count, 0);
        assert.equal(
          receivedCount,
          progress.received.reduce((sum, run) => sum + run.to - run.from, 0),
        );
        for (const lane of LANES) {
          const cursor = cursors[laneIndex(lane)]!;
          const { firstUnsettled, marks, boundAhead } = lanes[lane];
          assert.equal(cursor.end, nextOffsets[lane]);
          assert.ok(cursor.sentHigh <= Math.max(nextOffsets[lane], firstUnsettled));
          assert.ok(cursor.sentHigh <= firstUnsettled + ID_RANGES[cursor.index]!.size);
          assert.ok(
            cursor.sentHigh >= Math.min(firstUnsettled + marks.length + boundAhead, firstUnsettled + marks.length),
          );
          for (const [i, mark] of marks.entries()) {
            const state = slots.state[cursor.idOf(firstUnsettled + i)];
            assert.equal(state, mark === 'settled' ? SETTLED : mark === 'received' ? RELEASABLE : WAITING);
          }
        }
        const again = snapshotProgress(cursors, slots, exchanges, (cursor) => progress.lanes[cursor.lane].boundOffset);
        assert.deepEqual(again, progress);
      },
    ),
    { numRuns: 500 },
  );
});

test('what is settled and received all the same is an open exchange, and is stored until it is over and that is stored', () => {
  const lanes = {
    command: { firstUnsettled: 0, boundOffset: 0, settled: [] },
    alert: { firstUnsettled: 5, boundOffset: 8, settled: [{ from: 6, to: 7 }] },
    telemetry: { firstUnsettled: 0, boundOffset: 3, settled: [] },
  };
  const received = [
    { lane: 'alert' as const, from: 3, to: 4 },
    { lane: 'alert' as const, from: 6, to: 7 },
    { lane: 'telemetry' as const, from: 1, to: 2 },
  ];
  const cursors = newCursors();
  const slots = new Slots();
  const exchanges = new OpenExchanges();
  const snapshot = () => snapshotProgress(cursors, slots, exchanges, (cursor) => lanes[cursor.lane].boundOffset);
  restoreProgress({ lanes, received }, { command: 0, alert: 9, telemetry: 9 }, cursors, slots, exchanges);
  assert.equal(exchanges.count, 2);
  assert.deepEqual(snapshot(), { lanes, received });
  const id = cursors[1].idOf(3);
  assert.equal(exchanges.complete(id), true);
  assert.deepEqual(snapshot().received, received.slice(1));
  assert.notEqual(exchanges.blockedUntilMs(id, 0), undefined, 'its end is not stored yet');
  exchanges.saving();
  exchanges.saved();
  assert.equal(exchanges.blockedUntilMs(id, 0), undefined);
});

test('the identifiers of the lanes are ranges of their own and leave out 0', () => {
  const seen = new Set<number>();
  for (const lane of LANES) {
    const cursor = new LaneCursor(lane);
    for (let offset = 0; offset < cursor.idSize; offset++) {
      const id = cursor.idOf(offset);
      assert.ok(id >= 1 && id <= 65_535 && !seen.has(id));
      seen.add(id);
      assert.equal(cursor.idAfter(id), cursor.idOf(offset + 1));
    }
    assert.equal(cursor.idOf(cursor.idSize), cursor.idOf(0));
  }
  assert.equal(seen.size, 65_535);
});
