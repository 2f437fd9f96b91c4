/** A bucket of tokens that fills at a steady rate. Zero means no limit. */
export class RateLimit {
  readonly #messagesPerSecond: number;
  readonly #bytesPerSecond: number;
  #messages: number;
  #bytes: number;
  #filledAtMs: number | undefined;

  constructor(messagesPerSecond: number, bytesPerSecond: number) {
    this.#messagesPerSecond = messagesPerSecond;
    this.#bytesPerSecond = bytesPerSecond;
    // A fifth of a second's worth at once: enough to keep the socket busy between two looks, too little for a burst
    // that a platform would punish.
    this.#messages = Math.max(1, messagesPerSecond / 5);
    this.#bytes = Math.max(1, bytesPerSecond / 5);
  }

  get isLimited(): boolean {
    return this.#messagesPerSecond > 0 || this.#bytesPerSecond > 0;
  }

  /** Adds the tokens that have come since the last call. */
  fill(nowMs: number): void {
    const passedMs = nowMs - (this.#filledAtMs ?? nowMs);
    this.#filledAtMs = nowMs;
    const rate = this.#messagesPerSecond;
    this.#messages = Math.min(Math.max(1, rate / 5), this.#messages + (passedMs * rate) / 1000);
    const bytes = this.#bytesPerSecond;
    this.#bytes = Math.min(Math.max(1, bytes / 5), this.#bytes + (passedMs * bytes) / 1000);
  }

  /** Milliseconds until one more message may go; 0 when it may now. A large message borrows from the future. */
  waitMs(): number {
    const messages = this.#messagesPerSecond > 0 ? (missing(this.#messages) * 1000) / this.#messagesPerSecond : 0;
    const bytes = this.#bytesPerSecond > 0 ? (missing(this.#bytes) * 1000) / this.#bytesPerSecond : 0;
    return Math.max(messages, bytes);
  }

  take(sizeBytes: number): void {
    if (this.#messagesPerSecond > 0) this.#messages -= 1;
    if (this.#bytesPerSecond > 0) this.#bytes -= sizeBytes;
  }
}

/** What a bucket lacks for one more. A remainder of rounding is no lack: nobody can wait for it. */
function missing(tokens: number): number {
  return tokens > 1 - 1e-6 ? 0 : 1 - tokens;
}
