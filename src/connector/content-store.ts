/**
 * Where the messages that were made of content are stored, as acceptance sees it: here one cache; `shared-store.ts` has
 * several.
 */
import { createHash } from 'node:crypto';
import type { AppendReply, AppendRequest } from '../cache/store.js';
import type { Clock } from '../core/clock.js';
import { LANES, type Lane, laneIndex } from '../core/lane.js';
import {
  decodeFileProgress,
  encodeFileProgress,
  type FileOptions,
  type FileProgress,
  startOfFile,
} from '../inputs/file.js';
import type { Collector } from '../transform/collector.js';
import type { AcceptOptions, Receipt } from './connector.js';

export type AppendDraft = Omit<AppendRequest, 'kind'>;

export interface ContentStore {
  /**
   * Resolves with the receipt when all that was collected is on stable storage; with the first one when the key is
   * known. Rejects as `Cache.append` does.
   */
  store(collected: Collector, receipt: Receipt, options: AcceptOptions): Promise<Receipt>;
  openFile(options: FileOptions): Promise<FileStore>;
}

/** What is stored of one file, and where the rest of it goes. */
export interface FileStore {
  /** How far all of the file is on stable storage; rows beyond may be there in part. */
  readonly start: FileProgress;
  /** Rows at which a chunk must end, ascending. */
  readonly marks: readonly number[];
  /** Stores the chunk that leads from the last progress to this one, together with it. */
  store(chunk: AppendDraft, progress: FileProgress): Promise<void>;
}

/** What takes messages and remembers positions: a connector with its one cache. */
export interface Part {
  append(request: AppendDraft): Promise<AppendReply>;
  position(source: string): Promise<string | undefined>;
}

export interface SingleStoreOptions {
  part: Part;
  clock: Clock;
  idempotencyRetentionMs: number;
}

export class SingleStore implements ContentStore {
  readonly #options: SingleStoreOptions;

  constructor(options: SingleStoreOptions) {
    this.#options = options;
  }

  async store(collected: Collector, receipt: Receipt, options: AcceptOptions): Promise<Receipt> {
    const { part, clock, idempotencyRetentionMs } = this.#options;
    const request = draftOf(collected, clock.wallMs());
    if (options.position !== undefined) request.position = options.position;
    if (options.idempotencyKey !== undefined) {
      request.idempotency = {
        key: options.idempotencyKey,
        contentHash: hashOf(collected),
        expiresAtMs: request.acceptedAtMs + idempotencyRetentionMs,
        answer: JSON.stringify(receipt),
      };
    }
    const reply = await part.append(request);
    return reply.replayed && reply.answer !== undefined ? (JSON.parse(reply.answer) as Receipt) : receipt;
  }

  async openFile({ fileKey, positionSource }: FileOptions): Promise<FileStore> {
    const { part } = this.#options;
    const stored = await part.position(positionSource);
    const known = stored === undefined ? undefined : decodeFileProgress(stored);
    return {
      start: known?.fileKey === fileKey ? known : startOfFile(fileKey),
      marks: [],
      store: async (chunk, progress) => {
        chunk.position = { source: positionSource, value: encodeFileProgress(progress) };
        await part.append(chunk);
      },
    };
  }
}

export function draftOf(collected: Collector, acceptedAtMs: number): AppendDraft {
  const batches: { lane: Lane; count: number; data: Uint8Array }[] = [];
  for (const lane of LANES) {
    const builder = collected.batches.builders[laneIndex(lane)];
    if (builder !== undefined && builder.count > 0)
      batches.push({ lane, count: builder.count, data: builder.finish() });
  }
  return { batches, quarantined: collected.quarantined, acceptedAtMs };
}

/** Equal content gives equal records, so that their bytes tell whether a key comes with the content that it came with. */
export function hashOf(collected: Collector): string {
  const hash = createHash('sha256');
  for (const builder of collected.batches.builders) if (builder !== undefined) hash.update(builder.finish());
  for (const draft of collected.quarantined) hash.update(draft.record);
  for (const rejection of collected.rejections) hash.update(`${rejection.index}:${rejection.code}`);
  return hash.digest('hex');
}
