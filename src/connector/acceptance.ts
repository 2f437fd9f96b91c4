/**
 * From content to a receipt: the first transformer that fits makes messages of it, and all of them are stored in one
 * transaction. Files that may be larger than memory are taken in chunks, each with its position.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Cache } from '../cache/cache.js';
import type { AppendReply, AppendRequest } from '../cache/store.js';
import type { Clock } from '../core/clock.js';
import type { Content, ContentType, Source } from '../core/content.js';
import { NorthError } from '../core/error.js';
import { LANES, laneIndex } from '../core/lane.js';
import type { FileContent, FileOptions, FileProgress, FileReceipt } from '../inputs/file.js';
import { decodeFileProgress, encodeFileProgress, FILE_REJECTIONS_MAX, startOfFile } from '../inputs/file.js';
import { Collector, type MessageDefaults } from '../transform/collector.js';
import { openPassThrough, type Transformer } from '../transform/transformer.js';
import type { AcceptOptions, Receipt } from './connector.js';
import type { Counters } from './counters.js';

/** A chunk of a file is stored when it has so many rows or bytes. */
const CHUNK_ROWS_MAX = 5000;
const CHUNK_SIZE_MAX_BYTES = 4 * 1024 * 1024;

export interface AcceptanceOptions {
  id: string;
  transformers: readonly Transformer[];
  defaults: MessageDefaults;
  cache: Cache;
  clock: Clock;
  counters: Counters;
  idempotencyRetentionMs: number;
  /** Idempotency keys had to be forgotten before their time. */
  keysForgotten: () => void;
}

export class Acceptance {
  readonly #options: AcceptanceOptions;
  readonly #passThrough = openPassThrough();

  constructor(options: AcceptanceOptions) {
    this.#options = options;
  }

  takes(type: ContentType, source: Source): boolean {
    return type === 'messages' || this.#options.transformers.some((transformer) => transformer.takes(type, source));
  }

  async accept(content: Content, options: AcceptOptions): Promise<Receipt> {
    const collector = new Collector(this.#options.defaults);
    const pending = this.#transformerFor(content.type, options.source).transform(content, collector);
    if (pending !== undefined) await pending;
    if (isEmpty(collector) && collector.rejections.length > 0) {
      throw new ContentEmptyError(collector.rejections);
    }
    const receipt: Receipt = {
      receipt: randomUUID(),
      accepted: collector.batches.count + collector.quarantined.length,
      quarantined: collector.quarantined.length,
      rejected: collector.rejections,
      ...(collector.ignoredCount === 0 ? {} : { ignored: collector.ignoredCount }),
    };
    // An empty list is accepted as it is: there is nothing to store, and nothing that a key would have to remember.
    if (isEmpty(collector) && options.position === undefined) return receipt;
    const request = this.#requestOf(collector);
    if (options.position !== undefined) request.position = options.position;
    if (options.idempotencyKey !== undefined) {
      request.idempotency = {
        key: options.idempotencyKey,
        contentHash: hashOf(collector),
        expiresAtMs: request.acceptedAtMs + this.#options.idempotencyRetentionMs,
        answer: JSON.stringify(receipt),
      };
    }
    const reply = await this.#append(request);
    return reply.replayed && reply.answer !== undefined ? (JSON.parse(reply.answer) as Receipt) : receipt;
  }

  async acceptFile(content: FileContent, options: FileOptions): Promise<FileReceipt> {
    const stored = await this.#options.cache.position(options.positionSource);
    const known = stored === undefined ? undefined : decodeFileProgress(stored);
    const start = known?.fileKey === options.fileKey ? known : startOfFile(options.fileKey);
    if (start.complete) return { ...start, rejected: [] };
    const part = new FilePart(this.#options, start, options, (request) => this.#append(request));
    const transformer = this.#transformerFor(content.type, options.source);
    if (content.type === 'csv') {
      await transformer.transform({ type: 'csv', body: content.open(), fileName: content.fileName }, part.collector, {
        skipRowsCount: start.rowsTaken,
        rowsMax: CHUNK_ROWS_MAX,
        sizeMaxBytes: CHUNK_SIZE_MAX_BYTES,
        onChunk: (rowsCount) => part.store(rowsCount),
      });
    } else if (content.type === 'json') {
      await transformer.transform(
        { type: 'json', document: content.document, fileName: content.fileName },
        part.collector,
      );
      await part.store(1);
    } else {
      let passed = 0;
      for await (const elements of content.chunks()) {
        const from = Math.max(0, start.rowsTaken - passed);
        if (from < elements.length) {
          part.collector.indexBase = passed + from;
          await transformer.transform({ type: content.type, elements: elements.slice(from) }, part.collector);
          await part.store(passed + elements.length);
        }
        passed += elements.length;
      }
    }
    return part.finish();
  }

  #transformerFor(type: ContentType, source: Source): Transformer {
    for (const transformer of this.#options.transformers) {
      if (transformer.takes(type, source)) return transformer;
    }
    if (type === 'messages') return this.#passThrough;
    const text = `The connector ${this.#options.id} has no transformer for ${type} from "${source}".`;
    throw new NorthError('TRANSFORMER_MISSING', text);
  }

  #requestOf(collector: Collector): AppendRequestDraft {
    return requestOf(collector, this.#options.clock.wallMs());
  }

  async #append(request: AppendRequestDraft): Promise<AppendReply> {
    const reply = await this.#options.cache.append(request);
    if (!reply.replayed) this.#options.counters.appended(request, reply);
    if (reply.forgottenKeysCount !== undefined) this.#options.keysForgotten();
    return reply;
  }
}

