/**
 * A cache in memory for a session alone, that keeps the contract of `cache/store.ts`. What is in it survives a crash; each
 * commit is one transaction and is checked.
 */
import type { Batch } from '../../src/cache/store.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import type { Message } from '../../src/core/message.js';
import { BatchBuilder } from '../../src/core/record.js';
import type { StoredSession } from '../../src/session/ledger.js';
import type { SessionSave } from '../../src/session/saving.js';
import { keyOf } from '../simulation/key.js';
import { StoredProgress } from '../simulation/stored-progress.js';

export class ModelCache extends StoredProgress {
  readonly #batches: Record<Lane, Batch[]> = { command: [], alert: [], telemetry: [] };
  /** Up to where each lane was read: what was read is lent and is not dropped any more. */
  readonly #readTo: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };

  /** What a process finds when it starts. */
  stored(): StoredSession {
    return structuredClone({
      progress: this.progress,
      identity: this.identity,
      nextOffsets: this.nextOffsets,
    });
  }

  append(lane: Lane, messages: readonly Message[], acceptedAtMs: number): { to: number; batch: Batch } {
    const builder = new BatchBuilder(256);
    for (const message of messages) builder.push(message);
    const from = this.nextOffsets[lane];
    const batch: Batch = { lane, firstOffset: from, count: messages.length, acceptedAtMs, data: builder.finish() };
    this.#batches[lane].push(batch);
    this.nextOffsets[lane] = from + messages.length;
    return { to: from + messages.length, batch };
  }

  read(lane: Lane, fromOffset: number, sizeBytesMax: number): Batch[] {
    const batches: Batch[] = [];
    let size = 0;
    for (const batch of this.#batches[lane]) {
      if (batch.firstOffset + batch.count <= fromOffset) continue;
      size += batch.data.length;
      if (batches.length > 0 && size > sizeBytesMax) break;
      batches.push(batch);
      this.#readTo[lane] = batch.firstOffset + batch.count;
    }
    return batches;
  }

  /** Drops the oldest batch of telemetry that was neither read nor can have been sent, when there is one. */
  dropOldest(): void {
    const { boundOffset } = this.progress.lanes.telemetry;
    const batches = this.#batches.telemetry;
    const at = batches.findIndex(
      ({ firstOffset }) => firstOffset >= boundOffset && firstOffset >= this.#readTo.telemetry,
    );
    const [batch] = at < 0 ? [] : batches.splice(at, 1);
    if (batch === undefined) return;
    for (let i = 0; i < batch.count; i++) this.dropped.add(keyOf('telemetry', batch.firstOffset + i));
  }

  /** The batches of a lane that hold any of these offsets are damaged beyond reading. */
  damage(lane: Lane, from: number, to: number): void {
    const isHit = ({ firstOffset, count }: Batch): boolean => firstOffset < to && firstOffset + count > from;
    for (const { firstOffset, count } of this.#batches[lane].filter(isHit)) {
      for (let i = 0; i < count; i++) this.dropped.add(keyOf(lane, firstOffset + i));
    }
    this.#batches[lane] = this.#batches[lane].filter((batch) => !isHit(batch));
  }

  /** A new process has read nothing yet. */
  restart(): void {
    for (const lane of LANES) this.#readTo[lane] = 0;
  }

  override commit(save: SessionSave, epoch: number): string[] {
    const problems = super.commit({ ...save, progress: structuredClone(save.progress) }, epoch);
    for (const lane of LANES) {
      const head = this.progress.lanes[lane].firstUnsettled;
      const batches = this.#batches[lane];
      while (batches[0] !== undefined && batches[0].firstOffset + batches[0].count <= head) batches.shift();
    }
    return problems;
  }
}
