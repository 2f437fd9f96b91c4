/**
 * Does a sync sync? Software cannot see a disk's cache; it can measure time. A sync that takes no longer than a copy in
 * memory has reached no disk, and one that takes less than a turn of a magnetic disk has reached no platter.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Check, passed, warned } from './check.js';
import type { FileSystem } from './file-system.js';

/** A page of the cache. */
const WRITE_SIZE_BYTES = 4096;
const ROUNDS_MAX = 200;
/** A slow disk is measured less often. */
const TIME_MAX_MS = 2500;

/**
 * The fastest devices that keep what they have taken through a power cut need some 15 µs for a flush; the call into the
 * operating system alone takes 1 to 5 µs.
 */
const PLAUSIBLE_MIN_US = 20;
/** A quarter turn of a disk with 15,000 turns a minute. */
const ROTATING_PLAUSIBLE_MIN_US = 1000;

export interface SyncTiming {
  rounds: number;
  /** Medians, in microseconds: a write alone, and a write with the call that makes it stable. */
  writeUs: number;
  fdatasyncUs: number;
  fsyncUs: number;
  /** One in a hundred takes longer than this. */
  fdatasyncSlowUs: number;
}

/** Writes and removes a file of less than 3 MiB in the folder. */
export function measureSync(folder: string): SyncTiming {
  const path = join(folder, 'sync-timing');
  const page = Buffer.alloc(WRITE_SIZE_BYTES, 0x5a);
  const descriptor = openSync(path, 'wx', 0o600);
  const times = { write: [] as number[], fdatasync: [] as number[], fsync: [] as number[] };
  const time = (into: number[], sync: (descriptor: number) => void): void => {
    const startNs = process.hrtime.bigint();
    writeSync(descriptor, page);
    sync(descriptor);
    into.push(Number(process.hrtime.bigint() - startNs) / 1000);
  };
  try {
    const endMs = performance.now() + TIME_MAX_MS;
    // Taken in turn, so that what else the machine does falls on all three alike.
    for (let round = 0; round < ROUNDS_MAX && (round < 5 || performance.now() < endMs); round++) {
      time(times.fdatasync, fdatasyncSync);
      time(times.write, () => undefined);
      time(times.fsync, fsyncSync);
    }
  } finally {
    closeSync(descriptor);
    rmSync(path, { force: true });
  }
  return {
    rounds: times.fdatasync.length,
    writeUs: quantile(times.write, 0.5),
    fdatasyncUs: quantile(times.fdatasync, 0.5),
    fsyncUs: quantile(times.fsync, 0.5),
    fdatasyncSlowUs: quantile(times.fdatasync, 0.99),
  };
}

export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
  return Math.round(value * 10) / 10;
}

export function checkSync(timing: SyncTiming, fileSystem: FileSystem): Check {
  const name = 'sync';
  const { rounds, writeUs, fdatasyncUs, fsyncUs, fdatasyncSlowUs } = timing;
  const found =
    `a write of 4 KiB takes ${duration(writeUs)}, with fdatasync ${duration(fdatasyncUs)}, with fsync ` +
    `${duration(fsyncUs)} (medians of ${rounds}; one fdatasync in a hundred takes longer than ${duration(fdatasyncSlowUs)})`;
  if (fileSystem.kind === 'memory') {
    return warned(name, found, 'In memory there is nothing to sync to.', 'Put dataDir on a disk.');
  }
  const answers = 'A cache answers, which may forget with the power: then what was accepted last is gone after a cut.';
  if (Math.min(fdatasyncUs, fsyncUs) < PLAUSIBLE_MIN_US) {
    return warned(
      name,
      `${found}: hardly a disk can be that fast`,
      answers,
      'Look for a library that swallows syncs (LD_PRELOAD with libeatmydata), a virtual disk with the cache mode ' +
        '"unsafe", a controller that answers without a battery. A disk with power-loss protection can be right.',
    );
  }
  if (fileSystem.disk?.isRotating === true && Math.min(fdatasyncUs, fsyncUs) < ROTATING_PLAUSIBLE_MIN_US) {
    return warned(
      name,
      `${found}: faster than a magnetic disk can turn`,
      answers,
      'Switch the write cache of the disk off (hdparm -W0), unless a controller with a battery answers. If it is the ' +
        'disk of a virtual machine, ask whether the host keeps through a power cut what it has taken.',
    );
  }
  const perSecond = Math.max(1, Math.floor(1e6 / fdatasyncUs)).toLocaleString('en');
  const host = fileSystem.disk?.isVirtual === true ? ' What it is worth is decided by the host of this machine.' : '';
  return passed(
    name,
    found,
    `A sync takes the time that a disk needs.${host} A producer that waits for each receipt gets some ${perSecond} a ` +
      'second; those that come together share a sync.',
  );
}

export function duration(us: number): string {
  return us < 1000 ? `${us} µs` : `${Math.round(us / 100) / 10} ms`;
}
