/** What the kernel knows of a process and a folder: memory, CPU time, bytes written, room on the disk. Linux only. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Linux counts CPU time in hundredths of a second for every program, whatever its own clock does (USER_HZ). */
const TICK_MS = 10;
const SECTOR_SIZE_BYTES = 512;

export interface MemoryFigures {
  /** What is in memory now, shared pages of files included (VmRSS). */
  residentBytes: number;
  /** The most that ever was, since the process started (VmHWM). */
  peakBytes: number;
}

export function readMemory(pid: number): MemoryFigures {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return { residentBytes: kilobytes(text, 'VmRSS') * 1024, peakBytes: kilobytes(text, 'VmHWM') * 1024 };
}

function kilobytes(text: string, name: string): number {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text);
  if (found === null) throw new Error(`The kernel gives no ${name}.`);
  return Number(found[1]);
}

/** CPU time of all threads since the process started. */
export function readCpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name of the program is in parentheses and may hold anything; utime and stime are the 14th and 15th field.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** Bytes that the process has had written to a disk; what goes to sockets and pipes does not count. */
export function readWrittenBytes(pid: number): number {
  const found = /^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'));
  if (found === null) throw new Error('The kernel gives no write_bytes.');
  return Number(found[1]);
}

/** Bytes that a folder takes on its disk, in blocks and not in lengths of files. */
export function folderSizeBytes(folder: string): number {
  let sizeBytes = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const stat = lstatSync(join(entry.parentPath ?? entry.path, entry.name), { throwIfNoEntry: false });
    sizeBytes += (stat?.blocks ?? 0) * SECTOR_SIZE_BYTES;
  }
  return sizeBytes;
}
