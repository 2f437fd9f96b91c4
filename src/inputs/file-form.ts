/** From a file to content, by the input's `contentType` and the file's extension. */
import { extname } from 'node:path';
import type { FileContentType } from '../config/inputs.js';
import { formatSize } from '../config/units.js';
import { NorthError } from '../core/error.js';
import { parseJson } from '../core/json.js';
import type { FileContent, ListContentType } from './file.js';
import { readLines } from './lines.js';
import type { OpenFile } from './open-file.js';

const LINE_EXTENSIONS: ReadonlySet<string> = new Set(['.ndjson', '.jsonl']);
/** Elements that are handed on together. */
const CHUNK_ELEMENTS = 1000;

export interface FormOptions {
  contentType: FileContentType;
  jsonMaxSizeBytes: number;
}

/** Rejects with FILE_UNSUPPORTED, CONTENT_TOO_LARGE or CONTENT_MALFORMED, or as reading the file does. */
export async function readFileContent(file: OpenFile, options: FormOptions): Promise<FileContent> {
  const fileName = file.name;
  const extension = extname(fileName).toLowerCase();
  const type = options.contentType === 'auto' ? typeOf(fileName, extension) : options.contentType;
  if (type === 'csv') return { type, fileName, open: () => file.stream() };
  if (LINE_EXTENSIONS.has(extension)) {
    if (type !== 'json') return { type, fileName, chunks: () => parseLines(file) };
    throw new NorthError('FILE_UNSUPPORTED', `"${fileName}" has one element per line, and json is one document.`, {
      remedy: 'Set contentType of the input to time-values, setpoints or messages.',
    });
  }
  const document = await parseWhole(file, options.jsonMaxSizeBytes);
  return type === 'json' ? { type, fileName, document } : listContent(type, fileName, document);
}

function typeOf(fileName: string, extension: string): 'csv' | 'json' {
  if (extension === '.csv') return 'csv';
  if (extension === '.json') return 'json';
  throw new NorthError('FILE_UNSUPPORTED', `"${fileName}" is neither .csv nor .json.`);
}

async function parseWhole(file: OpenFile, sizeMaxBytes: number): Promise<unknown> {
  const { sizeBytes } = file.stat;
  if (sizeBytes > sizeMaxBytes) {
    const sizes = `${formatSize(sizeBytes)} large; at most ${formatSize(sizeMaxBytes)}`;
    throw new NorthError('CONTENT_TOO_LARGE', `"${file.name}" is ${sizes} of JSON are read at once.`, {
      remedy: 'Write one element per line into an .ndjson file, or raise jsonMaxSize of the input.',
    });
  }
  const chunks: Buffer[] = [];
  for await (const chunk of file.chunks()) chunks.push(chunk);
  return parseJson(Buffer.concat(chunks, sizeBytes));
}

function listContent(type: ListContentType, fileName: string, document: unknown): FileContent {
  if (!Array.isArray(document)) {
    throw new NorthError('CONTENT_MALFORMED', `"${fileName}" is no JSON list, as ${type} is.`);
  }
  return { type, fileName, chunks: () => slices(document) };
}

async function* slices(elements: readonly unknown[]): AsyncGenerator<readonly unknown[]> {
  for (let start = 0; start < elements.length; start += CHUNK_ELEMENTS) {
    yield elements.slice(start, start + CHUNK_ELEMENTS);
  }
}

/**
 * Empty lines count for nothing. A line that is no JSON is handed on as its text, which no list type takes as an
 * element: it is rejected at its place, and the lines after it are taken.
 */
async function* parseLines(file: OpenFile): AsyncGenerator<readonly unknown[]> {
  for await (const lines of readLines(file.chunks())) {
    const elements: unknown[] = [];
    for (const line of lines) {
      const text = line.toString('utf8').trim();
      if (text !== '') elements.push(parseLine(line, text));
    }
    if (elements.length > 0) yield elements;
  }
}

function parseLine(line: Buffer, text: string): unknown {
  try {
    return parseJson(line);
  } catch (error) {
    if (error instanceof NorthError) return text;
    throw error;
  }
}
