/**
 * A disk of its own for the data directory, small enough to be filled: a tmpfs.
 *
 * Mounting takes a mount namespace in which this process is root; `main.ts` makes one where that is permitted. Elsewhere
 * the data directory lies on the disk of everybody else, which nobody fills.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface SmallDisk {
  readonly folder: string;
  /** Why it cannot be filled; undefined when it can. */
  readonly obstacle: string | undefined;
  readonly isFull: boolean;
  /** Takes all room but so many bytes, as another program on the same disk would. */
  fill(leftBytes: number): void;
  free(): void;
  usedBytes(): number;
  close(): void;
}

const CHUNK_SIZE_BYTES = 1024 * 1024;

export function openSmallDisk(folder: string, sizeBytes: number): SmallDisk {
  mkdirSync(folder, { recursive: true });
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', folder], { encoding: 'utf8' });
  // What follows the first line says where else to look.
  const [said] = (mounted.stderr ?? 'there is no program for it').trim().split('\n');
  const obstacle = mounted.status === 0 ? undefined : `a disk cannot be mounted here: ${said}`;
  return new MountedDisk(folder, obstacle);
}

class MountedDisk implements SmallDisk {
  readonly folder: string;
  readonly obstacle: string | undefined;
  readonly #filler: string;
  isFull = false;

  constructor(folder: string, obstacle: string | undefined) {
    this.folder = folder;
    this.obstacle = obstacle;
    this.#filler = join(folder, 'other-program');
  }

  fill(leftBytes: number): void {
    if (this.obstacle !== undefined) throw new Error(this.obstacle);
    this.isFull = true;
    const descriptor = openSync(this.#filler, 'a');
    try {
      for (;;) {
        const { bavail, bsize } = statfsSync(this.folder);
        const sizeBytes = Math.min(CHUNK_SIZE_BYTES, bavail * bsize - leftBytes);
        if (sizeBytes <= 0) return;
        writeSync(descriptor, Buffer.alloc(sizeBytes));
      }
    } catch (error) {
      // The service has taken what was left, which is just as full.
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    } finally {
      closeSync(descriptor);
    }
  }

  free(): void {
    rmSync(this.#filler, { force: true });
    this.isFull = false;
  }

  usedBytes(): number {
    const { blocks, bfree, bsize } = statfsSync(this.folder);
    return (blocks - bfree) * bsize;
  }

  close(): void {
    if (this.obstacle === undefined) spawnSync('umount', ['-l', this.folder]);
  }
}
