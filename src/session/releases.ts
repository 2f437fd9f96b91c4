/** Sends PUBRELs: for messages whose PUBREC is stored, for exchanges that are left open, and for what nobody knows. */
import { writePubrel } from '../wire/control-packets.js';
import type { Ledger } from './ledger.js';
import type { Output } from './output.js';
import { CONDEMNED, RELEASABLE } from './slots.js';

/** With a reason code [MQTT 5.0 §3.6]. */
const PUBREL_SIZE_MAX_BYTES = 5;

export class Releases {
  readonly #ledger: Ledger;
  readonly #output: Output;

  constructor(ledger: Ledger, output: Output) {
    this.#ledger = ledger;
    this.#output = output;
  }

  /** @param underWayMax so many PUBRELs may be unanswered: one of them may be what the broker cannot bear. */
  send(nowMs: number, underWayMax: number): void {
    const ledger = this.#ledger;
    const isSearching = underWayMax !== Number.POSITIVE_INFINITY;
    if (isSearching && ledger.openExchanges.pendingUntilMs(nowMs) !== undefined) {
      this.#endExchanges(nowMs);
      return;
    }
    const due = ledger.releasable;
    let done = 0;
    for (; done < due.length && this.#output.isWritable && ledger.releasedCount < underWayMax; done++) {
      const id = due[done]!;
      if (ledger.slots.state[id] !== RELEASABLE) continue;
      this.#write(id, 0, nowMs);
      ledger.released(id, nowMs);
    }
    if (done > 0) ledger.releasable = done === due.length ? [] : due.slice(done);
    if (ledger.openExchanges.count > 0) this.#endExchanges(nowMs);
  }

  /** Answers a PUBREC that belongs to nothing, so that the broker forgets its identifier. */
  sendUnknown(id: number, reasonCode: number, nowMs: number): void {
    // A broker that reads nothing gets no answers piled up; the connection ends when that lasts.
    if (this.#output.isWritable) this.#write(id, reasonCode, nowMs);
  }

  #endExchanges(nowMs: number): void {
    const { openExchanges, slots } = this.#ledger;
    const release = (id: number): boolean => {
      if (!this.#output.isWritable) return false;
      this.#write(id, 0, nowMs);
      return true;
    };
    openExchanges.release((id) => slots.state[id] !== CONDEMNED, release, nowMs);
  }

  #write(id: number, reasonCode: number, nowMs: number): void {
    this.#output.reserve(PUBREL_SIZE_MAX_BYTES, nowMs);
    this.#output.size = writePubrel(this.#output.buffer, this.#output.size, id, reasonCode);
  }
}
