/**
 * How far the parts of a connector have come with a file.
 *
 * Each part stores its share of a chunk together with how far the chunk goes, in one transaction. A crash may leave the
 * parts at different rows. The file is then read on from the part that is least advanced, chunks end where a part
 * stands, and a part that stands behind a chunk already gets nothing of it: no row is lost and none is taken twice.
 *
 * The first part tells which parts count: the first chunk is stored there before the others get their shares, and what
 * they have counts when it is of the same run through the file. After the number of connections has changed, rows belong
 * to other parts. What was begun before is first brought to one row in all parts of then, and the present parts go on
 * from there; the first one hears of it last.
 */
import { randomUUID } from 'node:crypto';
import {
  decodeFileProgress,
  encodeFileProgress,
  type FileOptions,
  type FileProgress,
  startOfFile,
} from '../inputs/file.js';
import type { AppendDraft, FileStore } from './content-store.js';
import { allSettled, type Parts } from './parts.js';
import { FIRST_PART, shareOut } from './sharing.js';
import { type Sharing, UNSHARED } from './sharing-record.js';

interface StoredProgress {
  progress: FileProgress;
  sharing: Sharing;
  /** Names one run through the file, all its interruptions included. Empty for one that a single connection has begun. */
  run: string;
}

/** A part that gets its share of the file. */
interface Member {
  readonly number: number;
  progress: FileProgress;
  /** Nothing of the file is stored there under this sharing. */
  isNew: boolean;
}

export async function openSharedFile(parts: Parts, file: FileOptions): Promise<FileStore> {
  const known = await readFirst(parts, file.positionSource);
  if (known?.progress.fileKey !== file.fileKey) {
    const members = newMembers(parts.sharing, startOfFile(file.fileKey));
    return new SharedFile(parts, file, { sharing: parts.sharing, run: randomUUID() }, members);
  }
  const members = await readMembers(parts, file.positionSource, known);
  const run = known.run === '' ? randomUUID() : known.run;
  const shared = new SharedFile(parts, file, { sharing: known.sharing, run }, members);
  await shared.adoptWhenEven(shared.start);
  return shared;
}

/**
 * The position of a source as the connector's own: of a file what all parts have, of anything else what the first part
 * has, which stores it after the others.
 */
export async function readSharedPosition(parts: Parts, source: string): Promise<string | undefined> {
  const text = await (await parts.part(FIRST_PART)).position(source);
  const known = text === undefined ? undefined : decode(text);
  if (known === undefined) return text;
  return encodeFileProgress(leastOf(await readMembers(parts, source, known)));
}

class SharedFile implements FileStore {
  readonly start: FileProgress;
  readonly marks: readonly number[];
  readonly #parts: Parts;
  readonly #file: FileOptions;
  readonly #run: string;
  #sharing: Sharing;
  #members: readonly Member[];

  constructor(
    parts: Parts,
    file: FileOptions,
    { sharing, run }: Pick<StoredProgress, 'sharing' | 'run'>,
    members: readonly Member[],
  ) {
    this.#parts = parts;
    this.#file = file;
    this.#sharing = sharing;
    this.#run = run;
    this.#members = members;
    this.start = leastOf(members);
    const rows = new Set(members.map(({ progress }) => progress.rowsTaken));
    this.marks = [...rows].sort((one, other) => one - other);
  }

  async store(chunk: AppendDraft, progress: FileProgress): Promise<void> {
    const shares = shareOut(chunk, this.#sharing.connections);
    const behind = this.#members.filter((member) => isBehind(member.progress, progress));
    const append = async (member: Member): Promise<void> => {
      const share = shares.get(member.number) ?? { ...NOTHING, acceptedAtMs: chunk.acceptedAtMs };
      await this.#append(member.number, share, progress, this.#sharing);
      member.progress = progress;
      member.isNew = false;
    };
    // What the others have of a file counts only when the first part has something of it. Whoever hands the file in must
    // know that it is begun, although the chunk may fail: under another key, what is stored would be taken again.
    const [first, ...others] = behind;
    if (first?.number === FIRST_PART && first.isNew) {
      this.#file.onProgress?.(this.start);
      await append(first);
      await allSettled(others.map(append));
    } else await allSettled(behind.map(append));
    await this.adoptWhenEven(progress);
  }

  /** Goes over to the present sharing when all parts of the one before stand at the same row. */
  async adoptWhenEven(progress: FileProgress): Promise<void> {
    const { sharing } = this.#parts;
    const isEven = this.#members.every((member) => member.progress.rowsTaken === progress.rowsTaken);
    if (this.#sharing.generation === sharing.generation || !isEven || progress.complete) return;
    const members = newMembers(sharing, progress);
    const adopt = async (member: Member): Promise<void> => {
      await this.#append(member.number, { ...NOTHING, acceptedAtMs: 0 }, progress, sharing);
      member.isNew = false;
    };
    const [first, ...others] = members;
    await allSettled(others.map(adopt));
    if (first !== undefined) await adopt(first);
    this.#sharing = sharing;
    this.#members = members;
  }

  async #append(number: number, share: AppendDraft, progress: FileProgress, sharing: Sharing): Promise<void> {
    const position = { source: this.#file.positionSource, value: encode({ progress, sharing, run: this.#run }) };
    await (await this.#parts.part(number)).append({ ...share, position });
  }
}

const NOTHING = { batches: [], quarantined: [] };

function newMembers({ connections }: Sharing, progress: FileProgress): Member[] {
  return numbersOf(connections).map((number) => ({ number, progress, isNew: true }));
}

function numbersOf(connections: number): number[] {
  return Array.from({ length: connections }, (_, index) => FIRST_PART + index);
}

/** It stands before the end of a chunk that leads to `progress`. */
function isBehind(stored: FileProgress, progress: FileProgress): boolean {
  return stored.rowsTaken < progress.rowsTaken || (progress.complete && !stored.complete);
}

/** What all have; the file is complete when it is for every one. */
function leastOf(members: readonly Member[]): FileProgress {
  const [first, ...others] = members.map(({ progress }) => progress);
  return others.reduce((least, progress) => (isBehind(least, progress) ? least : progress), first!);
}

async function readFirst(parts: Parts, source: string): Promise<StoredProgress | undefined> {
  const text = await (await parts.part(FIRST_PART)).position(source);
  return text === undefined ? undefined : decode(text);
}

async function readMembers(parts: Parts, source: string, first: StoredProgress): Promise<Member[]> {
  const { fileKey } = first.progress;
  return Promise.all(
    numbersOf(first.sharing.connections).map(async (number) => {
      if (number === FIRST_PART) return { number, progress: first.progress, isNew: false };
      const text = await (await parts.part(number)).position(source);
      const stored = text === undefined ? undefined : decode(text);
      return stored?.progress.fileKey === fileKey && stored.run === first.run
        ? { number, progress: stored.progress, isNew: false }
        : { number, progress: startOfFile(fileKey), isNew: true };
    }),
  );
}

function encode({ progress, sharing, run }: StoredProgress): string {
  return JSON.stringify({ ...(JSON.parse(encodeFileProgress(progress)) as object), sharing, run });
}

/** Undefined for a position that is not of a file. What was stored for one connection alone names no sharing. */
function decode(text: string): StoredProgress | undefined {
  const progress = decodeFileProgress(text);
  if (progress === undefined) return undefined;
  const { sharing = UNSHARED, run = '' } = JSON.parse(text) as Partial<StoredProgress>;
  return { progress, sharing, run };
}
