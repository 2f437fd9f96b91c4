/**
 * What is on stable storage of a session, written down beside the store that holds it, and checked with every commit:
 * progress never goes back, and nothing is settled without a reason.
 */
import type { QuarantineReason, SessionIdentity, SessionProgress } from '../../src/cache/store.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import type { SessionSave } from '../../src/session/saving.js';
import { type Key, keyOf } from './key.js';

export class StoredProgress {
  progress: SessionProgress;
  identity: SessionIdentity | undefined;
  readonly nextOffsets: Record<Lane, number>;
  /** All that ever went there. */
  readonly quarantine = new Map<Key, QuarantineReason>();
  /** What is there now, with the time of its entry, which a clock that was set back may have lowered. */
  readonly quarantined = new Map<Key, number>();
  readonly dropped = new Set<Key>();
  /** For each message whose PUBREC was ever stored, its place in the order of the PUBRECs. */
  readonly receivedOrder = new Map<Key, number>();
  commitCount = 0;
  /** Some broker has taken less than QoS 2: what went out at QoS 2 before may be settled while its exchange is open. */
  isQosLowered = false;
  #epoch = 0;
  #nextOrder = 0;
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

  /** A copy as it stands now, which is judged by other reasons. */
  copy(justifies: (lane: Lane, offset: number) => boolean): StoredProgress {
    const copy = new StoredProgress(0, justifies);
    copy.progress = this.progress;
    copy.identity = this.identity;
    Object.assign(copy.nextOffsets, this.nextOffsets);
    for (const [key, reason] of this.quarantine) copy.quarantine.set(key, reason);
    for (const [key, atMs] of this.quarantined) copy.quarantined.set(key, atMs);
    for (const key of this.dropped) copy.dropped.add(key);
    for (const [key, order] of this.receivedOrder) copy.receivedOrder.set(key, order);
    copy.isQosLowered = this.isQosLowered;
    copy.#epoch = this.#epoch;
    copy.#nextOrder = this.#nextOrder;
    return copy;
  }

  isSettled(lane: Lane, offset: number): boolean {
    const { firstUnsettled, settled } = this.progress.lanes[lane];
    return offset < firstUnsettled || settled.some((range) => offset >= range.from && offset < range.to);
  }

  isReceived(lane: Lane, offset: number): boolean {
    return this.progress.received.some((run) => run.lane === lane && offset >= run.from && offset < run.to);
  }

  /** Whether the exchange of this message may be open although the message is done. */
  isLeftOpen(lane: Lane, offset: number): boolean {
    if (this.quarantine.has(keyOf(lane, offset))) return true;
    return this.isQosLowered && this.isReceived(lane, offset) && this.isSettled(lane, offset);
  }

  /** Nothing that was accepted waits any more. */
  get isAllSettled(): boolean {
    return LANES.every((lane) => this.progress.lanes[lane].firstUnsettled === this.nextOffsets[lane]);
  }

  /** Messages of a lane that wait: neither settled nor dropped nor in quarantine. */
  waitingCount(lane: Lane): number {
    let count = 0;
    for (let offset = this.progress.lanes[lane].firstUnsettled; offset < this.nextOffsets[lane]; offset++) {
      const key = keyOf(lane, offset);
      if (!this.isSettled(lane, offset) && !this.dropped.has(key) && !this.quarantine.has(key)) count++;
    }
    return count;
  }

  /**
   * Notes a save that is stored, and gives what is wrong with it.
   *
   * @param epoch counts the sessions of the broker: a new one begins a new order of PUBRECs.
   */
  commit(save: SessionSave & { atMs?: number }, epoch: number): string[] {
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
      this.quarantined.set(key, Math.trunc(save.atMs ?? 0));
    }
    const settledNow = this.#compare(former, save.progress, problems);
    this.progress = save.progress;
    if (save.identity !== undefined) this.identity = save.identity ?? undefined;
    for (const lane of LANES) {
      for (const range of former.lanes[lane].settled) {
        for (let offset = range.from; offset < range.to; offset++) {
          if (!this.isSettled(lane, offset)) problems.push(`${keyOf(lane, offset)} is not settled any more.`);
        }
      }
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

  /** Gives what is settled now and was not before. */
  #compare(former: SessionProgress, next: SessionProgress, problems: string[]): { lane: Lane; offset: number }[] {
    const settledNow: { lane: Lane; offset: number }[] = [];
    for (const lane of LANES) {
      const now = next.lanes[lane];
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
        for (let offset = from; offset < to; offset++) {
          if (!this.isSettled(lane, offset)) settledNow.push({ lane, offset });
        }
      }
      for (let offset = then.firstUnsettled; offset < now.firstUnsettled; offset++) {
        if (!this.isSettled(lane, offset)) settledNow.push({ lane, offset });
      }
    }
    return settledNow;
  }

  #checkReceived(problems: string[]): void {
    let last = -1;
    for (const run of this.progress.received) {
      for (let offset = run.from; offset < run.to; offset++) {
        const key = keyOf(run.lane, offset);
        if (this.isSettled(run.lane, offset)) {
          // An exchange that is still open keeps its place here, so that its identifier is not used after a crash.
          if (!this.isLeftOpen(run.lane, offset))
            problems.push(`${key} is received and settled, and not in quarantine.`);
          continue;
        }
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
