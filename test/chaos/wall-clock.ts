/**
 * A wall clock for the service that can be set while it runs, by the library of Debian's `faketime`.
 *
 * The library reads the offset from a file, about once a second. The monotonic clock is left alone, as the kernel leaves
 * it alone when an administrator sets the time: timers and time-outs go on.
 */
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const NOT_INSTALLED = 'faketime is not installed';

export class WallClock {
  /** Why the clock cannot be set; undefined when it can. */
  readonly obstacle: string | undefined;
  readonly #file: string;
  readonly #library: string;
  /** Seconds between the service's clock and ours. */
  offsetSeconds = 0;

  constructor(folder: string) {
    this.#file = join(folder, 'clock-offset');
    const asked = spawnSync('faketime', ['-m', '-f', '+0', 'env'], { encoding: 'utf8' });
    this.#library = /^LD_PRELOAD=(.+)$/m.exec(asked.stdout ?? '')?.[1] ?? '';
    const why = asked.error === undefined ? `faketime gives no library: ${asked.stderr.trim()}` : NOT_INSTALLED;
    this.obstacle = this.#library === '' ? why : undefined;
    this.set(0);
  }

  set(offsetSeconds: number): void {
    this.offsetSeconds = offsetSeconds;
    writeFileSync(this.#file, `${offsetSeconds < 0 ? '' : '+'}${offsetSeconds}`);
  }

  /** The library leaves two files behind with a process that is killed, which the next one with its number would trip over. */
  clearAfter(pid: number): void {
    for (const name of [`faketime_shm_${pid}`, `sem.faketime_sem_${pid}`]) {
      rmSync(join('/dev/shm', name), { force: true });
    }
  }

  /** What a process needs in its environment to have this clock. */
  environment(): Record<string, string> {
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      DONT_FAKE_MONOTONIC: '1',
    };
  }
}
