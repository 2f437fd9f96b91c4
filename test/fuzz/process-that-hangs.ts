// A target of which one case never ends: in a loop that lets nothing else run, in a promise that nobody resolves, or
// while a failing case is made smaller; or ends the whole process. Its cases are numbers.
import fc from 'fast-check';
import type { FuzzTarget } from './fuzz.js';
import { runTargetProcess } from './target-process.js';
import { entry } from './targets.js';

/** About one in thirty cases is so large, so that some come before it. */
const LARGE = 970;

function hanging(name: string, hang: (number: number) => Promise<void> | undefined): FuzzTarget<number> {
  return {
    name,
    open: () => ({
      cases: fc.noBias(fc.nat(999)),
      async check(number) {
        await hang(number);
        return 'ended';
      },
    }),
  };
}

function loopForever(): never {
  for (;;);
}

/** Where nobody can catch it. */
function failLater(): Promise<void> {
  return new Promise(() =>
    setImmediate(() => {
      throw new Error('too large');
    }),
  );
}

await runTargetProcess({
  right: entry(hanging('right', () => undefined)),
  wrong: entry(
    hanging('wrong', (number) => {
      if (number >= LARGE) throw new Error('too large');
      return undefined;
    }),
  ),
  loop: entry(hanging('loop', (number) => (number >= LARGE ? loopForever() : undefined))),
  promise: entry(
    hanging('promise', (number) => (number >= LARGE ? new Promise(() => setInterval(() => 0, 1000)) : undefined)),
  ),
  error: entry(hanging('error', (number) => (number >= LARGE ? failLater() : undefined))),
  nothing: entry(hanging('nothing', (number) => (number >= LARGE ? new Promise(() => undefined) : undefined))),
  exit: entry(hanging('exit', (number) => (number >= LARGE ? process.exit(0) : undefined))),
  smaller: entry(
    hanging('smaller', (number) => {
      if (number >= LARGE) throw new Error('too large');
      // The first that is tried when a number is made smaller, and rare before that.
      return number === 0 ? loopForever() : undefined;
    }),
  ),
});
