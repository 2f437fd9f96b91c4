/**
 * A delivery that keeps what it is given in a journal on disk: each part with its progress is one line, synced before it
 * counts, and a line that a crash has torn does not count. What a connector promises of files, in its smallest form.
 */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import type { Content, Source } from '../../src/core/content.js';
import { NorthError } from '../../src/core/error.js';
import {
  decodeFileProgress,
  encodeFileProgress,
  type FileContent,
  type FileOptions,
  type FileProgress,
  type FileReceipt,
  startOfFile,
} from '../../src/inputs/file.js';
import type { Delivered, Delivery } from '../../src/inputs/input.js';

interface Line {
  positionSource?: string;
  progress?: string;
  elements: unknown[];
}

export function readJournal(path: string): Line[] {
  if (!existsSync(path)) return [];
  const text = readFileSync(path, 'utf8');
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

export class JournalDelivery implements Delivery {
  /** Thrown instead of storing anything, when set. */
  failure: unknown;
  /** Called before each part is stored; may throw. */
  beforePart: (fileName: string, rowsTaken: number) => void | Promise<void> = () => undefined;
  /** Called after each part is on the disk. */
  afterPart: () => void = () => undefined;
  partRows: number;
  readonly sources = new Set<Source>();
  readonly #path: string;
  readonly #fd: number;

  constructor(path: string, partRows = 10) {
    this.#path = path;
    this.partRows = partRows;
    const sizeBytes = existsSync(path) ? readFileSync(path, 'utf8').lastIndexOf('\n') + 1 : 0;
    if (existsSync(path)) truncateSync(path, Buffer.byteLength(readFileSync(path, 'utf8').slice(0, sizeBytes)));
    this.#fd = openSync(path, 'a');
  }

  get elements(): unknown[] {
    return readJournal(this.#path).flatMap((line) => line.elements);
  }

  close(): void {
    closeSync(this.#fd);
  }

  async deliver(content: Content, source: Source): Promise<Delivered> {
    if (this.failure !== undefined) throw this.failure;
    this.sources.add(source);
    if (!('elements' in content)) throw new NorthError('TRANSFORMER_MISSING', 'Only lists are taken here.');
    this.#append({ elements: [...content.elements] });
    return { accepted: content.elements.length, rejected: [] };
  }

  async deliverFile(content: FileContent, options: FileOptions): Promise<FileReceipt> {
    const last = await this.#lastProgress(options.positionSource);
    let progress = last?.fileKey === options.fileKey ? last : startOfFile(options.fileKey);
    if (progress.complete) return { ...progress, rejected: [] };
    this.sources.add(options.source);
    const store = async (elements: unknown[], rowsTaken: number, complete: boolean): Promise<void> => {
      if (options.signal?.aborted === true) throw new NorthError('SERVICE_STOPPING', 'The input is stopping.');
      await this.beforePart(content.fileName, rowsTaken);
      if (this.failure !== undefined) throw this.failure;
      const valid = elements.filter((element) => element !== 'bad');
      progress = {
        ...progress,
        rowsTaken,
        accepted: progress.accepted + valid.length,
        rejectedCount: progress.rejectedCount + elements.length - valid.length,
        complete,
      };
      for (const element of elements) {
        if (element === 'bad') rejected.push({ index: rowsTaken, code: 'ROW_INVALID', message: 'The row is bad.' });
      }
      const { positionSource } = options;
      this.#append({ positionSource, progress: encodeFileProgress(progress), elements: valid });
      this.afterPart();
      options.onProgress?.(progress);
    };
    const rejected: FileReceipt['rejected'][number][] = [];
    let rows: unknown[] = [];
    let index = 0;
    for await (const row of rowsOf(content)) {
      index++;
      if (index <= progress.rowsTaken) continue;
      rows.push(row);
      if (rows.length < this.partRows) continue;
      await store(rows, index, false);
      rows = [];
    }
    await store(rows, index, true);
    if (progress.accepted === 0 && progress.rejectedCount > 0) {
      throw new NorthError('CONTENT_EMPTY', 'None of the rows was valid.');
    }
    return { ...progress, rejected };
  }

  async fileProgress(positionSource: string): Promise<readonly FileProgress[]> {
    if (this.failure !== undefined) throw this.failure;
    const last = await this.#lastProgress(positionSource);
    return last === undefined ? [] : [last];
  }

  async #lastProgress(positionSource: string): Promise<FileProgress | undefined> {
    const last = readJournal(this.#path).findLast((line) => line.positionSource === positionSource)?.progress;
    return last === undefined ? undefined : decodeFileProgress(last);
  }

  #append(line: Line): void {
    writeSync(this.#fd, `${JSON.stringify(line)}\n`);
    fsyncSync(this.#fd);
  }
}

async function* rowsOf(content: FileContent): AsyncGenerator<unknown> {
  if (content.type === 'json') {
    yield content.document;
  } else if (content.type === 'csv') {
    let rest = '';
    let isHeader = true;
    for await (const part of content.open()) {
      const lines = (rest + String(part)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (!isHeader) yield line;
        isHeader = false;
      }
    }
    if (rest !== '') yield rest;
  } else {
    for await (const elements of content.chunks()) yield* elements;
  }
}
