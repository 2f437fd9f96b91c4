/** What a process really asks of the operating system, in order: its system calls as strace sees them. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BUILD_FOLDER, type StartedProcess, startProcess } from './process.js';
import { temporaryFolder } from './temporary-folder.js';

export interface SystemCall {
  name: string;
  /** The file that its first argument stands for; undefined where that is none. */
  path: string | undefined;
  /** Its arguments and its result as strace shows them; strings are cut. */
  text: string;
  /** False when it failed, or when the process ended before it returned. */
  hasSucceeded: boolean;
  /** Where it began and where it returned among all beginnings and returns of the process, all threads together. */
  begin: number;
  end: number;
}

export interface TracedProcess {
  readonly process: StartedProcess;
  /** All calls so far, in the order of their beginnings. Complete when the process has ended. */
  calls(): SystemCall[];
}

/** Why no process can be traced here, such as in a container without the right to; undefined where it can. */
export function whyNotTraceable(): string | undefined {
  const { status, stderr, error } = spawnSync('strace', ['-f', '-o', '/dev/null', process.execPath, '-v'], {
    encoding: 'utf8',
  });
  if (status === 0) return undefined;
  return `strace cannot trace here: ${error?.message ?? stderr.trim()}`;
}

/** Runs a compiled script under strace. `names` are the system calls that are noted. */
export function traceScript(path: string, args: readonly string[], names: readonly string[]): TracedProcess {
  const log = join(temporaryFolder('strace'), 'calls');
  // `-y` shows the path behind each descriptor; a name with `?` may be unknown on this machine.
  const options = ['-f', '-y', '-qq', '-s', '64', '-e', `trace=${names.map((name) => `?${name}`).join(',')}`];
  const command = [...options, '-e', 'signal=none', '-o', log, process.execPath, join(BUILD_FOLDER, path), ...args];
  return { process: startProcess('strace', command), calls: () => parseCalls(readFileSync(log, 'utf8')) };
}

const WHOLE = /^(\d+) +(\w+)\((.*)\) += (-?\d+|\?)/;
const BEGUN = /^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$/;
const RESUMED = /^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+|\?)/;

function parseCalls(text: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const begun = new Map<string, SystemCall>();
  for (const [index, line] of text.split('\n').entries()) {
    const whole = WHOLE.exec(line);
    if (whole !== null) {
      const [, , name = '', args = '', result = ''] = whole;
      calls.push(call(name, args, index, { end: index, result }));
      continue;
    }
    const [, thread, name = '', args = ''] = BEGUN.exec(line) ?? [];
    if (thread !== undefined) {
      const one = call(name, args, index, { end: Number.POSITIVE_INFINITY, result: '-1' });
      calls.push(one);
      begun.set(thread, one);
      continue;
    }
    const [, resumedThread = '', , rest = '', result = ''] = RESUMED.exec(line) ?? [];
    const one = begun.get(resumedThread);
    if (one === undefined) continue;
    begun.delete(resumedThread);
    Object.assign(one, call(one.name, one.text + rest, one.begin, { end: index, result }));
  }
  return calls;
}

function call(name: string, args: string, begin: number, { end, result }: { end: number; result: string }): SystemCall {
  return {
    name,
    path: /^\d+<([^>]*)>/.exec(args)?.[1],
    text: args,
    hasSucceeded: /^\d+$/.test(result),
    begin,
    end,
  };
}
