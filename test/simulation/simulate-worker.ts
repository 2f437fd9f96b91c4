/** Runs the worlds of a range of seeds that its parent sends, and tells it what was found. */
import { kindsOf } from './kinds.js';
import { planOf } from './random-plan.js';
import { problemsOf } from './shrink.js';

export interface SeedRange {
  from: number;
  count: number;
}

export interface RangeResult extends SeedRange {
  failures: { seed: number; problems: string[] }[];
  kinds: Record<string, number>;
}

process.on('message', (range: SeedRange) => {
  void runRange(range).then((result) => process.send?.(result));
});
process.on('disconnect', () => process.exit(0));

async function runRange({ from, count }: SeedRange): Promise<RangeResult> {
  const failures: RangeResult['failures'] = [];
  const kinds: Record<string, number> = {};
  for (let seed = from; seed < from + count; seed++) {
    const plan = planOf(seed);
    for (const kind of kindsOf(plan)) kinds[kind] = (kinds[kind] ?? 0) + 1;
    const problems = await problemsOf(plan);
    if (problems.length > 0) failures.push({ seed, problems });
  }
  return { from, count, failures, kinds };
}
