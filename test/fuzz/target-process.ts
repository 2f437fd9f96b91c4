/**
 * One target in a process of its own: `NAME CASES SEED` runs it, `NAME show SEED INDEX` prints one of its cases.
 *
 * Before each step it says on descriptor 3 what it begins, with a write that has returned before the step begins. An
 * endless loop stops everything in this process; whoever started it still knows then where it is.
 */
import { writeSync } from 'node:fs';
import { systemCode } from '../../src/core/error.js';
import { caseNotes, type FuzzStep } from './fuzz.js';
import type { Entry } from './targets.js';

export const STEPS_DESCRIPTOR = 3;

function say(step: FuzzStep): void {
  const bytes = Buffer.from(`${JSON.stringify(step)}\n`);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(STEPS_DESCRIPTOR, bytes, at);
    } catch (error) {
      // The reader is behind; a line must not be cut.
      if (systemCode(error) !== 'EAGAIN') throw error;
    }
  }
}

/** Does what the command line says, and sets the exit code. */
export async function runTargetProcess(targets: Readonly<Record<string, Entry>>): Promise<void> {
  const [name = '', what, seedText, indexText] = process.argv.slice(2);
  const seed = Number(seedText);
  const target = targets[name];
  if (target === undefined) throw new Error(`There is no target ${name}.`);
  try {
    if (what === 'show') {
      const index = Number(indexText);
      console.log(caseNotes(name, seed, index, await target.caseAt(seed, index)));
      return;
    }
    const report = await target.run({ cases: Number(what), seed, onStep: say });
    const seconds = (report.elapsedMs / 1000).toFixed(1);
    console.log(`${name}: ${report.cases} cases from seed ${seed} in ${seconds} s, no failure`);
    for (const [outcome, count] of Object.entries(report.outcomes).sort((a, b) => b[1] - a[1])) {
      console.log(`  ${String(count).padStart(9)} ${outcome}`);
    }
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
