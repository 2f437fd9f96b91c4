/**
 * Time as an argument, so that a test drives it. `wallMs` is for timestamps that people and files see and may jump;
 * everything that waits or measures uses `monotonicMs`.
 */
export interface Clock {
  /** Milliseconds since 1970-01-01 UTC; may jump in both directions. */
  wallMs(): number;
  /** Milliseconds since some fixed point; never goes backwards. */
  monotonicMs(): number;
  /** Calls `callback` once after `delayMs`. The returned function cancels it and may be called at any time. */
  schedule(delayMs: number, callback: () => void): () => void;
}

/** The machine's own clock. Its timers do not keep the process alive on their own when `unref` is true. */
export function systemClock(options: { unref?: boolean } = {}): Clock {
  return {
    wallMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    schedule(delayMs, callback) {
      const timer = setTimeout(callback, delayMs);
      if (options.unref === true) timer.unref();
      return () => clearTimeout(timer);
    },
  };
}
