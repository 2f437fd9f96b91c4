/** What brings data in by itself, and what it may ask of the service that runs it. */
import type { Content, Rejection, Source } from '../core/content.js';
import type { FileContent, FileOptions, FileProgress, FileReceipt } from './file.js';

export type InputState = 'stopped' | 'running' | 'waiting' | 'failing';

export interface InputStatus {
  id: string;
  type: string;
  state: InputState;
  /** In words: "reading big.csv, 12000 rows stored"; "waiting: the cache of plant-a is full". */
  description: string;
  /** Since the process started: samples or files that are stored, and those that could not be. */
  deliveredCount: number;
  failedCount: number;
  lastDeliveredAtMs: number | undefined;
  lastError: { code: string; message: string; remedy: string; atMs: number } | undefined;
}

export interface Input {
  readonly id: string;
  /** Begins to bring data in. Idempotent. */
  start(): void;
  /** Resolves when nothing more will be delivered and nothing is half done. Idempotent. */
  stop(): Promise<void>;
  status(): InputStatus;
}

/** What was stored of one delivery; with several connectors the lowest counts, and the rejections of each. */
export interface Delivered {
  accepted: number;
  rejected: readonly Rejection[];
}

/** Where an input hands over what it has. The service knows which connectors the input feeds. */
export interface Delivery {
  /**
   * Resolves when the content is on stable storage in every connector that the input feeds. Rejects with the first
   * connector's NorthError otherwise; some of the others may have stored it then.
   */
  deliver(content: Content, source: Source): Promise<Delivered>;
  /** As `Connector.acceptFile`, in every connector that the input feeds. */
  deliverFile(content: FileContent, options: FileOptions): Promise<FileReceipt>;
  /** What each of these connectors stored last under `positionSource`; those that have nothing are left out. */
  fileProgress(positionSource: string): Promise<readonly FileProgress[]>;
}
