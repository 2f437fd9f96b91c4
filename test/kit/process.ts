/** Real child processes: the command line and scripts as a user starts them, to be killed as a power cut would. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { eventually } from './deadline.js';
import { killAtEnd } from './watchdog.js';

/** The folder with the compiled `src/` and `test/`, which is two above this compiled file. */
export const BUILD_FOLDER = join(import.meta.dirname, '..', '..');
export const ROOT_FOLDER = join(BUILD_FOLDER, '..');

const OUTPUT_MAX_CHARS = 16 * 1024 * 1024;

export interface ProcessOptions {
  cwd?: string;
  /** Added to this process's environment; undefined removes a variable. */
  env?: Record<string, string | undefined>;
  /** Written to its standard input, which is then closed. Without it the input stays open for `write`. */
  input?: string;
}

export interface ProcessEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface StartedProcess {
  readonly pid: number;
  /** Everything it has printed so far. */
  readonly stdout: string;
  readonly stderr: string;
  /** Both in the order in which they arrived. */
  readonly output: string;
  /** Undefined while it runs. */
  readonly end: ProcessEnd | undefined;
  /** Waits for as long as the process runs, and keeps the test's process alive for that. */
  readonly ended: Promise<ProcessEnd>;
  write(text: string): void;
  endInput(): void;
  /** Sends the signal (SIGKILL when none is given) and waits for the end. Harmless when it has ended. */
  kill(signal?: NodeJS.Signals): Promise<ProcessEnd>;
  /** Resolves with the match; fails, with all output, when the process ends or the deadline passes without one. */
  waitForOutput(pattern: RegExp | string, timeoutMs?: number): Promise<RegExpMatchArray>;
}

export function startProcess(command: string, args: readonly string[], options: ProcessOptions = {}): StartedProcess {
  const child = spawn(command, args, {
    cwd: options.cwd ?? ROOT_FOLDER,
    // The test runner marks its children with a variable that would turn a child's own tests into its protocol.
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...options.env },
    stdio: 'pipe',
  });
  killAtEnd(child);
  const text = { stdout: '', stderr: '', output: '' };
  const collect = (stream: 'stdout' | 'stderr') => (chunk: string) => {
    text[stream] = (text[stream] + chunk).slice(-OUTPUT_MAX_CHARS);
    text.output = (text.output + chunk).slice(-OUTPUT_MAX_CHARS);
  };
  child.stdout.setEncoding('utf8').on('data', collect('stdout'));
  child.stderr.setEncoding('utf8').on('data', collect('stderr'));
  // A process that ends without reading its input breaks the pipe; its exit code says more than that.
  child.stdin.on('error', () => undefined);
  if (options.input !== undefined) child.stdin.end(options.input);

  let end: ProcessEnd | undefined;
  const ended = new Promise<ProcessEnd>((resolve, reject) => {
    child.once('error', (error) => {
      if (child.pid === undefined) reject(error);
    });
    // `close` comes after `exit`, when all output has been read.
    child.once('close', (code, signal) => {
      end = { code, signal };
      resolve(end);
    });
  });
  // Whoever awaits it gets the failure; nobody has to.
  ended.catch(() => undefined);

  // A test that fails before it has ended this process can then end by itself, and this process ends with it.
  const handles = [child, child.stdin, child.stdout, child.stderr] as { ref(): void; unref(): void }[];
  for (const handle of handles) handle.unref();
  const awaitEnd = () => {
    for (const handle of handles) handle.ref();
    return ended;
  };

  return {
    pid: child.pid ?? -1,
    get stdout() {
      return text.stdout;
    },
    get stderr() {
      return text.stderr;
    },
    get output() {
      return text.output;
    },
    get end() {
      return end;
    },
    get ended() {
      return awaitEnd();
    },
    write: (chunk) => void child.stdin.write(chunk),
    endInput: () => void child.stdin.end(),
    kill(signal = 'SIGKILL') {
      child.kill(signal);
      return awaitEnd();
    },
    async waitForOutput(pattern, timeoutMs) {
      const find = () =>
        typeof pattern === 'string' ? text.output.match(literal(pattern)) : text.output.match(pattern);
      const ran = () => `${command} ${args.join(' ')}`;
      const match = await eventually(
        () => find() ?? (end === undefined ? undefined : { end }),
        () => `"${pattern}" in the output of ${ran()}, which is: ${text.output || '(nothing)'}`,
        timeoutMs,
      );
      if ('end' in match) {
        throw new Error(`${ran()} ended (${JSON.stringify(end)}) without "${pattern}". Its output: ${text.output}`);
      }
      return match;
    },
  };
}

function literal(text: string): RegExp {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
}

/** Runs a compiled script, named by its path below the build folder: `test/kit/subscriber-process.js`. */
export function startScript(path: string, args: readonly string[] = [], options: ProcessOptions = {}): StartedProcess {
  return startProcess(process.execPath, ['--enable-source-maps', join(BUILD_FOLDER, path), ...args], options);
}

/** The command line `mqtt-north`, as a process that goes on running. */
export function startCli(args: readonly string[], options: ProcessOptions = {}): StartedProcess {
  return startScript('src/cli/main.js', args, options);
}

export interface CliResult extends ProcessEnd {
  stdout: string;
  stderr: string;
}

/** Runs `mqtt-north` to its end. Its input is empty unless given; one that runs longer than allowed is killed. */
export async function runCli(
  args: readonly string[],
  options: ProcessOptions & { timeoutMs?: number } = {},
): Promise<CliResult> {
  const cli = startCli(args, { input: '', ...options });
  const { timeoutMs = 30_000 } = options;
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      void cli.kill();
      reject(new Error(`mqtt-north ${args.join(' ')} still ran after ${timeoutMs} ms. Its output: ${cli.output}`));
    }, timeoutMs);
  });
  try {
    const end = await Promise.race([cli.ended, overdue]);
    return { ...end, stdout: cli.stdout, stderr: cli.stderr };
  } finally {
    clearTimeout(timer);
  }
}