export type AppendRequestDraft = Omit<AppendRequest, 'kind'>;

/** Nothing of the content was valid; which elements, and why, is in `rejections`. */
export class ContentEmptyError extends NorthError {
  readonly rejections: Receipt['rejected'];

  constructor(rejections: Receipt['rejected']) {
    const first = rejections[0];
    const example = first === undefined ? '' : ` The first (index ${first.index}): ${first.message}`;
    super('CONTENT_EMPTY', `None of the ${rejections.length} elements was valid.${example}`);
    this.rejections = rejections;
  }
}

/** One file on its way: the sums so far and what waits for its transaction. */
class FilePart {
  readonly collector: Collector;
  readonly #options: AcceptanceOptions;
  readonly #file: FileOptions;
  readonly #append: (request: AppendRequestDraft) => Promise<AppendReply>;
  readonly #rejected: Receipt['rejected'][number][] = [];
  #progress: FileProgress;

  constructor(
    options: AcceptanceOptions,
    start: FileProgress,
    file: FileOptions,
    append: (request: AppendRequestDraft) => Promise<AppendReply>,
  ) {
    this.#options = options;
    this.#progress = start;
    this.#file = file;
    this.#append = append;
    this.collector = new Collector(options.defaults);
  }

  /** Stores what was collected, together with the position after `rowsTaken` rows. */
  async store(rowsTaken: number, complete = false): Promise<void> {
    const { collector } = this;
    if (this.#file.signal?.aborted === true) {
      throw new NorthError('SERVICE_STOPPING', `Stopped after ${this.#progress.rowsTaken} rows of the file.`);
    }
    const request = requestOf(collector, this.#options.clock.wallMs());
    const next: FileProgress = {
      fileKey: this.#file.fileKey,
      rowsTaken,
      accepted: this.#progress.accepted + collector.batches.count + collector.quarantined.length,
      quarantined: this.#progress.quarantined + collector.quarantined.length,
      rejectedCount: this.#progress.rejectedCount + collector.rejections.length,
      complete,
    };
    request.position = { source: this.#file.positionSource, value: encodeFileProgress(next) };
    await this.#append(request);
    const room = FILE_REJECTIONS_MAX - this.#rejected.length;
    this.#rejected.push(...collector.rejections.slice(0, Math.max(0, room)));
    collector.reset();
    this.#progress = next;
    this.#file.onProgress?.(next);
  }

  async finish(): Promise<FileReceipt> {
    await this.store(this.#progress.rowsTaken, true);
    const { accepted, rejectedCount } = this.#progress;
    if (accepted === 0 && rejectedCount > 0) throw new ContentEmptyError(this.#rejected);
    return { ...this.#progress, rejected: this.#rejected };
  }
}

function requestOf(collector: Collector, acceptedAtMs: number): AppendRequestDraft {
  const batches: { lane: (typeof LANES)[number]; count: number; data: Uint8Array }[] = [];
  for (const lane of LANES) {
    const builder = collector.batches.builders[laneIndex(lane)];
    if (builder !== undefined && builder.count > 0)
      batches.push({ lane, count: builder.count, data: builder.finish() });
  }
  return { batches, quarantined: collector.quarantined, acceptedAtMs };
}

function isEmpty(collector: Collector): boolean {
  return collector.batches.count === 0 && collector.quarantined.length === 0;
}

/** Equal content gives equal records, so that their bytes tell whether a key comes with the content that it came with. */
function hashOf(collector: Collector): string {
  const hash = createHash('sha256');
  for (const builder of collector.batches.builders) if (builder !== undefined) hash.update(builder.finish());
  for (const draft of collector.quarantined) hash.update(draft.record);
  for (const rejection of collector.rejections) hash.update(`${rejection.index}:${rejection.code}`);
  return hash.digest('hex');
}
