/**
 * A part of a measurement in a process of its own: what makes load, or what takes times, must neither wait for the
 * process that runs the case nor slow it down. Task and result go over the channel that Node opens between the two.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { within } from '../../test/kit/deadline.js';
import { killAtEnd } from '../../test/kit/watchdog.js';
import { CpuShare } from '../cpu-share.js';

type ToDriver = { kind: 'task'; task: unknown } | { kind: 'stop' } | { kind: 'ask' };
type FromDriver =
  | { kind: 'ready' }
  | { kind: 'answer'; answer: unknown }
  | { kind: 'result'; result: unknown }
  | { kind: 'failure'; message: string };

const ANSWER_TIMEOUT_MS = 30_000;
const END_TIMEOUT_MS = 10_000;

/** What the process that runs the case holds of a driver. */
export class Driver<Result, Answer = never> {
  /** Rejects when the driver fails or ends without a result. */
  readonly result: Promise<Result>;
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #ready: Promise<void>;
  readonly #answers: { resolve(answer: Answer): void; reject(error: Error): void }[] = [];

  /** `script` is the name of a file in `bench/drivers`, without its ending. */
  private constructor(script: string, task: unknown) {
    this.#name = script;
    const child = fork(join(import.meta.dirname, `${script}.js`), { execArgv: ['--enable-source-maps'] });
    killAtEnd(child);
    this.#child = child;
    let becomeReady = (): void => undefined;
    let refuse = (_error: Error): void => undefined;
    this.#ready = new Promise((resolve, reject) => {
      becomeReady = resolve;
      refuse = reject;
    });
    this.result = new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        refuse(error);
        for (const waiting of this.#answers.splice(0)) waiting.reject(error);
        reject(error);
      };
      // What comes over the channel is what `serveDriver` sends.
      child.on('message', (message: FromDriver) => {
        if (message.kind === 'ready') becomeReady();
        else if (message.kind === 'answer') this.#answers.shift()?.resolve(message.answer as Answer);
        else if (message.kind === 'result') resolve(message.result as Result);
        else fail(new Error(`${script}: ${message.message}`));
      });
      child.once('error', fail);
      child.once('exit', (code, signal) => fail(new Error(`${script} ended (${signal ?? code}) without a result.`)));
    });
    // Whoever awaits them gets the failure; nobody has to.
    this.result.catch(() => undefined);
    this.#ready.catch(() => undefined);
    child.send({ kind: 'task', task } satisfies ToDriver);
  }

  /** Resolves when the driver says that it has begun. */
  static async start<Result, Answer = never>(script: string, task: unknown): Promise<Driver<Result, Answer>> {
    const driver = new Driver<Result, Answer>(script, task);
    try {
      await within(driver.#ready, `${script} to begin`, ANSWER_TIMEOUT_MS);
    } catch (error) {
      await driver.end();
      throw error;
    }
    return driver;
  }

  watchCpu(): CpuShare {
    return new CpuShare(this.#child.pid ?? -1);
  }

  /** What the driver says of itself at this moment. */
  ask(): Promise<Answer> {
    const answer = new Promise<Answer>((resolve, reject) => this.#answers.push({ resolve, reject }));
    this.#child.send({ kind: 'ask' } satisfies ToDriver);
    return within(answer, `an answer of ${this.#name}`, ANSWER_TIMEOUT_MS);
  }

  /** Tells it to come to its end; gives the result. */
  async stop(timeoutMs: number): Promise<Result> {
    this.#child.send({ kind: 'stop' } satisfies ToDriver);
    return this.finish(timeoutMs);
  }

  /** Waits for its own end. */
  async finish(timeoutMs: number): Promise<Result> {
    try {
      return await within(this.result, `the result of ${this.#name}`, timeoutMs);
    } finally {
      await this.end();
    }
  }

  /** Ends the process, whatever it does. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await within(exited, `${this.#name} to end`, END_TIMEOUT_MS);
  }
}

/** What a driver is given by the process that runs the case. */
export interface DriverControl<Answer> {
  /** To be called when everything is set up. */
  ready(): void;
  /** Whether the driver has been told to come to its end. */
  readonly isStopped: boolean;
  /** Gives the answer when the driver is asked how things stand. */
  onAsk(answer: () => Answer): void;
  onStop(stop: () => void): void;
}

/** The other end: runs the task when it comes, and sends its result. The process ends when the channel closes. */
export function serveDriver<Task, Result, Answer = never>(
  run: (task: Task, control: DriverControl<Answer>) => Promise<Result>,
): void {
  const send = (message: FromDriver): void => {
    if (process.connected) process.send?.(message);
  };
  let isStopped = false;
  let stop = (): void => undefined;
  let answer: (() => Answer) | undefined;
  const control: DriverControl<Answer> = {
    ready: () => send({ kind: 'ready' }),
    get isStopped() {
      return isStopped;
    },
    onAsk: (give) => {
      answer = give;
    },
    onStop: (callback) => {
      stop = callback;
    },
  };
  process.once('disconnect', () => process.exit(0));
  process.on('message', (message: ToDriver) => {
    if (message.kind === 'stop') {
      isStopped = true;
      stop();
    } else if (message.kind === 'ask') {
      send({ kind: 'answer', answer: answer?.() });
    } else {
      // The task is what the case gave to `Driver.start`.
      run(message.task as Task, control).then(
        (result) => send({ kind: 'result', result }),
        (error: unknown) =>
          send({ kind: 'failure', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
      );
    }
  });
}
