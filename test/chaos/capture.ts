/** What passed a proxy: one file per connection and direction, and moments to wait for. */
import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Direction } from '../kit/proxy.js';

/** Files of older connections are removed, so that a long run does not fill the disk. */
const CONNECTIONS_KEPT = 60;

export class Capture {
  readonly folder: string;
  #moment: { direction: Direction; remainingBytes: number; reached: () => void } | undefined;
  #last = 0;

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  passed(connection: number, direction: Direction, chunk: Buffer): void {
    if (connection > this.#last) {
      this.#last = connection;
      for (const each of ['toBroker', 'toClient'] as const) {
        rmSync(this.#file(connection - CONNECTIONS_KEPT, each), { force: true });
      }
    }
    appendFileSync(this.#file(connection, direction), chunk);
    const moment = this.#moment;
    if (moment === undefined || moment.direction !== direction) return;
    moment.remainingBytes -= chunk.length;
    if (moment.remainingBytes > 0) return;
    this.#moment = undefined;
    moment.reached();
  }

  /** Resolves with true when so many more bytes have been passed on in this direction, or with false after `timeoutMs`. */
  after(direction: Direction, sizeBytes: number, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#moment = undefined;
        resolve(false);
      }, timeoutMs);
      const reached = () => {
        clearTimeout(timer);
        resolve(true);
      };
      this.#moment = { direction, remainingBytes: sizeBytes, reached };
    });
  }

  #file(connection: number, direction: Direction): string {
    return join(this.folder, `${String(connection).padStart(5, '0')}-${direction}.bin`);
  }
}
