/**
 * What a kill or a full disk leaves of some work on files, for every moment of it.
 *
 * A kill of the process leaves what the kernel has: the files as they are between two calls. So the work is done once,
 * and after each call that changes something, the file system's and SQLite's alike, the folder is copied as it stands. A
 * full disk lets one call fail, and the work go on as it likes.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { temporaryFolder } from '../kit/temporary-folder.js';

const FILE_CALLS = [
  'openSync',
  'writeSync',
  'fsyncSync',
  'renameSync',
  'rmSync',
  'copyFileSync',
  'mkdirSync',
  'writeFileSync',
] as const;

/** Those that need room on the disk. */
const ROOM_CALLS: readonly string[] = ['writeSync', 'copyFileSync', 'fsyncSync'];

/** Of as many writes to one file, each fails as the first ones do. */
const TRIED_IN_A_ROW = 2;

type AnyCall = (this: unknown, ...values: never[]) => unknown;

export interface Snapshot {
  /** The calls up to this moment, the last of them last. */
  calls: readonly string[];
  /** As `readFolder` gives them. */
  files: ReadonlyMap<string, Buffer>;
}

/** Replaces functions of objects until the work is done. `around` gets each call and does it itself. */
function intercept(work: () => void, around: (name: string, path: string, call: () => unknown) => unknown): void {
  const statement = new Database(':memory:').prepare('SELECT 1');
  const places: [owner: object, names: readonly string[]][] = [
    [fs, FILE_CALLS],
    [Database.prototype, ['exec', 'pragma', 'close']],
    [Object.getPrototypeOf(statement) as object, ['run']],
  ];
  const undo: (() => void)[] = [];
  for (const [owner, names] of places) {
    for (const name of names) {
      const original = Reflect.get(owner, name) as AnyCall;
      Reflect.set(owner, name, function (this: unknown, ...values: never[]) {
        return around(name, String(values[0]), () => original.apply(this, values));
      });
      undo.push(() => Reflect.set(owner, name, original));
    }
  }
  syncBuiltinESMExports();
  try {
    work();
  } finally {
    for (const one of undo) one();
    syncBuiltinESMExports();
  }
}

/** Does the work and gives every state of the folder that a kill within it leaves, the one before it first. */
export function statesDuring(folder: string, work: () => void): Snapshot[] {
  const calls: string[] = [];
  const states: Snapshot[] = [{ calls: [], files: readFolder(folder) }];
  let isLooking = false;
  intercept(work, (name, path, call) => {
    if (isLooking) return call();
    const result = call();
    // A page of many; what it is written to counts for nothing yet.
    if (name === 'writeSync' && calls.at(-1) === `${name} ${path}`) return result;
    isLooking = true;
    try {
      calls.push(`${name} ${path.slice(0, 100)}`);
      const files = readFolder(folder);
      if (!isSame(files, states.at(-1)!.files)) states.push({ calls: [...calls], files });
    } finally {
      isLooking = false;
    }
    return result;
  });
  return states;
}

/** Does the work on a disk that is full at the call with this number. Gives the call, or undefined when there is none. */
export function withFullDisk(failingCall: number, work: () => void): string | undefined {
  let left = failingCall;
  let failed: string | undefined;
  let before = '';
  let inARow = 0;
  intercept(work, (name, path, call) => {
    inARow = `${name} ${path}` === before ? inARow + 1 : 0;
    before = `${name} ${path}`;
    if (!ROOM_CALLS.includes(name) || inARow >= TRIED_IN_A_ROW || left-- !== 0) return call();
    failed = `${name} ${path}`;
    throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  });
  return failed;
}

/** The files by their paths below the folder; a folder has a slash at its end. */
function readFolder(folder: string, below = ''): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const entry of fs.readdirSync(join(folder, below), { withFileTypes: true })) {
    const path = join(below, entry.name);
    if (!entry.isDirectory()) files.set(path, fs.readFileSync(join(folder, path)));
    else {
      files.set(`${path}/`, Buffer.alloc(0));
      for (const [name, bytes] of readFolder(folder, path)) files.set(name, bytes);
    }
  }
  return files;
}

/** How much is written of a file that counts for nothing makes no difference, but for whether there is something. */
function isSame(one: ReadonlyMap<string, Buffer>, other: ReadonlyMap<string, Buffer>): boolean {
  const isSameFile = ([name, bytes]: [string, Buffer]): boolean => {
    const former = other.get(name);
    if (former === undefined) return false;
    return /\.part/.test(name) ? (former.length === 0) === (bytes.length === 0) : former.equals(bytes);
  };
  return one.size === other.size && [...one].every(isSameFile);
}

/** Files as they were, in a folder of their own. */
export function folderOf(files: ReadonlyMap<string, Buffer>): string {
  const folder = temporaryFolder('state');
  for (const [path, bytes] of files) {
    if (path.endsWith('/')) fs.mkdirSync(join(folder, path));
    else fs.writeFileSync(join(folder, path), bytes);
  }
  return folder;
}
