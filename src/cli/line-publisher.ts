/**
 * Publishes lines, or one message as a single line, and goes on where an interrupted run of the same command was cut. A
 * run counts as interrupted until everything in it is acknowledged.
 *
 * With each chunk of lines, the number of lines so far and a hash over them are stored in the same transaction. The next
 * run reads as many lines again: when their hash is the same, they were taken before and are passed over; when it is
 * not, the input is another one and is published from its start. So nothing is published twice after a kill, and nothing
 * is held back because something else was interrupted once.
 */

import { isUtf8 } from 'node:buffer';
import { createHash, type Hash } from 'node:crypto';
import type { Connector } from '../connector/connector.js';
import { NorthError } from '../core/error.js';

const POSITION = 'publish';
/** Lines of a possibly interrupted run are held until it is known whether they were taken; then at most so many. */
const HELD_SIZE_MAX_BYTES = 256 * 1024 * 1024;
const RETRY_MS = 500;

interface LineProgress {
  topic: string;
  linesCount: number;
  hash: string;
  /** Of the first line alone: it tells most inputs apart before anything has to be held. */
  firstHash: string;
  complete: boolean;
}

export interface LinePublisherOptions {
  topic: string;
  /** Do not go on with an interrupted run. */
  fresh: boolean;
  signal: AbortSignal;
}

/** A hash over lines that can be looked at after each of them. */
class LineHash {
  readonly #hash: Hash = createHash('sha256');
  linesCount = 0;
  firstHash = '';

  add(line: Buffer): void {
    this.#hash.update(line);
    this.#hash.update('\n');
    this.linesCount++;
    if (this.linesCount === 1) this.firstHash = this.digest();
  }

  digest(): string {
    return this.#hash.copy().digest('hex');
  }
}

export class LinePublisher {
  readonly #connector: Connector;
  readonly #options: LinePublisherOptions;
  /** Over what was taken, by this run and by the one that it goes on with. */
  #taken = new LineHash();
  #acceptedCount = 0;
  #skippedCount = 0;

  constructor(connector: Connector, options: LinePublisherOptions) {
    this.#connector = connector;
    this.#options = options;
  }

  /** Resolves when the last line is on stable storage, or when the signal has come. */
  async run(chunks: AsyncIterable<readonly Buffer[]>): Promise<{ count: number; skippedCount: number }> {
    const { signal } = this.#options;
    const former = await this.#former();
    for await (const lines of former === undefined ? chunks : this.#without(former, chunks)) {
      if (signal.aborted) break;
      await this.#store(lines, false);
    }
    return { count: this.#acceptedCount, skippedCount: this.#skippedCount };
  }

  /** Everything is acknowledged: the next run of the same command is a new one. */
  finish(): Promise<void> {
    return this.#store([], true);
  }

  /** The lines of the input without those that the former run has taken, when it is the same input. */
  async *#without(former: LineProgress, chunks: AsyncIterable<readonly Buffer[]>): AsyncIterable<readonly Buffer[]> {
    const seen = new LineHash();
    let held: Buffer[] = [];
    let heldSizeBytes = 0;
    let isComparing = true;
    for await (const lines of chunks) {
      if (!isComparing) {
        yield lines;
        continue;
      }
      let at = 0;
      while (isComparing && at < lines.length) {
        const line = lines[at++]!;
        seen.add(line);
        held.push(line);
        heldSizeBytes += line.length;
        const isAtPlace = seen.linesCount === former.linesCount;
        if (isAtPlace && seen.digest() === former.hash) {
          this.#taken = seen;
          this.#skippedCount = held.length;
          held = [];
          isComparing = false;
        } else if (isAtPlace || seen.firstHash !== former.firstHash) isComparing = false;
        else if (heldSizeBytes > HELD_SIZE_MAX_BYTES) throw tooMuchHeld();
      }
      if (isComparing) continue;
      if (held.length > 0) yield held;
      held = [];
      if (at < lines.length) yield lines.slice(at);
    }
    // The input ended before the former run's place: it is another one, and all of it is new.
    if (held.length > 0) yield held;
  }

  async #former(): Promise<LineProgress | undefined> {
    if (this.#options.fresh) return undefined;
    const text = await this.#connector.position(POSITION);
    if (text === undefined) return undefined;
    const progress = JSON.parse(text) as LineProgress;
    const isOpen = !progress.complete && progress.linesCount > 0 && progress.topic === this.#options.topic;
    return isOpen ? progress : undefined;
  }

  async #store(lines: readonly Buffer[], complete: boolean): Promise<void> {
    const { topic, signal } = this.#options;
    for (const line of lines) this.#taken.add(line);
    const { linesCount, firstHash } = this.#taken;
    const progress: LineProgress = { topic, linesCount, hash: this.#taken.digest(), firstHash, complete };
    const elements = lines.map((line) =>
      isUtf8(line) ? { topic, payload: line.toString() } : { topic, payloadBase64: line.toString('base64') },
    );
    const position = { source: POSITION, value: JSON.stringify(progress) };
    for (;;) {
      try {
        await this.#connector.accept({ type: 'messages', elements }, { source: 'publish', position });
        break;
      } catch (error) {
        // A full cache empties as the broker takes messages; the input waits meanwhile.
        const passes = error instanceof NorthError && (error.code === 'CACHE_FULL' || error.code === 'CACHE_DISK_FULL');
        if (!passes || signal.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    this.#acceptedCount += lines.length;
  }
}

function tooMuchHeld(): NorthError {
  return new NorthError('COMMAND_INVALID', 'The interrupted run is too large to be compared with this input.', {
    remedy: 'Give --fresh to publish the input from its start.',
  });
}
