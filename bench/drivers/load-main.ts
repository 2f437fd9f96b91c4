/** The process that hands in time-values: prepared requests over bare sockets, as fast as they are answered or paced. */
import { percentile } from '../statistics.js';
import { type DriverControl, serveDriver } from './driver.js';
import { encodeRequest, HttpConnection } from './http-connection.js';
import type { LoadProgress, LoadResult, LoadTask } from './load.js';
import { encodeValues, FIRST_NUMBER, type ValuesBody, writeNumber } from './values.js';

/** A paced load that was held up makes up for so much, and no more. */
const CATCH_UP_MAX_MS = 1000;

interface PreparedRequest {
  bytes: Buffer;
  values: ValuesBody;
  /** Where the first number is in `bytes`. */
  numberAt: number;
}

class Load {
  readonly #task: LoadTask;
  readonly #control: DriverControl<LoadProgress>;
  readonly #latenciesMs: number[] = [];
  #startMs = 0;
  /** When the next request of a paced load is due. */
  #dueMs = 0;
  #begunCount = 0;
  #answeredCount = 0;

  constructor(task: LoadTask, control: DriverControl<LoadProgress>) {
    this.#task = task;
    this.#control = control;
  }

  async run(): Promise<LoadResult> {
    const { port, connectionsCount, valuesCount } = this.#task;
    const requests = this.#prepare();
    const connections = await Promise.all(Array.from({ length: connectionsCount }, () => HttpConnection.open(port)));
    this.#control.onAsk(() => ({ valuesCount: this.#answeredCount * valuesCount }));
    const cpuBefore = process.cpuUsage();
    this.#startMs = performance.now();
    this.#dueMs = this.#startMs;
    this.#control.ready();
    await Promise.all(connections.map((connection, index) => this.#drive(connection, index, requests)));
    const elapsedMs = performance.now() - this.#startMs;
    const { user, system } = process.cpuUsage(cpuBefore);
    for (const connection of connections) connection.close();
    return {
      requestsCount: this.#answeredCount,
      valuesCount: this.#answeredCount * valuesCount,
      elapsedMs,
      p50Ms: percentile(this.#latenciesMs, 0.5),
      p99Ms: percentile(this.#latenciesMs, 0.99),
      mostMs: percentile(this.#latenciesMs, 1),
      ownCpuShare: (user + system) / 1000 / elapsedMs,
    };
  }

  /** Numbers are written into a body that no other connection uses; without them, bodies are shared and never change. */
  #prepare(): PreparedRequest[] {
    const { path, token, valuesCount, pointsCount, connectionsCount, isNumbered } = this.#task;
    const count = isNumbered ? connectionsCount : Math.ceil(pointsCount / valuesCount);
    return Array.from({ length: count }, (_unused, index) => {
      const values = encodeValues(this.#task, (index * valuesCount) % pointsCount);
      const bytes = encodeRequest(path, values.bytes, token);
      return { bytes, values, numberAt: bytes.length - values.bytes.length + values.numberAt };
    });
  }

  #drive(connection: HttpConnection, index: number, requests: readonly PreparedRequest[]): Promise<void> {
    const { requestsCount, isNumbered } = this.#task;
    return new Promise((resolve, reject) => {
      let sentMs = 0;
      const answered = (error?: Error): void => {
        if (error !== undefined) {
          reject(error);
          return;
        }
        this.#answeredCount++;
        this.#latenciesMs.push(performance.now() - sentMs);
        next();
      };
      const send = (): void => {
        const serial = this.#begunCount++;
        const request = requests[(isNumbered ? index : serial) % requests.length]!;
        if (isNumbered) this.#number(request, serial);
        sentMs = performance.now();
        connection.send(request.bytes, answered);
      };
      const next = (): void => {
        if (this.#control.isStopped || (requestsCount > 0 && this.#begunCount >= requestsCount)) {
          resolve();
          return;
        }
        const waitMs = this.#takeTurn();
        if (waitMs <= 1) send();
        else setTimeout(next, waitMs);
      };
      next();
    });
  }

  /** Zero when a request is due, and the turn is taken then; otherwise how long to wait before asking again. */
  #takeTurn(): number {
    const { valuesPerSecond, valuesCount } = this.#task;
    if (valuesPerSecond === 0) return 0;
    const nowMs = performance.now();
    const waitMs = this.#dueMs - nowMs;
    if (waitMs > 1) return waitMs;
    this.#dueMs = Math.max(this.#dueMs, nowMs - CATCH_UP_MAX_MS) + (valuesCount * 1000) / valuesPerSecond;
    return 0;
  }

  #number({ bytes, numberAt, values }: PreparedRequest, serial: number): void {
    const { valuesCount, numbersFrom } = this.#task;
    let number = FIRST_NUMBER + numbersFrom + serial * valuesCount;
    for (let index = 0; index < valuesCount; index++) {
      writeNumber(bytes, numberAt + index * values.strideBytes, number++);
    }
  }
}

serveDriver<LoadTask, LoadResult, LoadProgress>((task, control) => new Load(task, control).run());
