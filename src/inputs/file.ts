/**
 * A file on its way from a folder into the connectors, and how far each connector has come with it.
 *
 * The connector stores its progress in the same transaction as the rows that the progress counts. After kill -9 in the
 * middle of a file the same file is handed in again with the same key; the connector reads its progress, skips what it
 * has and goes on: no row is lost and none is taken twice.
 */
import type { Readable } from 'node:stream';
import type { Rejection, Source } from '../core/content.js';

/** The content types that are lists of elements. */
export type ListContentType = 'time-values' | 'setpoints' | 'messages';

/**
 * What is in a file. It is read once for each connector, and again after an interruption, so that it is given as a way
 * to read it from its beginning. Each reading gives the same rows in the same order, or fails.
 */
export type FileContent =
  | { type: 'csv'; fileName: string; open: () => Readable }
  | { type: ListContentType; fileName: string; chunks: () => AsyncIterable<readonly unknown[]> }
  | { type: 'json'; fileName: string; document: unknown };

export interface FileOptions {
  source: Source;
  /** Under which the progress is stored, one at a time: `folder:ID` of the input. */
  positionSource: string;
  /** Names this file with this content; another file, or the same name with other content, has another key. */
  fileKey: string;
  /** Told after each stored part, and when something of the file may be stored from now on. */
  onProgress?: (progress: FileProgress) => void;
  /** Ends the work between two parts: it rejects with SERVICE_STOPPING, and what was stored stays. */
  signal?: AbortSignal;
}

/** How much of a file is on stable storage, all interruptions included. */
export interface FileProgress {
  fileKey: string;
  /** Data rows of a CSV file (its header not counted), elements of a list, or 1 for a JSON document. */
  rowsTaken: number;
  accepted: number;
  /** Of the accepted. */
  quarantined: number;
  rejectedCount: number;
  /** True when the file has been taken to its end. */
  complete: boolean;
}

export interface FileReceipt extends FileProgress {
  /** The first of the rejected rows since the last interruption, at most `FILE_REJECTIONS_MAX`. */
  rejected: readonly Rejection[];
}

/** How many rejected rows are told one by one; `rejectedCount` goes on counting. */
export const FILE_REJECTIONS_MAX = 1000;

export function startOfFile(fileKey: string): FileProgress {
  return { fileKey, rowsTaken: 0, accepted: 0, quarantined: 0, rejectedCount: 0, complete: false };
}

/** The progress as the text that is stored as a position. */
export function encodeFileProgress(progress: FileProgress): string {
  const { fileKey, rowsTaken, accepted, quarantined, rejectedCount, complete } = progress;
  return JSON.stringify({ fileKey, rowsTaken, accepted, quarantined, rejectedCount, complete });
}

/** The reverse; undefined for a text that is no progress, such as a position that another kind of input stored. */
export function decodeFileProgress(text: string): FileProgress | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { fileKey, rowsTaken, accepted, quarantined, rejectedCount, complete } = value as Record<string, unknown>;
  const counts = [rowsTaken, accepted, quarantined, rejectedCount];
  if (typeof fileKey !== 'string' || typeof complete !== 'boolean') return undefined;
  if (!counts.every((count) => Number.isSafeInteger(count) && (count as number) >= 0)) return undefined;
  return {
    fileKey,
    rowsTaken: rowsTaken as number,
    accepted: accepted as number,
    quarantined: quarantined as number,
    rejectedCount: rejectedCount as number,
    complete,
  };
}
