/** The producers of a run: three that use HTTP, on all lanes and with content of two kinds, and one that drops files. */
import { EventEmitter, once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LANES } from '../../src/core/lane.js';
import { eventually } from '../kit/deadline.js';
import { Random } from '../simulation/random.js';
import { elementId, fillerOf, pointOf, TIMESTAMP } from './element.js';
import { type Batch, Producer } from './producer.js';
import type { Tally } from './tally.js';

export interface CrewOptions {
  url: string;
  seed: number;
  tally: Tally;
  dropFolder: string;
  startled: (text: string) => void;
}

const PAUSE_MAX_MS = 60;
const RECEIPT_TIMEOUT_MS = 60_000;
const FILE_TIMEOUT_MS = 60_000;

export class Crew {
  readonly #options: CrewOptions;
  readonly #producers: readonly Producer[];
  readonly #requests = new EventEmitter();
  readonly #random: Random;
  /** Files that are not counted as accepted yet, with the number of their rows. */
  readonly #dropped = new Map<string, number>();
  #fileCount = 0;

  constructor(options: CrewOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    mkdirSync(options.dropFolder, { recursive: true });
    const { url, tally, startled } = options;
    const make = (name: string, index: number, batches: (name: string, random: Random) => () => Batch): Producer => {
      const random = new Random(options.seed + 1 + index);
      const nextBatch = batches(name, random);
      const asked = () => void this.#requests.emit('asked');
      return new Producer({ name, url, random, tally, nextBatch, pauseMaxMs: PAUSE_MAX_MS, asked, startled });
    };
    this.#producers = [make('furnace', 0, timeValues), make('press', 1, messages), make('robot', 2, messages)];
  }

  get requestCount(): number {
    return this.#producers.reduce((sum, { requestCount }) => sum + requestCount, 0);
  }

  get fileCount(): number {
    return this.#fileCount;
  }

  /** How often a producer had to ask again, by the status that it had got; 0: no answer. */
  retries(): ReadonlyMap<number, number> {
    const all = new Map<number, number>();
    for (const { retries } of this.#producers) {
      for (const [status, count] of retries) all.set(status, (all.get(status) ?? 0) + count);
    }
    return all;
  }

  resume(): void {
    for (const producer of this.#producers) producer.resume();
  }

  /** Resolves when every request has its receipt and every file is taken. */
  async pause(): Promise<void> {
    const paused = Promise.all(this.#producers.map((producer) => producer.pause())).then(() => true);
    let isPaused = false;
    void paused.then(() => {
      isPaused = true;
    });
    const told = () => this.#producers.map(({ lastRefusal }) => lastRefusal).join(' | ');
    await eventually(
      () => isPaused,
      () => `a receipt for every request; the last refusals: ${told()}`,
      RECEIPT_TIMEOUT_MS,
    );
    await this.#untilFilesAreTaken();
  }

  end(): void {
    for (const producer of this.#producers) producer.end();
  }

  /** Resolves with true when the next request has been sent, or with false after a while without one. */
  nextRequest(timeoutMs: number): Promise<boolean> {
    const timeout = AbortSignal.timeout(timeoutMs);
    return once(this.#requests, 'asked', { signal: timeout }).then(
      () => true,
      () => false,
    );
  }

  /** Drops a file with rows, under another name first, as a careful producer does. */
  dropFile(): void {
    const { dropFolder, tally } = this.#options;
    const name = `rows-${this.#fileCount++}`;
    const rowCount = this.#random.between(20, 800);
    const ids = Array.from({ length: rowCount }, (_unused, seq) => elementId(name, seq));
    tally.handIn(name, rowCount);
    this.#dropped.set(name, rowCount);
    const part = join(dropFolder, `${name}.csv.part`);
    writeFileSync(part, `id\n${ids.join('\n')}\n`);
    renameSync(part, join(dropFolder, `${name}.csv`));
  }

  async #untilFilesAreTaken(): Promise<void> {
    const { dropFolder, tally, startled } = this.#options;
    const failed = join(dropFolder, 'failed');
    for (const [name, rowCount] of this.#dropped) {
      await eventually(
        () => existsSync(join(dropFolder, 'done', `${name}.csv`)) || hasFiles(failed),
        `the file ${name}.csv to be taken`,
        FILE_TIMEOUT_MS,
      );
      tally.accept(name, rowCount);
      this.#dropped.delete(name);
    }
    if (hasFiles(failed)) startled(`files were refused: ${readdirSync(failed).join(', ')}`);
  }
}

function hasFiles(folder: string): boolean {
  return existsSync(folder) && readdirSync(folder).length > 0;
}

/** Values of a furnace, all on the lane of telemetry. */
function timeValues(name: string, random: Random): () => Batch {
  const stream = `${name}/telemetry`;
  let next = 0;
  return () => {
    const from = next;
    next += random.between(1, 60);
    const elements = Array.from({ length: next - from }, (_unused, index) => ({
      pointId: pointOf(name, from + index),
      timestamp: TIMESTAMP,
      data: { value: from + index, id: elementId(stream, from + index) },
    }));
    return { type: 'time-values', elements, to: new Map([[stream, next]]) };
  };
}

/** Messages of different size on all lanes, mixed in one request. */
function messages(name: string, random: Random): () => Batch {
  const next = new Map(LANES.map((lane) => [lane, 0]));
  return () => {
    const elements = Array.from({ length: random.between(1, 40) }, () => {
      const lane = random.pick(LANES);
      const stream = `${name}/${lane}`;
      const seq = next.get(lane) ?? 0;
      next.set(lane, seq + 1);
      const id = elementId(stream, seq);
      return { topic: `chaos/${stream}`, lane, payload: { id, filler: fillerOf(id) } };
    });
    return { type: 'messages', elements, to: new Map([...next].map(([lane, to]) => [`${name}/${lane}`, to])) };
  };
}
