/**
 * A cache in memory that keeps the contract of `cache/store.ts`. What is in it survives a crash; each commit is one
 * transaction and is checked: progress never goes back, and nothing is settled without a reason.
 */
import type { Batch, QuarantineReason, SessionIdentity, SessionProgress } from '../../src/cache/store.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import type { Message } from '../../src/core/message.js';
import { BatchBuilder } from '../../src/core/record.js';
import type { SessionSave, StoredSession } from '../../src/session/ledger.js';
import { type Key, keyOf } from './key.js';

export class ModelCache {
  progress: SessionProgress;
  identity: SessionIdentity | undefined;
  readonly nextOffsets: Record<Lane, number>;
  readonly quarantine = new Map<Key, QuarantineReason>();
  readonly dropped = new Set<Key>();
  /** For each message whose PUBREC was ever stored, its place in the order of the PUBRECs. */
  readonly receivedOrder = new Map<Key, number>();
  commitCount = 0;
  #epoch = 0;
  #nextOrder = 0;
  readonly #batches: Record<Lane, Batch[]> = { command: [], alert: [], telemetry: [] };
  /** Up to where each lane was read: what was read is lent and is not dropped any more. */
  readonly #readTo: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };
  readonly #justifies: (lane: Lane, offset: number) => boolean;

  /** @param justifies whether a message that is now settled was delivered, or needed not be. */
  constructor(firstOffset: number, justifies: (lane: Lane, offset: number) => boolean) {
    const lane = (): SessionProgress['lanes'][Lane] => ({
      firstUnsettled: firstOffset,
      boundOffset: firstOffset,
      settled: [],
    });
    this.progress = { lanes: { command: lane(), alert: lane(), telemetry: lane() }, received: [] };
    this.nextOffsets = { command: firstOffset, alert: firstOffset, telemetry: firstOffset };
    this.#justifies = justifies;
  }

  /** What a process finds when it starts. */
  stored(): StoredSession {
    return structuredClone({
      progress: this.progress,
      identity: this.identity,
      nextOffsets: this.nextOffsets,
    });
  }

  append(lane: Lane, messages: readonly Message[], acceptedAtMs: number): { from: number; to: number } {
    const builder = new BatchBuilder(256);
    for (const message of messages) builder.push(message);
    const from = this.nextOffsets[lane];
    const data = builder.finish();
    this.#batches[lane].push({ lane, firstOffset: from, count: messages.length, acceptedAtMs, data });
    this.nextOffsets[lane] = from + messages.length;
    return { from, to: from + messages.length };
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

  isSettled(lane: Lane, offset: number): boolean {
    const { firstUnsettled, settled } = this.progress.lanes[lane];
    return offset < firstUnsettled || settled.some((range) => offset >= range.from && offset < range.to);
  }

  isReceived(lane: Lane, offset: number): boolean {
    return this.progress.received.some((run) => run.lane === lane && offset >= run.from && offset < run.to);
  }

  /**
   * Stores a save, and gives what is wrong with it.
   *
   * @param epoch counts the sessions of the broker: a new one begins a new order of PUBRECs.
   */
  commit(save: SessionSave, epoch: number): string[] {
    const problems: string[] = [];
    if (epoch !== this.#epoch) this.receivedOrder.clear();
    this.#epoch = epoch;
    const former = this.progress;
    this.commitCount++;
    for (const { lane, offset, code, reason } of save.quarantine) {
      const key = keyOf(lane, offset);
      if (this.quarantine.has(key)) problems.push(`${key} goes to quarantine twice.`);
      if (this.isSettled(lane, offset)) problems.push(`${key} goes to quarantine although it is settled.`);
      this.quarantine.set(key, { code, reason });
    }
    const wasSettled = (lane: Lane, offset: number): boolean => this.isSettled(lane, offset);
    const settledNow: { lane: Lane; offset: number }[] = [];
    for (const lane of LANES) {
      const now = save.progress.lanes[lane];
      const then = former.lanes[lane];
      if (now.firstUnsettled < then.firstUnsettled) problems.push(`The head of ${lane} goes back.`);
      if (now.firstUnsettled > this.nextOffsets[lane])
        problems.push(`The head of ${lane} is beyond what was accepted.`);
      if (now.boundOffset < now.firstUnsettled) problems.push(`The bound of ${lane} is below its head.`);
      let last = now.firstUnsettled;
      for (const { from, to } of now.settled) {
        if (from <= last || to <= from) problems.push(`The settled ranges of ${lane} are not in order.`);
        if (to > this.nextOffsets[lane]) problems.push(`A range of ${lane} is settled beyond what was accepted.`);
        last = to;
        for (let offset = from; offset < to; offset++) if (!wasSettled(lane, offset)) settledNow.push({ lane, offset });
      }
      for (let offset = then.firstUnsettled; offset < now.firstUnsettled; offset++) {
        if (!wasSettled(lane, offset)) settledNow.push({ lane, offset });
      }
    }
    this.progress = structuredClone(save.progress);
    if (save.identity !== undefined) this.identity = save.identity ?? undefined;
    for (const lane of LANES) {
      for (const range of former.lanes[lane].settled) {
        for (let offset = range.from; offset < range.to; offset++) {
          if (!this.isSettled(lane, offset)) problems.push(`${keyOf(lane, offset)} is not settled any more.`);
        }
      }
      const head = this.progress.lanes[lane].firstUnsettled;
      const batches = this.#batches[lane];
      while (batches[0] !== undefined && batches[0].firstOffset + batches[0].count <= head) batches.shift();
    }
    for (const { lane, offset } of settledNow) {
      const key = keyOf(lane, offset);
      if (!this.quarantine.has(key) && !this.dropped.has(key) && !this.#justifies(lane, offset)) {
        problems.push(`${key} is settled, but nobody has it.`);
      }
    }
    this.#checkReceived(problems);
    return problems;
  }

  #checkReceived(problems: string[]): void {
    let last = -1;
    for (const run of this.progress.received) {
      for (let offset = run.from; offset < run.to; offset++) {
        const key = keyOf(run.lane, offset);
        if (this.isSettled(run.lane, offset)) problems.push(`${key} is received and settled.`);
        let order = this.receivedOrder.get(key);
        if (order === undefined) {
          order = this.#nextOrder++;
          this.receivedOrder.set(key, order);
        }
        if (order < last) problems.push(`The order of the PUBRECs has changed at ${key}.`);
        last = order;
      }
    }
  }
}
