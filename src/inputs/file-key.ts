/**
 * The identity of a file in a folder: which file it is, and whether it still is the same.
 *
 * It is made of name, size, time and the first and last 64 KiB, and not of the inode. Inode numbers change when a
 * network share is mounted again; a file that only looks new would be published twice. What an inode would tell apart,
 * another file of the same name and size, the content tells apart as well. The time is in whole seconds, because file
 * systems and caches of network shares disagree about the rest.
 *
 * A file that was taken and moved away may be followed by one that is equal in all of that: the same command dropped
 * twice in a second. Each taking therefore has a random number, too; the number of a taking that was interrupted is
 * found again in the stored progress.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';

const SAMPLE_SIZE_BYTES = 64 * 1024;

export interface FileStat {
  sizeBytes: number;
  modifiedMs: number;
}

export interface FileKey extends FileStat {
  name: string;
  head: string;
  tail: string;
  /** Tells two takings of equal files apart. */
  taking: string;
}

/** Reads the file's beginning and end. */
export async function readFileKey(handle: FileHandle, name: string, stat: FileStat): Promise<FileKey> {
  const { sizeBytes, modifiedMs } = stat;
  const head = await digest(handle, 0, Math.min(sizeBytes, SAMPLE_SIZE_BYTES));
  const tailStart = Math.max(0, sizeBytes - SAMPLE_SIZE_BYTES);
  const tail = tailStart === 0 ? head : await digest(handle, tailStart, sizeBytes - tailStart);
  return { name, sizeBytes, modifiedMs, head, tail, taking: randomBytes(6).toString('base64url') };
}

export function encodeFileKey({ name, sizeBytes, modifiedMs, head, tail, taking }: FileKey): string {
  return [sizeBytes, Math.floor(modifiedMs / 1000), head, tail, taking, name].join(' ');
}

/** The reverse; undefined for a text that is no key. The time comes back in whole seconds. */
export function decodeFileKey(text: string): FileKey | undefined {
  const match = /^(\d+) (-?\d+) (\S+) (\S+) (\S+) (.+)$/s.exec(text);
  if (match === null) return undefined;
  const [, size, seconds, head, tail, taking, name] = match;
  const stat = { sizeBytes: Number(size), modifiedMs: Number(seconds) * 1000 };
  return { ...stat, head: head!, tail: tail!, taking: taking!, name: name! };
}

/** Whether a file with this stat may be the one of the key: what is known without reading it. */
export function mayBe(key: FileKey, stat: FileStat): boolean {
  return key.sizeBytes === stat.sizeBytes && Math.floor(key.modifiedMs / 1000) === Math.floor(stat.modifiedMs / 1000);
}

/** Whether both are keys of the same file with the same content. */
export function isSameFile(one: FileKey, other: FileKey): boolean {
  return one.name === other.name && one.head === other.head && one.tail === other.tail && mayBe(one, other);
}

/** Whether the file is the one of the key with something appended: it was taken before it was complete. */
export async function hasGrown(handle: FileHandle, before: FileKey, now: FileStat): Promise<boolean> {
  if (now.sizeBytes <= before.sizeBytes) return false;
  return (await digest(handle, 0, Math.min(before.sizeBytes, SAMPLE_SIZE_BYTES))) === before.head;
}

async function digest(handle: FileHandle, start: number, sizeBytes: number): Promise<string> {
  const buffer = Buffer.allocUnsafe(sizeBytes);
  let filled = 0;
  while (filled < sizeBytes) {
    const { bytesRead } = await handle.read(buffer, filled, sizeBytes - filled, start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return createHash('sha256').update(buffer.subarray(0, filled)).digest('base64url').slice(0, 22);
}
