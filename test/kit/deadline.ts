/** Waiting for conditions instead of sleeping: a test goes on as soon as it can, and says what it saw when it cannot. */
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';

const POLL_FIRST_MS = 2;
const POLL_LAST_MS = 50;

/**
 * Asks `condition` again and again until it gives something truthy, and resolves with that. A condition that throws,
 * because an assertion in it fails, counts as not yet met. At the deadline it fails with `describe` and with what the
 * condition last gave or threw.
 */
export async function eventually<T>(
  condition: () => T | Promise<T>,
  describe: string | (() => string),
  timeoutMs = 10_000,
): Promise<Exclude<T, false | undefined | null | 0 | ''>> {
  const deadlineMs = performance.now() + timeoutMs;
  let pollMs = POLL_FIRST_MS;
  for (;;) {
    let last: string;
    try {
      const value = await condition();
      // Truthiness is exactly what the excluded types lack; the compiler cannot conclude that for an open T.
      if (value) return value as Exclude<T, false | undefined | null | 0 | ''>;
      last = inspect(value);
    } catch (error) {
      last = error instanceof Error ? error.message : inspect(error);
    }
    if (performance.now() >= deadlineMs) {
      const what = typeof describe === 'string' ? describe : describe();
      throw new Error(`Waited ${timeoutMs} ms for: ${what}. Last seen: ${last}`);
    }
    await delay(pollMs);
    pollMs = Math.min(pollMs * 2, POLL_LAST_MS);
  }
}

/** The promise's own result, or a failure that says what did not come within the time. */
export async function within<T>(
  promise: Promise<T>,
  describe: string | (() => string),
  timeoutMs = 10_000,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`Waited ${timeoutMs} ms for: ${typeof describe === 'string' ? describe : describe()}`));
    }, timeoutMs);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
