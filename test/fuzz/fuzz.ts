/**
 * The driver of all fuzz targets: cases from a seed, the smallest one that fails, and how often each outcome came.
 *
 * Cases come in batches, each with a seed of its own, the first with the one that was given; a failure names the seed of
 * its batch, so that it is found again without running the batches before it. A case is plain JSON. What the shrinker
 * leaves of a failing one goes to `kept-cases/` as it is printed, and is a test from then on.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';

/** Something under attack, opened and ready. */
export interface FuzzSubject<C> {
  readonly cases: fc.Arbitrary<C>;
  /** Tries one case and gives a word for what became of it. Throws when a promise of the product is broken. */
  check(fuzzCase: C): string | Promise<string>;
  /** Called after every batch: checks what only many cases together can show, and begins anew where that is needed. */
  rest?(): void | Promise<void>;
  close?(): Promise<void>;
}

export interface FuzzTarget<C> {
  readonly name: string;
  open(): FuzzSubject<C> | Promise<FuzzSubject<C>>;
}

export interface FuzzOptions {
  cases: number;
  seed: number;
  /** Told before each step, so that one that never ends has left behind what it is. */
  onStep?: (step: FuzzStep) => void;
}

/** `index` counts from 0 within its batch. After a failure come the tries to make the case smaller. */
export type FuzzStep =
  | { kind: 'open' | 'close' }
  | { kind: 'batch'; seed: number; casesDone: number }
  | { kind: 'case'; seed: number; index: number; isShrinking: boolean }
  | { kind: 'rest'; seed: number };

export interface FuzzReport {
  target: string;
  cases: number;
  seed: number;
  elapsedMs: number;
  outcomes: Readonly<Record<string, number>>;
}

export const BATCH_CASES = 1000;

/** Longest time for one case. Each takes a few milliseconds; one that takes this long hangs. */
export const CASE_MAX_MS = 20_000;
/** After the first failure, so many more tries are spent on making the case smaller. */
const SHRINK_TRIES_MAX = 3000;

/** A case that broke a promise, with all that is needed to see it again. */
export class FuzzFailure extends Error {
  readonly fuzzCase: unknown;

  constructor(
    target: string,
    details: { seed: number; index: number; path: string; fuzzCase: unknown; cause: unknown },
  ) {
    const { seed, index, path, fuzzCase, cause } = details;
    const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    super(
      `Case ${index} of seed ${seed} fails (path ${path}). ${caseNotes(target, seed, index, fuzzCase)}\n${shorten(reason)}`,
      { cause },
    );
    this.name = 'FuzzFailure';
    this.fuzzCase = fuzzCase;
  }
}

const SHOWN_CHARS = 4000;

function shorten(text: string): string {
  return text.length <= SHOWN_CHARS ? text : `${text.slice(0, SHOWN_CHARS)} … (${text.length} characters)`;
}

/** How to see a case again, and how to keep it. */
export function caseNotes(target: string, seed: number, index: number, fuzzCase: unknown): string {
  return (
    `To see it again:\n  npm run fuzz -- --target ${target} --seed ${seed} --cases ${BATCH_CASES}\n` +
    `To keep it, add it to test/fuzz/kept-cases/${target}.json under a name that says what was wrong:\n` +
    shownCase(fuzzCase, `${target}-${seed}-${index}.json`)
  );
}

/** The case with this number of a batch, as the batch makes it. */
export async function caseAt<C>(target: FuzzTarget<C>, seed: number, index: number): Promise<C> {
  const subject = await target.open();
  try {
    const fuzzCase = fc.sample(subject.cases, { seed, numRuns: index + 1 }).at(-1);
    if (fuzzCase === undefined) throw new Error(`There is no case ${index}.`);
    return fuzzCase;
  } finally {
    await subject.close?.();
  }
}

/** A case as JSON; a long one goes to a file, and its name is given. */
function shownCase(fuzzCase: unknown, fileName: string): string {
  const text = JSON.stringify(fuzzCase);
  if (text.length <= SHOWN_CHARS) return text;
  const file = join('build', 'fuzz', fileName);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  return `It is in ${file}, because it has ${text.length} characters.`;
}

/** Tries so many cases. Rejects with a FuzzFailure at the first one that breaks a promise. */
export async function fuzz<C>(target: FuzzTarget<C>, options: FuzzOptions): Promise<FuzzReport> {
  const startMs = performance.now();
  const outcomes: Record<string, number> = {};
  const { onStep = () => undefined } = options;
  onStep({ kind: 'open' });
  const subject = await target.open();
  try {
    for (let done = 0, seed = options.seed; done < options.cases; done += BATCH_CASES, seed++) {
      onStep({ kind: 'batch', seed, casesDone: done });
      const cases = Math.min(BATCH_CASES, options.cases - done);
      await runBatch(target.name, subject, { seed, cases, outcomes, onStep });
      onStep({ kind: 'rest', seed });
      await subject.rest?.();
    }
  } finally {
    onStep({ kind: 'close' });
    await subject.close?.();
  }
  const { cases, seed } = options;
  return { target: target.name, cases, seed, elapsedMs: performance.now() - startMs, outcomes };
}

/** Tries one case, such as one that was kept. */
export async function fuzzOne<C>(target: FuzzTarget<C>, fuzzCase: C): Promise<void> {
  const subject = await target.open();
  try {
    await timed(subject, fuzzCase);
    await subject.rest?.();
  } finally {
    await subject.close?.();
  }
}

/** The cases were of all these kinds: a generator that has gone astray would find nothing for ever. */
export function assertReached(report: FuzzReport, outcomes: readonly string[]): void {
  const missing = outcomes.filter((outcome) => report.outcomes[outcome] === undefined);
  assert.deepEqual(missing, [], `no case of ${report.target} ended so; there were ${JSON.stringify(report.outcomes)}`);
}

async function timed<C>(subject: FuzzSubject<C>, fuzzCase: C): Promise<string> {
  const startMs = performance.now();
  const outcome = await subject.check(fuzzCase);
  const tookMs = performance.now() - startMs;
  if (tookMs > CASE_MAX_MS) throw new Error(`The case took ${Math.round(tookMs)} ms.`);
  return outcome;
}

async function runBatch<C>(
  name: string,
  subject: FuzzSubject<C>,
  batch: { seed: number; cases: number; outcomes: Record<string, number>; onStep: (step: FuzzStep) => void },
): Promise<void> {
  let triesLeft = SHRINK_TRIES_MAX;
  let hasFailed = false;
  let index = 0;
  const property = fc.asyncProperty(subject.cases, async (fuzzCase) => {
    if (hasFailed && triesLeft-- <= 0) return;
    batch.onStep({ kind: 'case', seed: batch.seed, index, isShrinking: hasFailed });
    try {
      const outcome = await timed(subject, fuzzCase);
      if (hasFailed) return;
      batch.outcomes[outcome] = (batch.outcomes[outcome] ?? 0) + 1;
      index++;
    } catch (error) {
      hasFailed = true;
      throw error;
    }
  });
  const details = await fc.check(property, { seed: batch.seed, numRuns: batch.cases });
  if (!details.failed) return;
  throw new FuzzFailure(name, {
    seed: batch.seed,
    index: details.numRuns - 1,
    path: details.counterexamplePath ?? '',
    fuzzCase: details.counterexample?.[0],
    cause: details.errorInstance,
  });
}
