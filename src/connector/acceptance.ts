/**
 * From content to a receipt: the first transformer that fits makes messages of it, and all of them are stored in one
 * transaction. Files that may be larger than memory are taken in chunks, each with its position.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../core/clock.js';
import type { Content, ContentType, Source } from '../core/content.js';
import { NorthError } from '../core/error.js';
import type { FileContent, FileOptions, FileProgress, FileReceipt } from '../inputs/file.js';
import { FILE_REJECTIONS_MAX } from '../inputs/file.js';
import { Collector, type MessageDefaults } from '../transform/collector.js';
import { openPassThrough, type Transformer } from '../transform/transformer.js';
import type { AcceptOptions, Receipt } from './connector.js';
import { type ContentStore, draftOf, type FileStore } from './content-store.js';

/** A chunk of a file is stored when it has so many rows or bytes. */
const CHUNK_ROWS_MAX = 5000;
const CHUNK_SIZE_MAX_BYTES = 4 * 1024 * 1024;

export interface AcceptanceOptions {
  id: string;
  transformers: readonly Transformer[];
  defaults: MessageDefaults;
  store: ContentStore;
  clock: Clock;
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
    return this.#options.store.store(collector, receipt, options);
  }

  async acceptFile(content: FileContent, options: FileOptions): Promise<FileReceipt> {
    const file = await this.#options.store.openFile(options);
    const { start, marks } = file;
    if (start.complete) return { ...start, rejected: [] };
    const part = new FilePart(this.#options, file, options);
    const transformer = this.#transformerFor(content.type, options.source);
    if (content.type === 'csv') {
      await transformer.transform({ type: 'csv', body: content.open(), fileName: content.fileName }, part.collector, {
        skipRowsCount: start.rowsTaken,
        rowsMax: CHUNK_ROWS_MAX,
        sizeMaxBytes: CHUNK_SIZE_MAX_BYTES,
        endsAtRows: marks,
        onChunk: (rowsCount) => part.store(rowsCount),
      });
    } else if (content.type === 'json') {
      // All of it is one row, which parts of it cannot be ahead of.
      if (start.rowsTaken === 0) {
        await transformer.transform(
          { type: 'json', document: content.document, fileName: content.fileName },
          part.collector,
        );
        await part.store(1);
      }
    } else {
      let passed = 0;
      for await (const elements of content.chunks()) {
        const end = passed + elements.length;
        for (let from = Math.max(passed, start.rowsTaken); from < end; ) {
          const to = marks.find((mark) => from < mark && mark < end) ?? end;
          part.collector.indexBase = from;
          const chunk = elements.slice(from - passed, to - passed);
          await transformer.transform({ type: content.type, elements: chunk }, part.collector);
          await part.store(to);
          from = to;
        }
        passed = end;
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
}

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
  readonly #clock: Clock;
  readonly #store: FileStore;
  readonly #file: FileOptions;
  readonly #rejected: Receipt['rejected'][number][] = [];
  #progress: FileProgress;

  constructor(options: AcceptanceOptions, store: FileStore, file: FileOptions) {
    this.#clock = options.clock;
    this.#store = store;
    this.#progress = store.start;
    this.#file = file;
    this.collector = new Collector(options.defaults);
  }

  /** Stores what was collected, together with the position after `rowsTaken` rows. */
  async store(rowsTaken: number, complete = false): Promise<void> {
    const { collector } = this;
    if (this.#file.signal?.aborted === true) {
      throw new NorthError('SERVICE_STOPPING', `Stopped after ${this.#progress.rowsTaken} rows of the file.`);
    }
    const next: FileProgress = {
      fileKey: this.#file.fileKey,
      rowsTaken,
      accepted: this.#progress.accepted + collector.batches.count + collector.quarantined.length,
      quarantined: this.#progress.quarantined + collector.quarantined.length,
      rejectedCount: this.#progress.rejectedCount + collector.rejections.length,
      complete,
    };
    await this.#store.store(draftOf(collector, this.#clock.wallMs()), next);
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

function isEmpty(collector: Collector): boolean {
  return collector.batches.count === 0 && collector.quarantined.length === 0;
}
