/**
 * Tells other commands on this machine where the running service is: `service.json` in the data directory, readable by
 * the owner alone. `mqtt-north cache` speaks to the service through it, because two processes must not change one cache.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { storeError } from '../cache/store-error.js';
import { replaceFile } from '../config/atomic-file.js';
import { Secret } from '../config/secret.js';
import type { TokenConfig } from '../config/server.js';

const NAME = 'service.json';

export interface RunningAddress {
  pid: number;
  url: string;
  /** Undefined when the API is open. */
  token: string | undefined;
}

export class RunFile {
  readonly #file: string;
  #token: string | undefined;

  constructor(dataDir: string) {
    this.#file = join(dataDir, NAME);
  }

  /** A token for this run, needed only when the API asks for one. */
  makeToken(isNeeded: boolean): TokenConfig | undefined {
    if (!isNeeded) return undefined;
    this.#token = randomBytes(32).toString('base64url');
    return { name: 'command-line', secret: new Secret(this.#token), role: 'administrator' };
  }

  /** Throws CACHE_DISK_FULL or CACHE_FAILED. A file of a former service is gone then: its address would mislead. */
  write(url: string): void {
    const address: RunningAddress = { pid: process.pid, url, token: this.#token };
    try {
      replaceFile(this.#file, `${JSON.stringify(address)}\n`, 0o600);
    } catch (error) {
      this.remove();
      throw storeError(error, this.#file);
    }
  }

  remove(): void {
    rmSync(this.#file, { force: true });
  }
}

/** The address that a service wrote into this data directory, which may have ended since; undefined without one. */
export function readRunFile(dataDir: string): RunningAddress | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(dataDir, NAME), 'utf8'));
    if (typeof value !== 'object' || value === null || !('url' in value) || !('pid' in value)) return undefined;
    const token = 'token' in value && typeof value.token === 'string' ? value.token : undefined;
    return { pid: Number(value.pid), url: String(value.url), token };
  } catch {
    // No file, or one that a crash cut short: there is no service to speak to, and the lock tells who holds the folder.
    return undefined;
  }
}
