/** What the self-test looked at, what it found there, and what that means for the plant. */

/** WARN: it works, and something should be known. FAIL: a guarantee does not hold here. */
export type Verdict = 'PASS' | 'WARN' | 'FAIL';

export interface Check {
  /** What was looked at, in one or two words. */
  name: string;
  verdict: Verdict;
  /** The facts and figures. */
  found: string;
  /** What they mean for somebody's data. */
  meaning: string;
  /** What to do; undefined where there is nothing to do. */
  remedy: string | undefined;
}

export function passed(name: string, found: string, meaning: string): Check {
  return { name, verdict: 'PASS', found, meaning, remedy: undefined };
}

export function warned(name: string, found: string, meaning: string, remedy: string): Check {
  return { name, verdict: 'WARN', found, meaning, remedy };
}

export function failed(name: string, found: string, meaning: string, remedy: string): Check {
  return { name, verdict: 'FAIL', found, meaning, remedy };
}

/** The worst of all. */
export function verdictOf(checks: readonly Check[]): Verdict {
  for (const verdict of ['FAIL', 'WARN'] as const)
    if (checks.some((check) => check.verdict === verdict)) return verdict;
  return 'PASS';
}
