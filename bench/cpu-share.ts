import { readCpuMs } from './process-figures.js';

/** The share of one core that some processes take, from its making on; 1 is a whole core, more means several. */
export class CpuShare {
  readonly #pids: readonly number[];
  readonly #startMs = performance.now();
  readonly #startCpuMs: number;

  constructor(...pids: readonly number[]) {
    this.#pids = pids;
    this.#startCpuMs = this.#read();
  }

  get share(): number {
    const elapsedMs = performance.now() - this.#startMs;
    return elapsedMs === 0 ? 0 : (this.#read() - this.#startCpuMs) / elapsedMs;
  }

  #read(): number {
    return this.#pids.reduce((sum, pid) => sum + readCpuMs(pid), 0);
  }
}
