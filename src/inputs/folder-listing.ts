/**
 * What is in a folder, and which of it is complete.
 *
 * The folder is looked at, not subscribed to: notifications do not cross network shares. A file is complete when two
 * looks at least `settleTime` apart saw the same size and time. How old its time is says nothing, because the clock of a
 * share is not ours and copying tools set times as they like.
 */
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import picomatch from 'picomatch';
import type { Clock } from '../core/clock.js';
import { systemCode } from '../core/error.js';
import type { FileStat } from './file-key.js';

/** The oldest so many are known at once; the others get their turn when these are gone. */
const FILES_MAX = 20_000;
/** File states that are asked for at the same time. */
const PARALLEL = 16;

export interface ListedFile extends FileStat {
  name: string;
  /** Unchanged for the settle time. */
  settled: boolean;
}

export interface ListingOptions {
  path: string;
  pattern: string;
  settleTimeMs: number;
  clock: Clock;
  /** Told once for each file that the pattern fits and that cannot be taken, with the reason. */
  onOddity: (name: string, reason: string) => void;
}

interface Sighting extends FileStat {
  sinceMs: number;
}

export class FolderListing {
  readonly #options: ListingOptions;
  readonly #fits: (name: string) => boolean;
  #sightings = new Map<string, Sighting>();
  #oddities = new Set<string>();

  constructor(options: ListingOptions) {
    this.#options = options;
    // Without the flag, a name that begins with a line break would fit no pattern.
    const matches = picomatch(options.pattern, { flags: 's' });
    this.#fits = (name) => isTakeable(name) && matches(name);
  }

  /** The plain files that the pattern fits, oldest first; those of the same time by name. Rejects as the system does. */
  async read(): Promise<ListedFile[]> {
    const { clock, settleTimeMs, onOddity } = this.#options;
    const sightings = new Map<string, Sighting>();
    const oddities = new Set<string>();
    let files: ListedFile[] = [];
    const leave = (name: string, reason: string): void => {
      oddities.add(name);
      if (!this.#oddities.has(name)) onOddity(name, reason);
    };
    const look = async (name: string): Promise<void> => {
      const stat = await this.#stat(name);
      if (stat === undefined) {
        // Such a name comes out of the system damaged, and nothing is there under the damaged name.
        if (name.includes('\ufffd')) leave(name, 'its name is not valid UTF-8');
        return;
      }
      const nowMs = clock.monotonicMs();
      const before = this.#sightings.get(name);
      const same = before?.sizeBytes === stat.sizeBytes && before.modifiedMs === stat.modifiedMs;
      const sinceMs = same ? before.sinceMs : nowMs;
      sightings.set(name, { ...stat, sinceMs });
      files.push({ name, ...stat, settled: (same || settleTimeMs === 0) && nowMs - sinceMs >= settleTimeMs });
    };

    let pending: Promise<void>[] = [];
    for await (const entry of await opendir(this.#options.path)) {
      if (!this.#fits(entry.name)) continue;
      if (entry.isSymbolicLink()) {
        leave(entry.name, 'it is a symbolic link');
      } else if (!entry.isDirectory()) {
        pending.push(look(entry.name));
      }
      if (pending.length < PARALLEL) continue;
      await Promise.all(pending);
      pending = [];
      if (files.length >= 2 * FILES_MAX) files = oldest(files, sightings);
    }
    await Promise.all(pending);
    this.#oddities = oddities;
    this.#sightings = sightings;
    return oldest(files, sightings);
  }

  /** Undefined for what has vanished meanwhile, and for what is no plain file. */
  async #stat(name: string): Promise<FileStat | undefined> {
    try {
      const stat = await lstat(join(this.#options.path, name));
      return stat.isFile() ? { sizeBytes: stat.size, modifiedMs: stat.mtimeMs } : undefined;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }
}

/** Dot files and those with the extensions of unfinished work are never taken, whatever the pattern says. */
function isTakeable(name: string): boolean {
  return !name.startsWith('.') && !/\.(tmp|part)$/i.test(name);
}

function oldest(files: ListedFile[], sightings: Map<string, Sighting>): ListedFile[] {
  files.sort((a, b) => a.modifiedMs - b.modifiedMs || (a.name < b.name ? -1 : 1));
  for (const { name } of files.slice(FILES_MAX)) sightings.delete(name);
  return files.slice(0, FILES_MAX);
}
