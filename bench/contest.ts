/** Contenders that are measured against each other: interleaved, each run in a process of its own. */
import { spawnSync } from 'node:child_process';
import { startScript } from '../test/kit/process.js';
import type { BenchContext } from './case.js';
import type { Measured } from './contenders/measurement.js';
import type { Task } from './contenders/task.js';
import { formatCount, formatShare, median } from './statistics.js';

export type ContenderScript = 'bare-loop' | 'product' | 'mqttjs' | 'mosquitto-pub' | 'node-red';

export interface Contender {
  name: string;
  script: ContenderScript;
  task: Task;
}

/**
 * Whether the contender can run here: Node-RED and mosquitto_pub are no dependencies of this project, and are measured
 * where somebody has installed them.
 */
export function isAvailable(script: ContenderScript): boolean {
  if (script === 'node-red') return process.env.NODE_RED_DIR !== undefined;
  if (script === 'mosquitto-pub') return spawnSync('mosquitto_pub', ['--help']).error === undefined;
  return true;
}

/** All runs of a contender. */
export interface Standing {
  name: string;
  script: ContenderScript;
  window: number;
  perSecond: number[];
  brokerCpuShares: number[];
  ownCpuShares: number[];
  /** The windows that it has found by itself, where it does. */
  foundWindows: number[];
}

/** Longer than any run that gets anywhere. */
const RUN_TIMEOUT_MS = 180_000;

/**
 * Runs all contenders once, then all of them again: what the machine does meanwhile meets them all alike. Resolves with
 * their standings in the order in which they were given.
 */
export async function runContest(contenders: readonly Contender[], context: BenchContext): Promise<Standing[]> {
  const standings = contenders.map(
    ({ name, script, task: { window } }): Standing => ({
      name,
      script,
      window,
      perSecond: [],
      brokerCpuShares: [],
      ownCpuShares: [],
      foundWindows: [],
    }),
  );
  for (let run = 1; run <= context.runsCount; run++) {
    for (const [index, contender] of contenders.entries()) {
      const { count, elapsedMs, brokerCpuShare, ownCpuShare, foundWindow } = await runOnce(contender);
      const perSecond = (count * 1000) / elapsedMs;
      const standing = standings[index]!;
      standing.perSecond.push(perSecond);
      standing.brokerCpuShares.push(brokerCpuShare);
      standing.ownCpuShares.push(ownCpuShare);
      if (foundWindow !== undefined) standing.foundWindows.push(foundWindow);
      context.progress(
        `run ${run}, ${contender.name}: ${formatCount(perSecond)}/s in ${(elapsedMs / 1000).toFixed(1)} s, ` +
          `broker ${formatShare(brokerCpuShare)}, itself ${formatShare(ownCpuShare)}`,
      );
    }
  }
  return standings;
}

/** The median of the runs of this contender; NaN when it was not there. */
export function medianOf(standings: readonly Standing[], name: string): number {
  return median(standings.find((each) => each.name === name)?.perSecond ?? []);
}

/** The standing with the greatest median among those of this script. */
export function bestOf(standings: readonly Standing[], script: ContenderScript): Standing | undefined {
  return standings
    .filter((each) => each.script === script)
    .sort((one, other) => median(other.perSecond) - median(one.perSecond))[0];
}

async function runOnce({ name, script, task }: Contender): Promise<Measured> {
  const contender = startScript(`bench/contenders/${script}.js`, [JSON.stringify(task)]);
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<'overdue'>((resolve) => {
    timer = setTimeout(() => resolve('overdue'), RUN_TIMEOUT_MS);
  });
  try {
    const end = await Promise.race([contender.ended, overdue]);
    if (end === 'overdue') throw new Error(`${name} still ran after ${RUN_TIMEOUT_MS} ms. ${contender.output}`);
    if (end.code !== 0) throw new Error(`${name} ended with ${end.signal ?? end.code}. ${contender.output}`);
    // The contender has written it, as the last line of its output.
    return JSON.parse(contender.stdout.trim().split('\n').at(-1) ?? '') as Measured;
  } finally {
    clearTimeout(timer);
    // Its own children end with it: they hang on a pipe that it holds.
    await contender.kill();
  }
}
