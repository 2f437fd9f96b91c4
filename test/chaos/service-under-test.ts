/** `mqtt-north run` as a process that is killed and started again, and watched all the time. */
import { readFileSync } from 'node:fs';
import type { Lane } from '../../src/core/lane.js';
import { eventually, within } from '../kit/deadline.js';
import { type ProcessEnd, type StartedProcess, startCli } from '../kit/process.js';
import type { ServiceFolder } from '../service/service-process.js';

export interface PlantStatus {
  state: string;
  description: string;
  inflight: number;
  counts: Record<Lane, { possibleDuplicates: number; dropped: number; quarantined: number }>;
  cache: { waitingCounts: Record<Lane, number>; quarantinedCount: number; findings: readonly unknown[] };
}

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 30_000;
const ANSWER_TIMEOUT_MS = 5000;
/** The output of so many lives is kept for the case that something goes wrong. */
const LIVES_KEPT = 12;

/** It did not start, or ended without being told to. */
export class ServiceEnded extends Error {
  readonly end: ProcessEnd;
  readonly output: string;

  constructor(what: string, end: ProcessEnd, output: string) {
    super(`The service ${what} (${JSON.stringify(end)}). Its output: ${output.slice(-2000)}`);
    this.end = end;
    this.output = output;
  }
}

export class ServiceUnderTest {
  readonly url: string;
  /** The processes so far, the last ones. */
  readonly lives: { startedAt: string; process: StartedProcess }[] = [];
  /** Added to the environment of the next process. */
  environment: Record<string, string> = {};
  readonly #folder: ServiceFolder;
  #process: StartedProcess | undefined;
  #isToEnd = false;

  constructor(folder: ServiceFolder, port: number) {
    this.#folder = folder;
    this.url = `http://127.0.0.1:${port}`;
  }

  get pid(): number {
    return this.#process?.pid ?? -1;
  }

  get isRunning(): boolean {
    return this.#process !== undefined && this.#process.end === undefined;
  }

  /** Starts the process and does not wait for it. */
  launch(): StartedProcess {
    this.#isToEnd = false;
    const process = this.startAnother();
    this.#process = process;
    this.lives.push({ startedAt: new Date().toISOString(), process });
    if (this.lives.length > LIVES_KEPT) this.lives.shift();
    return process;
  }

  /** A further process on the same configuration and data directory. */
  startAnother(): StartedProcess {
    const { folder, configFile } = this.#folder;
    return startCli(['run', '-c', configFile], { cwd: folder, env: this.environment });
  }

  /** Resolves when it takes requests; throws ServiceEnded when it ends instead. */
  async start(): Promise<void> {
    const process = this.launch();
    await eventually(
      () => process.end !== undefined || /"url":"https?:/.test(process.output),
      () => `the service to start. Its output: ${process.output}`,
      START_TIMEOUT_MS,
    );
    if (process.end !== undefined) throw new ServiceEnded('ended at its start', process.end, process.output);
  }

  /** Throws ServiceEnded when it has ended though nobody told it to. */
  assertAlive(): void {
    const process = this.#process;
    if (process?.end === undefined || this.#isToEnd) return;
    throw new ServiceEnded('ended by itself', process.end, process.output);
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.assertAlive();
    this.#isToEnd = true;
    await this.#process?.kill('SIGKILL');
  }

  /** SIGTERM, and its end. */
  async stop(): Promise<void> {
    this.assertAlive();
    this.#isToEnd = true;
    const process = this.#process;
    if (process === undefined) return;
    const end = await within(process.kill('SIGTERM'), () => `a clean stop: ${process.output}`, STOP_TIMEOUT_MS);
    if (end.code !== 0) throw new ServiceEnded('did not stop cleanly', end, process.output);
  }

  async request(method: string, path: string, body?: unknown, timeoutMs = ANSWER_TIMEOUT_MS): Promise<Response> {
    const init: RequestInit = { method, signal: AbortSignal.timeout(timeoutMs) };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { 'content-type': 'application/json' };
    }
    return fetch(this.url + path, init);
  }

  async status(): Promise<PlantStatus> {
    const answer = await this.request('GET', '/api/connectors/plant');
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${answer.status} ${text}`);
    return (JSON.parse(text) as { status: PlantStatus }).status;
  }

  /** Waits until the status is as wanted, and gives it; fails at once when the process ends. */
  async until(wanted: (status: PlantStatus) => unknown, describe: string, timeoutMs: number): Promise<PlantStatus> {
    let ended: unknown;
    const status = await eventually(
      async () => {
        try {
          this.assertAlive();
        } catch (error) {
          ended = error;
          return true;
        }
        const seen = await this.status();
        if (wanted(seen)) return seen;
        throw new Error(JSON.stringify(seen));
      },
      describe,
      timeoutMs,
    );
    if (status === true) throw ended;
    return status;
  }

  /** Its own wall clock, in milliseconds. */
  async clockMs(): Promise<number> {
    const answer = await this.request('GET', '/healthz');
    return Date.parse(answer.headers.get('date') ?? '');
  }

  /** Most memory that the process has ever had resident, in bytes; undefined where the system does not tell. */
  memoryPeakBytes(): number | undefined {
    try {
      const found = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'));
      return found === null ? undefined : Number(found[1]) * 1024;
    } catch {
      // There is no /proc here, or the process has just ended.
      return undefined;
    }
  }
}

export function waitingCount({ cache }: PlantStatus): number {
  const { command, alert, telemetry } = cache.waitingCounts;
  return command + alert + telemetry;
}

export function possibleDuplicates({ counts }: PlantStatus): number {
  return counts.command.possibleDuplicates + counts.alert.possibleDuplicates + counts.telemetry.possibleDuplicates;
}
