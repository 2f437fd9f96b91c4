/** Between the slots in memory and the small form of them that is stored. */

import type { Lane } from '../core/lane.js';
import { LANES, laneIndex } from '../core/lane.js';
import type { OffsetRange } from '../core/message.js';
import type { LaneProgress, SessionProgress } from '../core/progress.js';
import type { LaneCursor } from './lane-cursor.js';
import type { OpenExchanges } from './open-exchanges.js';
import { CONDEMNED, RECEIVED, RELEASABLE, RELEASED, SETTLED, type Slots } from './slots.js';

export type Cursors = readonly [LaneCursor, LaneCursor, LaneCursor];

/**
 * The progress as it stands now. Condemned messages count as settled: they go to quarantine in the same transaction. What
 * is settled and received all the same has an open exchange.
 *
 * @param boundOf gives the bound to store for a lane: what may be sent without another commit.
 */
export function snapshotProgress(
  cursors: Cursors,
  slots: Slots,
  openExchanges: OpenExchanges,
  boundOf: (cursor: LaneCursor) => number,
): SessionProgress {
  const received: { lane: Lane; offset: number; order: number }[] = [];
  const laneProgress = (cursor: LaneCursor): LaneProgress => {
    const settled: OffsetRange[] = [];
    let open: { from: number; to: number } | undefined;
    let firstUnsettled: number | undefined;
    const limit = Math.max(cursor.next, cursor.sentHigh);
    let id = cursor.headId;
    for (let offset = cursor.head; offset < limit; offset++, id = cursor.idAfter(id)) {
      const state = slots.state[id]!;
      if (state === SETTLED || state === CONDEMNED) {
        if (firstUnsettled === undefined) continue;
        if (open === undefined) {
          open = { from: offset, to: offset + 1 };
          settled.push(open);
        } else open.to = offset + 1;
        continue;
      }
      firstUnsettled ??= offset;
      open = undefined;
      if (state === RECEIVED || state === RELEASABLE || state === RELEASED) {
        received.push({ lane: cursor.lane, offset, order: slots.receivedOrder[id]! });
      }
    }
    const head = firstUnsettled ?? Math.max(limit, cursor.head);
    return { firstUnsettled: head, boundOffset: Math.max(head, boundOf(cursor)), settled };
  };
  const lanes = {
    command: laneProgress(cursors[0]),
    alert: laneProgress(cursors[1]),
    telemetry: laneProgress(cursors[2]),
  };
  received.sort((a, b) => a.order - b.order);
  const runs: { lane: Lane; from: number; to: number }[] = [];
  for (const { lane, offset } of openExchanges.messages) runs.push({ lane, from: offset, to: offset + 1 });
  for (const { lane, offset } of received) {
    const last = runs[runs.length - 1];
    if (last !== undefined && last.lane === lane && last.to === offset) last.to = offset + 1;
    else runs.push({ lane, from: offset, to: offset + 1 });
  }
  return { lanes, received: runs };
}

/** Puts stored progress back into empty slots. Gives the number of PUBRECs, which continues their order. */
export function restoreProgress(
  progress: SessionProgress,
  nextOffsets: Readonly<Record<Lane, number>>,
  cursors: Cursors,
  slots: Slots,
  openExchanges: OpenExchanges,
): number {
  for (const lane of LANES) {
    const cursor = cursors[laneIndex(lane)]!;
    const stored = progress.lanes[lane];
    cursor.setHead(stored.firstUnsettled);
    cursor.end = nextOffsets[lane];
    cursor.durableHead = stored.firstUnsettled;
    cursor.durableBound = stored.boundOffset;
    // The bound runs ahead of what was sent. What is accepted from now on was certainly not, and neither was anything
    // whose packet identifier still belonged to another message: two offsets must never share a slot.
    const sentLimit = Math.min(stored.boundOffset, nextOffsets[lane], stored.firstUnsettled + cursor.idSize);
    cursor.sentHigh = Math.max(stored.firstUnsettled, sentLimit);
    cursor.rewindTo(stored.firstUnsettled);
    for (const range of stored.settled) {
      for (let offset = range.from; offset < range.to; offset++) slots.state[cursor.idOf(offset)] = SETTLED;
      cursor.sentHigh = Math.max(cursor.sentHigh, range.to);
    }
  }
  let order = 0;
  for (const run of progress.received) {
    const cursor = cursors[laneIndex(run.lane)]!;
    for (let offset = run.from; offset < run.to; offset++) {
      const id = cursor.idOf(offset);
      if (offset < cursor.head || slots.state[id] === SETTLED) {
        openExchanges.add(id, run.lane, offset);
        // What has this identifier next was not sent: it waits for the end of the exchange.
        cursor.sentHigh = Math.max(cursor.head, Math.min(cursor.sentHigh, offset + cursor.idSize));
        continue;
      }
      slots.state[id] = RELEASABLE;
      slots.qos[id] = 2;
      slots.isHeld[id] = 1;
      slots.receivedOrder[id] = order++;
    }
    cursor.sentHigh = Math.max(cursor.sentHigh, run.to);
  }
  // Whatever was sent may have been sent in the session that the broker still has.
  for (const cursor of cursors) {
    cursor.sessionHigh = cursor.sentHigh;
    cursor.sentAtSave = cursor.sentHigh;
  }
  return order;
}
