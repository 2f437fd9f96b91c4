/**
 * A target under a watch: it runs in a process of its own, which is ended when a case takes too long. Its loop may be
 * endless, so that no timer of its own would ever end it; what is left is the seed and the number of the case. So it is
 * when a case ends the process: by an error that nobody catches, or because nothing is left to wait for.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { killAtEnd } from '../kit/watchdog.js';
import { CASE_MAX_MS, type FuzzStep } from './fuzz.js';
import { STEPS_DESCRIPTOR } from './target-process.js';

/** Opening, closing and what comes after a batch: a service stops, and starts on what it has stored. */
const STEP_MAX_MS = 120_000;

export interface WatchedRun {
  name: string;
  cases: number;
  seed: number;
  /** The compiled script of the process; another one in tests. */
  script?: string;
  caseMaxMs?: number;
  /** Told of each batch before it begins. */
  onBatch(seed: number, casesDone: number): void;
  /** What the process prints, to either of its outputs. */
  print(text: string, stream: 'stdout' | 'stderr'): void;
}

/** Resolves with whether no case failed. What failed, or does not end, is printed. */
export async function runWatched(run: WatchedRun): Promise<boolean> {
  const { name, cases, seed, script = join(import.meta.dirname, 'run-target.js'), print } = run;
  const child = start(run, script, [name, `${cases}`, `${seed}`]);
  const watch = new Watch(child, run.caseMaxMs ?? CASE_MAX_MS);
  const steps = child.stdio[STEPS_DESCRIPTOR];
  if (!steps || !('on' in steps) || !('read' in steps)) throw new Error('The process has no channel for its steps.');
  createInterface({ input: steps }).on('line', (line) => {
    const step = JSON.parse(line) as FuzzStep;
    watch.begin(step);
    if (step.kind === 'batch') run.onBatch(step.seed, step.casesDone);
  });
  const code = await ended(child);
  const hung = watch.end();
  if (hung === undefined) {
    // A run that comes to its end closes its target, whatever it has found.
    if (code === 0 && watch.step.kind === 'close') return true;
    if (watch.step.kind === 'case') {
      const { seed, index } = watch.step;
      print(`${name}: the process ended (${code ?? child.signalCode}) in case ${index} of seed ${seed}.\n`, 'stderr');
      await showCase(run, script, seed, index);
    }
    return false;
  }
  const seconds = (run.caseMaxMs ?? CASE_MAX_MS) / 1000;
  switch (hung.kind) {
    case 'case': {
      const how = hung.isShrinking ? `, which fails, has a smaller form that` : '';
      print(`${name}: case ${hung.index} of seed ${hung.seed}${how} did not end within ${seconds} s.\n`, 'stderr');
      await showCase(run, script, hung.seed, hung.index);
      break;
    }
    case 'rest':
      print(`${name}: the rest after the batch of seed ${hung.seed} did not end.\n`, 'stderr');
      break;
    default:
      print(`${name}: the target does not ${hung.kind === 'batch' ? 'begin' : hung.kind}.\n`, 'stderr');
  }
  return false;
}

async function showCase(run: WatchedRun, script: string, seed: number, index: number): Promise<void> {
  await ended(start(run, script, [run.name, 'show', `${seed}`, `${index}`]));
}

function start(run: WatchedRun, script: string, args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, ['--enable-source-maps', script, ...args], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
  });
  killAtEnd(child);
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => run.print(text, stream));
  }
  return child;
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
}

class Watch {
  readonly #child: ChildProcess;
  readonly #caseMaxMs: number;
  /** The last one that was begun. */
  step: FuzzStep = { kind: 'open' };
  #timer: NodeJS.Timeout | undefined;
  #hung: FuzzStep | undefined;

  constructor(child: ChildProcess, caseMaxMs: number) {
    this.#child = child;
    this.#caseMaxMs = caseMaxMs;
    this.begin(this.step);
  }

  begin(step: FuzzStep): void {
    this.step = step;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#hung = this.step;
        this.#child.kill('SIGKILL');
      },
      step.kind === 'case' ? this.#caseMaxMs : STEP_MAX_MS,
    );
  }

  /** The step in which the process was ended; undefined when it ended by itself. */
  end(): FuzzStep | undefined {
    clearTimeout(this.#timer);
    return this.#hung;
  }
}
