/** Runs the worlds of a range of seeds that its parent sends, and tells it what was found. */
import { plannedKindsOf } from './kinds.js';
import { planOf } from './random-plan.js';
import { runWorld } from './shrink.js';

export interface SeedRange {
  from: number;
  count: number;
}

export interface RangeResult extends SeedRange {
  failures: { seed: number; problems: string[] }[];
  planned: Record<string, number>;
  happened: Record<string, number>;
}

process.on('message', (range: SeedRange) => {
  void runRange(range).then((result) => process.send?.(result));
});
process.on('disconnect', () => process.exit(0));

async function runRange({ from, count }: SeedRange): Promise<RangeResult> {
  const failures: RangeResult['failures'] = [];
  const planned: Record<string, number> = {};
  const happened: Record<string, number> = {};
  for (let seed = from; seed < from + count; seed++) {
    const plan = planOf(seed);
    const { problems, kinds } = await runWorld(plan);
    for (const kind of plannedKindsOf(plan)) planned[kind] = (planned[kind] ?? 0) + 1;
    for (const kind of kinds) happened[kind] = (happened[kind] ?? 0) + 1;
    if (problems.length > 0) failures.push({ seed, problems });
  }
  return { from, count, failures, planned, happened };
}
