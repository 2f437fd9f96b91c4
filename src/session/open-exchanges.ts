/**
 * Identifiers of messages that went to quarantine in the middle of a QoS 2 exchange. The broker may hold them, and would
 * take another message with the same identifier for the former one; so each exchange is ended with a PUBREL first, and its
 * identifier is not used before the PUBCOMP has come.
 */

/** A broker that does not answer the PUBREL for so long has no such exchange. */
const PUBREL_TIMEOUT_MS = 30_000;

const NOT_RELEASED = Number.NEGATIVE_INFINITY;

export class OpenExchanges {
  /** When the PUBREL went out on this connection. */
  readonly #releasedMs = new Map<number, number>();

  get count(): number {
    return this.#releasedMs.size;
  }

  add(id: number): void {
    this.#releasedMs.set(id, NOT_RELEASED);
  }

  /** A new connection; a broker that has lost its session holds nothing. */
  resume(sessionKept: boolean): void {
    if (!sessionKept) this.#releasedMs.clear();
    for (const id of this.#releasedMs.keys()) this.#releasedMs.set(id, NOT_RELEASED);
  }

  /** Calls `release` for those whose PUBREL is due, until it gives false; `isStored` tells what is in quarantine on disk. */
  release(isStored: (id: number) => boolean, release: (id: number) => boolean, nowMs: number): void {
    for (const [id, releasedMs] of this.#releasedMs) {
      // The next process would otherwise send the message again, and it would arrive twice.
      if (releasedMs !== NOT_RELEASED || !isStored(id)) continue;
      if (!release(id)) return;
      this.#releasedMs.set(id, nowMs);
    }
  }

  /** A PUBCOMP has come; gives true when it was for one of these. */
  complete(id: number): boolean {
    return this.#releasedMs.delete(id);
  }

  /** Until when the identifier must not be used; undefined: it is free. */
  blockedUntilMs(id: number, nowMs: number): number | undefined {
    const releasedMs = this.#releasedMs.get(id);
    if (releasedMs === undefined) return undefined;
    if (releasedMs === NOT_RELEASED) return Number.POSITIVE_INFINITY;
    if (nowMs < releasedMs + PUBREL_TIMEOUT_MS) return releasedMs + PUBREL_TIMEOUT_MS;
    this.#releasedMs.delete(id);
    return undefined;
  }
}
