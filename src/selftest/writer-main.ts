/**
 * The process that is killed: a real connector on a real cache, and one producer per lane in front of it.
 *
 * What it does it says on its standard output, as one JSON array per line, and with a write that has returned before the
 * next step begins: a request before it is made, its receipt when it is there. A kill between the two leaves a request
 * whose fate the producer does not know; it makes the same request again in the next life, with the same idempotency
 * key, as a good producer does.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { openDataDirectory } from '../cache/data-directory.js';
import { connectorSchema } from '../config/connector.js';
import type { Connector } from '../connector/connector.js';
import { openLiveConnector } from '../connector/open-connector.js';
import { errorText, NorthError, systemCode } from '../core/error.js';
import { LANES, type Lane } from '../core/lane.js';
import { messageText, requestCount } from './numbered-message.js';
import type { WriterCommand, WriterNews, WriterStart } from './writer.js';

const STATUS_PERIOD_MS = 50;
const STOP_TIMEOUT_MS = 10_000;
const RETRY_MS = 100;

function say(news: WriterNews): void {
  const bytes = Buffer.from(`${JSON.stringify(news)}\n`);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      // The reader is behind; a line must not be cut.
      if (systemCode(error) !== 'EAGAIN') throw error;
    }
  }
}

class WriterProcess {
  readonly #connector: Connector;
  readonly #next: Record<Lane, number>;
  #allowed: number;
  #isFinishing = false;
  /** Producers that wait for their allowance. */
  readonly #waiting = new Set<() => void>();

  constructor(connector: Connector, start: WriterStart) {
    this.#connector = connector;
    this.#next = { ...start.next };
    this.#allowed = start.allowed;
  }

  obey(command: WriterCommand): void {
    if (command.kind === 'allow') this.#allowed = command.total;
    else this.#isFinishing = true;
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Resolves after `finish`, when everything is delivered and the connector is closed. */
  async run(): Promise<void> {
    this.#report();
    this.#connector.start();
    await Promise.all(LANES.map((lane) => this.#produce(lane)));
    while (waitingOf(await this.#connector.status()) > 0) await sleep(STATUS_PERIOD_MS);
    await sayDurability(this.#connector);
    await this.#connector.close(STOP_TIMEOUT_MS);
  }

  #report(): void {
    const connector = this.#connector;
    connector.on('quarantined', ({ code, reason }) => say({ kind: 'quarantined', code, reason }));
    connector.on('warning', ({ code, message }) => say({ kind: 'warning', code, message }));
    connector.on('failure', ({ error }) => say({ kind: 'failure', code: error.code, message: error.message }));
    connector.on('state', ({ state }) => {
      if (state === 'online') say({ kind: 'online' });
    });
  }

  async #produce(lane: Lane): Promise<void> {
    for (;;) {
      const from = this.#next[lane];
      const count = requestCount(lane, from);
      await this.#allowance(count);
      if (this.#isFinishing) return;
      this.#next[lane] += count;
      say({ kind: 'offered', lane, from, count });
      await this.#accept(lane, from, count);
      say({ kind: 'received', lane, from, count });
    }
  }

  async #accept(lane: Lane, from: number, count: number): Promise<void> {
    const elements = Array.from({ length: count }, (_unused, index) => ({
      topic: lane,
      payload: messageText(lane, from + index),
      lane,
    }));
    for (;;) {
      try {
        await this.#connector.accept(
          { type: 'messages', elements },
          { source: 'selftest', idempotencyKey: `${lane} ${from}` },
        );
        return;
      } catch (error) {
        if (!(error instanceof NorthError) || error.code !== 'CACHE_FULL') throw error;
        await sleep(RETRY_MS);
      }
    }
  }

  /** Waits until so many further messages may be handed in, or until there shall be no more. */
  async #allowance(count: number): Promise<void> {
    while (!this.#isFinishing && this.#offered() + count > this.#allowed) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  #offered(): number {
    return LANES.reduce((sum, lane) => sum + this.#next[lane], 0);
  }
}

/** How the connection that writes commits: nobody else can tell. */
async function sayDurability(connector: Connector): Promise<void> {
  say({ kind: 'durability', durability: (await connector.status()).cache?.durability });
}

function waitingOf({ cache, inflight }: Awaited<ReturnType<Connector['status']>>): number {
  if (cache === undefined) throw new NorthError('CACHE_FAILED', 'The cache is not open any more.');
  const { command, alert, telemetry } = cache.waitingCounts;
  return Math.max(inflight, command + alert + telemetry);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function live(start: WriterStart, lines: AsyncIterable<string>): Promise<void> {
  const directory = openDataDirectory(start.dataDir);
  const config = connectorSchema.parse(start.config);
  const connector = await openLiveConnector(config, { folder: directory.connectorFolder(config.id) });
  say({ kind: 'open' });
  await sayDurability(connector);
  const writer = new WriterProcess(connector, start);
  void (async () => {
    for await (const line of lines) writer.obey(JSON.parse(line) as WriterCommand);
    // Its parent is gone: nobody would kill it any more, and nobody reads what it says.
    process.exit(1);
  })();
  await writer.run();
  directory.close();
  say({ kind: 'done' });
  process.exit(0);
}

const input = createInterface({ input: process.stdin });
const lines = input[Symbol.asyncIterator]();
const first = await lines.next();
if (first.done === true) process.exit(1);
try {
  // Its parent writes this line, and passwords are in it: they do not stand in the command line, which everybody sees.
  await live(JSON.parse(first.value) as WriterStart, { [Symbol.asyncIterator]: () => lines });
} catch (error) {
  const { code, message, remedy } =
    error instanceof NorthError ? error : new NorthError('INTERNAL', errorText(error), { cause: error });
  say({ kind: 'failed', code, message, remedy });
  process.exit(1);
}
